"""Likelihoods against torch.distributions, closed forms and numeric integration."""

from __future__ import annotations

import warnings
from functools import partial
from math import log, pi

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import ContinuousBernoulli as TorchContinuousBernoulli
from torch.distributions import Laplace as TorchLaplace
from torch.distributions import Normal, Poisson

from lit_ae.errors import ConfigError
from lit_ae.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
    Laplace,
    Likelihood,
    LikelihoodHead,
)

HEADS = {
    "bernoulli": Bernoulli,
    "continuous bernoulli": ContinuousBernoulli,
    "gaussian": Gaussian,
    "gaussian scalar": partial(Gaussian, learned="scalar"),
    "gaussian pixel": partial(Gaussian, learned="pixel"),
    "laplace": Laplace,
    "laplace scalar": partial(Laplace, learned="scalar"),
    "laplace pixel": partial(Laplace, learned="pixel"),
    "categorical": partial(Categorical, levels=5),
    "logistic": partial(DiscretizedLogistic, levels=5),
    "logistic scalar": partial(DiscretizedLogistic, levels=5, learned="scalar"),
    "logistic fixed": partial(DiscretizedLogistic, levels=5, learned="fixed"),
}
MASSES = {name: make for name, make in HEADS.items() if name.startswith(("bernoulli", "categorical", "logistic"))}
DENSITIES = {name: make for name, make in HEADS.items() if name not in MASSES}
UNIT = {name: make for name, make in HEADS.items() if not name.startswith(("gaussian", "laplace"))}


def each(makers: dict) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make", makers.values(), ids=makers.keys())


def build(make: type[LikelihoodHead], shape: tuple[int, ...] = (3,), batch: tuple[int, ...] = (4,), spread: float = 2.0):
    """A head, and raw parameters for it in float64."""
    torch.manual_seed(0)
    head = make(shape)
    raw = spread * torch.randn(*batch, *head.raw_shape(), dtype=torch.float64)
    return head, raw.requires_grad_()


def values(like: Likelihood) -> Tensor:
    """All values of an element, or a fine grid over nearly all of its density, (N,)."""
    if like.levels is not None:
        return torch.linspace(0, 1, like.levels, dtype=torch.float64)
    low, high = (0.0, 1.0) if type(like.base).__name__.startswith("ContinuousBernoulli") else (-400.0, 400.0)
    return torch.linspace(low, high, 800_001, dtype=torch.float64)


def moments(like: Likelihood) -> tuple[Tensor, Tensor, Tensor]:
    """∫p, E[x] and Var[x] of each element by summation or the trapezoid rule."""
    grid = values(like)
    p = torch.stack([(-like.elements(torch.full((1,), float(x), dtype=torch.float64))).exp() for x in grid])
    return integrate(grid, p, like.levels)


def integrate(grid: Tensor, p: Tensor, levels: int | None) -> tuple[Tensor, Tensor, Tensor]:
    grid = grid.reshape(-1, *[1] * (p.ndim - 1))

    def total(y: Tensor) -> Tensor:
        return y.sum(0) if levels is not None else torch.trapezoid(y, grid.expand_as(y), dim=0)

    mean = total(p * grid)
    return total(p), mean, total(p * (grid - mean).square())


# ---- shapes and dtypes


@each(HEADS)
@pytest.mark.parametrize("shape", [(3,), (1, 4, 5), (3, 2, 7)])
@pytest.mark.parametrize("batch", [(6,), (2, 6), (1, 2, 6), ()])
def test_shapes(make, shape, batch) -> None:
    head, raw = build(make, shape, batch)
    assert head.raw_shape()[1:] == shape[1:]
    like = head(raw.float())
    assert (like.batch_shape, like.event_shape) == (batch, shape)
    x = like.sample()
    assert x.shape == like.mean.shape == like.variance.shape == like.elements(x).shape == (*batch, *shape)
    assert like.log_prob(x).shape == like.squared_error(x).shape == batch
    assert like.sample((2, 3)).shape == (2, 3, *batch, *shape)
    assert not x.requires_grad


@each(HEADS)
def test_one_x_broadcasts_over_k(make) -> None:
    head, raw = build(make, (2, 3), (5, 4))
    like = head(raw)
    x = head(raw[0]).sample()
    together = like.log_prob(x)
    assert torch.allclose(together, torch.stack([head(raw[k]).log_prob(x) for k in range(5)]))
    assert like.squared_error(x).shape == (5, 4)


@each(HEADS)
def test_log_prob_is_the_sum_of_the_elements(make) -> None:
    head, raw = build(make, (2, 3, 4))
    like = head(raw)
    x = like.sample()
    assert torch.allclose(like.log_prob(x), -like.elements(x).sum((1, 2, 3)))
    assert torch.allclose(like.squared_error(x), (x - like.mean).square().sum((1, 2, 3)))


@each(HEADS)
def test_bf16_is_cast_up_and_float64_kept(make) -> None:
    head, raw = build(make)
    x = head(raw).sample()
    assert head(raw).log_prob(x).dtype == torch.float64
    half = raw.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        nats = head(half).log_prob(x.float())
        same = head(half).log_prob(x.bfloat16())
    assert nats.dtype == same.dtype == torch.float32
    assert torch.equal(nats, head(half.float()).log_prob(x.float()))
    nats.sum().backward()
    assert half.grad is not None
    assert half.grad.isfinite().all()


# ---- probability


@each(MASSES)
def test_masses_sum_to_one_and_give_the_moments(make) -> None:
    head, raw = build(make, spread=1.0)
    total, mean, variance = moments(head(raw))
    torch.testing.assert_close(total, torch.ones_like(total))
    torch.testing.assert_close(head(raw).mean, mean)
    torch.testing.assert_close(head(raw).variance, variance)


@pytest.mark.parametrize("make", [Categorical, DiscretizedLogistic])
def test_256_levels_sum_to_one_in_float32(make) -> None:
    head, raw = build(make, (2,), (3,))
    like = head(raw.float())
    x = torch.linspace(0, 1, 256).reshape(-1, 1, 1, 1).expand(256, 1, 3, 2)
    p = torch.stack([(-like.elements(level)).exp() for level in x[:, 0]])
    torch.testing.assert_close(p.sum(0), torch.ones(3, 2), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(like.mean, (p * x[:, 0]).sum(0), rtol=1e-5, atol=1e-5)


@each(DENSITIES)
def test_densities_integrate_to_one_and_give_the_moments(make) -> None:
    head, raw = build(make, shape=(2,), batch=(2,), spread=0.7)
    like = head(raw.detach())
    grid = values(like)
    one = Likelihood(like.base, 2)  # the whole batch as one event, so that a grid point is a sample
    p = torch.cat([(-head(raw.detach().expand(len(part), *raw.shape)).elements(part.reshape(-1, 1, 1))).exp()
                   for part in grid.split(100_000)])
    total, mean, variance = integrate(grid, p, None)
    assert one.event_shape == (2, 2)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-6, atol=0)
    torch.testing.assert_close(like.mean, mean, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(like.variance, variance, rtol=1e-5, atol=1e-8)


@each(HEADS)
def test_samples_have_the_moments(make) -> None:
    head, raw = build(make, (2,), (2,), spread=0.7)
    like = head(raw)
    x = like.sample((40_000,))
    error = (like.variance / 40_000).sqrt()
    assert ((x.mean(0) - like.mean).abs() < 5 * error).all()
    torch.testing.assert_close(x.var(0), like.variance, rtol=0.1, atol=1e-4)


@each(UNIT)
def test_samples_and_means_of_unit_interval_families_stay_inside(make) -> None:
    head, raw = build(make, (50,), spread=30.0)
    for tensor in (head(raw.float()).sample(), head(raw.float()).mean):
        assert tensor.min() >= 0
        assert tensor.max() <= 1


@each(MASSES)
def test_samples_of_masses_lie_on_levels(make) -> None:
    head, raw = build(make)
    like = head(raw)
    assert like.levels in (2, 5)
    steps = like.sample((20,)) * (like.levels - 1)
    assert torch.equal(steps, steps.round())


# ---- against torch and closed forms


def test_bernoulli_is_torchs() -> None:
    head, raw = build(Bernoulli, (6,))
    x = torch.randint(0, 2, (4, 6)).double()
    torch.testing.assert_close(head(raw).elements(x), -TorchBernoulli(logits=raw).log_prob(x))


def test_continuous_bernoulli_is_torchs_away_from_its_series() -> None:
    logits = torch.tensor([-12.0, -3.0, -0.5, 0.5, 1.0, 7.0, 12.0], dtype=torch.float64)
    x = torch.rand(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours, theirs = ContinuousBernoulli((7,))(logits.expand(5, 7)), TorchContinuousBernoulli(logits=logits)
    torch.testing.assert_close(ours.elements(x), -theirs.log_prob(x), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(ours.mean[0], theirs.mean, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(ours.variance[0], theirs.variance, rtol=1e-7, atol=1e-8)


def test_continuous_bernoulli_has_no_seam() -> None:
    logits = torch.linspace(-0.5, 0.5, 1001, dtype=torch.float64).requires_grad_()
    like = ContinuousBernoulli((1001,))(logits)
    normaliser = -like.elements(torch.zeros(1001, dtype=torch.float64)) + torch.nn.functional.softplus(logits)
    exact = (logits / (logits / 2).tanh()).log().where(logits != 0, log(2))
    torch.testing.assert_close(normaliser, exact, rtol=0, atol=1e-8)
    (slope,) = torch.autograd.grad(normaliser.sum(), logits)
    # d log C / dl = 2λ'... = E[x] under the Bernoulli minus E[x] under the density
    torch.testing.assert_close(slope, logits.sigmoid() - like.mean, rtol=0, atol=1e-7)


def test_continuous_bernoulli_at_zero_is_uniform() -> None:
    logits = torch.zeros(3, requires_grad=True)
    like = ContinuousBernoulli((3,))(logits)
    nats = like.elements(torch.tensor([0.0, 0.3, 1.0]))
    torch.testing.assert_close(nats, torch.zeros(3), rtol=0, atol=1e-6)
    torch.testing.assert_close(like.mean, torch.full((3,), 0.5))
    torch.testing.assert_close(like.variance, torch.full((3,), 1 / 12))
    nats.sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor([0.5, 0.2, -0.5]), rtol=0, atol=1e-6)


def test_gaussian_with_variance_one_half_is_the_squared_error() -> None:
    head, raw = build(Gaussian, (1, 4, 5))
    x = torch.rand(4, 1, 4, 5, dtype=torch.float64)
    expected = (x - raw).square().sum((1, 2, 3)) + 20 / 2 * log(pi)
    torch.testing.assert_close(-head(raw).log_prob(x), expected)
    torch.testing.assert_close(head(raw).squared_error(x), (x - raw).square().sum((1, 2, 3)))


def test_laplace_with_scale_one_is_the_absolute_error() -> None:
    head, raw = build(Laplace, (6,))
    x = torch.rand(4, 6, dtype=torch.float64)
    torch.testing.assert_close(-head(raw).log_prob(x), (x - raw).abs().sum(1) + 6 * log(2))


@pytest.mark.parametrize(("make", "theirs"), [(Gaussian, Normal), (Laplace, TorchLaplace)])
def test_location_scale_families_are_torchs(make, theirs) -> None:
    x = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    _, raw = build(make, (6,))
    torch.testing.assert_close(make((6,), 0.3)(raw).elements(x), -theirs(raw, 0.3).log_prob(x))
    torch.testing.assert_close(make((6,), 0.3, "scalar")(raw).elements(x), -theirs(raw, 0.3).log_prob(x))
    both = torch.randn(4, 12, dtype=torch.float64)
    scale = 0.01 + 0.29 * both[:, 6:].exp()
    torch.testing.assert_close(make((6,), 0.3, "pixel", 0.01)(both).elements(x), -theirs(both[:, :6], scale).log_prob(x))


def test_pixel_scale_is_the_second_half_of_the_first_dimension() -> None:
    head = Gaussian((3, 2, 2), sigma=1.0, learned="pixel", min_sigma=1e-6)
    assert head.raw_shape() == (6, 2, 2)
    raw = torch.stack([*torch.zeros(3, 2, 2), *torch.full((3, 2, 2), log(2.0))])[None]
    like = head(raw)
    torch.testing.assert_close(like.mean, torch.zeros(1, 3, 2, 2))
    torch.testing.assert_close(like.variance, torch.full((1, 3, 2, 2), 4.0), rtol=1e-5, atol=0)


@pytest.mark.parametrize("make", [Gaussian, Laplace, partial(DiscretizedLogistic, levels=9)])
def test_learned_scales_start_at_the_given_value(make) -> None:
    shape = (4,)
    x = torch.linspace(0, 1, 4)
    fixed, scalar, pixel = (make(shape, learned=how) for how in ("fixed", "scalar", "pixel"))
    loc = torch.rand(2, 4)
    expected = fixed(loc).log_prob(x)
    torch.testing.assert_close(scalar(loc).log_prob(x), expected)
    torch.testing.assert_close(pixel(torch.cat([loc, torch.zeros(2, 4)], 1)).log_prob(x), expected)
    assert [len(list(head.parameters())) for head in (fixed, scalar, pixel)] == [0, 1, 0]


def test_learned_sigma_goes_to_the_mean_squared_error() -> None:
    torch.manual_seed(0)
    head = Gaussian((200,), sigma=1.0, learned="scalar")
    loc, x = torch.zeros(50, 200), 0.05 * torch.randn(50, 200)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = -head(loc).log_prob(x).mean()
        loss.backward()
        return loss

    before = head(loc).variance.mean().item()
    optimizer.step(closure)
    after = head(loc).variance
    assert before == pytest.approx(1.0)
    torch.testing.assert_close(after, (x - loc).square().mean().expand_as(after), rtol=1e-3, atol=0)


def test_learned_sigma_keeps_its_bound_and_its_gradient() -> None:
    head = Gaussian((2,), sigma=1.0, learned="pixel", min_sigma=0.1)
    raw = torch.tensor([[0.0, 0.0, -5.0, -1e4]], requires_grad=True)
    like = head(raw)
    assert (like.stddev >= 0.1 * (1 - 1e-6)).all()
    like.log_prob(torch.zeros(1, 2)).sum().backward()
    assert raw.grad is not None
    assert raw.grad[0, 2] < 0  # raising r lowers log p where x is predicted exactly
    assert raw.grad.isfinite().all()


def test_categorical_reads_levels_first() -> None:
    torch.manual_seed(0)
    head = Categorical((2, 3, 3), levels=4)
    assert head.raw_shape() == (8, 3, 3)
    raw, level = torch.randn(5, 8, 3, 3), torch.randint(0, 4, (5, 2, 3, 3))
    log_p = raw.reshape(5, 4, 2, 3, 3).log_softmax(1)
    expected = -log_p.gather(1, level[:, None])[:, 0]
    torch.testing.assert_close(head(raw).elements(level / 3), expected)
    torch.testing.assert_close(head(raw).elements(level / 3 + 0.1), expected)  # nearest level


def test_discretized_logistic_is_a_difference_of_cdfs() -> None:
    torch.manual_seed(0)
    head = DiscretizedLogistic((6,), levels=11, scale=0.2, learned="fixed")
    loc, level = torch.rand(4, 6, dtype=torch.float64), torch.randint(0, 11, (4, 6)).double()
    upper = torch.where(level == 10, 1.0, (((level + 0.5) / 10 - loc) / 0.2).sigmoid())
    lower = torch.where(level == 0, 0.0, (((level - 0.5) / 10 - loc) / 0.2).sigmoid())
    torch.testing.assert_close(head(loc).elements(level / 10), -(upper - lower).log())


def test_discretized_logistic_is_right_where_the_difference_underflows() -> None:
    head = DiscretizedLogistic((1,), levels=256, scale=0.004, learned="fixed")
    x = torch.tensor([[200 / 255]])
    far = head(torch.zeros(1, 1)).elements(x)  # 50 scales below the level: σ(a) − σ(b) is 0 in float32
    exact = head(torch.zeros(1, 1, dtype=torch.float64)).elements(x.double())
    assert far.item() == pytest.approx(exact.item(), rel=1e-5)
    wide = DiscretizedLogistic((1,), levels=256, scale=1e6, learned="fixed")(torch.zeros(1, 1)).elements(x)
    assert wide.item() == pytest.approx(log(4 * 255 * 1e6), rel=1e-5)  # density at its centre times the level's width


# ---- extremes


@each(HEADS)
@pytest.mark.parametrize("size", [1e4, -1e4, 0.0])
@pytest.mark.parametrize("alternate", [False, True])
def test_extreme_parameters_give_finite_nats_and_gradients(make, size, alternate) -> None:
    head = make((6,))
    raw = torch.full((2, *head.raw_shape()), size)
    if alternate:
        raw[..., ::2] *= -1
    raw.requires_grad_()
    like = head(raw)
    x = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 1.0])
    x = x.round() if isinstance(head, Bernoulli) else x
    like.log_prob(x).sum().backward()
    assert like.log_prob(x).isfinite().all()
    assert like.mean.isfinite().all()
    assert not like.variance.isnan().any()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()


@each(UNIT)
def test_gradients_of_the_mean_are_finite(make) -> None:
    head = make((4,))
    raw = torch.full((3, *head.raw_shape()), 0.0)
    raw[0], raw[1] = 1e4, -1e4
    raw.requires_grad_()
    head(raw).squared_error(torch.full((4,), 0.5)).sum().backward()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()


@each(HEADS)
def test_gradients_are_right(make) -> None:
    head, raw = build(make, (2,), (3,), spread=0.5)
    x = head(raw).sample()
    assert torch.autograd.gradcheck(lambda r: head(r).elements(x), raw)


# ---- masks


@each(HEADS)
def test_masked_elements_count_nothing_and_get_no_gradient(make) -> None:
    head, raw = build(make, (2, 3), (2, 4))
    x = head(raw[0]).sample()
    mask = torch.rand(4, 2, 3, generator=torch.Generator().manual_seed(0)) > 0.4
    holes = x.where(mask, torch.nan)
    like, full = head(raw).masked(mask), head(raw)
    torch.testing.assert_close(like.elements(holes), full.elements(x).where(mask, 0.0))
    torch.testing.assert_close(like.log_prob(holes), -full.elements(x).where(mask, 0.0).sum((2, 3)))
    torch.testing.assert_close(like.squared_error(holes), ((x - full.mean).square() * mask).sum((2, 3)))
    (-like.log_prob(holes) + like.squared_error(holes)).sum().backward()
    groups = raw.grad.reshape(2, 4, -1, 2, 3) if raw.grad is not None else torch.empty(0)
    assert (groups.movedim(2, 0)[..., ~mask] == 0).all()
    assert (groups.abs().sum(2)[:, mask] > 0).any()
    assert groups.isfinite().all()


def test_masks_combine_and_none_is_no_mask() -> None:
    head, raw = build(Gaussian)
    first, second = torch.tensor([True, True, False]), torch.tensor([True, False, True])
    like = head(raw)
    assert like.masked(None) is like
    assert (like.masked(first).masked(second).elements(torch.ones(3)) == 0).sum() == 8
    assert like.masked(first).levels == like.levels


def test_any_distribution_of_elements_can_be_a_likelihood() -> None:
    rate = torch.rand(2, 5, 3) + 1
    like = Likelihood(Poisson(rate, validate_args=False), event_ndim=1)
    x = torch.randint(0, 4, (5, 3)).float()
    torch.testing.assert_close(like.log_prob(x), Poisson(rate).log_prob(x).sum(-1))
    assert torch.equal(like.mean, rate)


# ---- what the user gets wrong


@each(UNIT)
def test_data_outside_the_unit_interval_are_refused(make) -> None:
    head = make((3,))
    head.check_range(0.0, 1.0)
    head.check_range(-1e-7, 1 + 1e-7)
    head.check_values(torch.tensor([0.0, 1.0, torch.nan]))
    for low, high in [(-0.1, 1.0), (0.0, 255.0)]:
        with pytest.raises(ConfigError, match=r"values in \[0, 1\].*--model.likelihood Gaussian"):
            head.check_range(low, high)
        with pytest.raises(ConfigError, match=r"values in \[0, 1\]"):
            head.check_values(torch.tensor([low, 0.5, high]))


@pytest.mark.parametrize("make", [Gaussian, Laplace])
def test_real_values_are_all_accepted(make) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make((3,)).check_range(-1e9, 1e9)
        make((3,)).check_values(torch.tensor([-5.0, 0.5, 9.0]))


def test_bernoulli_warns_once_of_grey_data() -> None:
    head = Bernoulli((3,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        head.check_values(torch.tensor([0.0, 1.0, 1.0]))
        ContinuousBernoulli((3,)).check_values(torch.tensor([0.0, 0.4, 1.0]))
    with pytest.warns(UserWarning, match="ContinuousBernoulli.*DynamicBinarize"):
        head.check_values(torch.tensor([0.0, 0.4, 1.0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        head.check_values(torch.tensor([0.0, 0.4, 1.0]))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (partial(Gaussian, sigma=0.0), "--model.likelihood.sigma"),
        (partial(Gaussian, sigma=-1.0, learned="scalar"), "--model.likelihood.sigma"),
        (partial(Gaussian, sigma=float("nan")), "--model.likelihood.sigma"),
        (partial(Gaussian, sigma=0.1, learned="pixel", min_sigma=0.2), "--model.likelihood.min_sigma"),
        (partial(Gaussian, learned="scalar", min_sigma=0.0), "--model.likelihood.min_sigma"),
        (partial(Gaussian, learned="all"), "--model.likelihood.learned"),
        (partial(Laplace, scale=0.0), "--model.likelihood.scale"),
        (partial(Categorical, levels=1), "--model.likelihood.levels"),
        (partial(DiscretizedLogistic, levels=0), "--model.likelihood.levels"),
        (partial(DiscretizedLogistic, scale=-1.0), "--model.likelihood.scale"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, words) -> None:
    with pytest.raises(ConfigError, match=words):
        make((3,))


def test_a_learned_scale_survives_saving() -> None:
    head = Gaussian((3,), learned="scalar")
    nn.init.constant_(next(head.parameters()), -1.5)
    other = Gaussian((3,), learned="scalar")
    other.load_state_dict(head.state_dict())
    assert torch.equal(other(torch.zeros(1, 3)).variance, head(torch.zeros(1, 3)).variance)
    assert not Gaussian((3,)).state_dict()
