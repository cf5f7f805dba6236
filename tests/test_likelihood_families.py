"""Each family of likelihoods against torch.distributions and closed forms, and what each refuses."""

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
from torch.distributions import Normal

from lit_ae.errors import ConfigError
from lit_ae.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
    Laplace,
    LikelihoodHead,
    UnitIntervalHead,
)

UNIT: list[type[UnitIntervalHead]] = [Bernoulli, ContinuousBernoulli, Categorical, DiscretizedLogistic]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


# ---- against torch and closed forms


def test_bernoulli_is_torchs() -> None:
    head, raw = Bernoulli((6,)), torch.randn(4, 6, dtype=torch.float64)
    x = torch.randint(0, 2, (4, 6)).double()
    torch.testing.assert_close(head(raw).elements(x), -TorchBernoulli(logits=raw).log_prob(x))


def test_continuous_bernoulli_is_torchs_away_from_its_series() -> None:
    logits = torch.tensor([-12.0, -3.0, -0.5, 0.5, 1.0, 7.0, 12.0], dtype=torch.float64)
    x = torch.rand(5, 7, dtype=torch.float64)
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
    # ∫p = 1 gives d log C / dl = σ(l) − E[x]
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
    head, raw = Gaussian((1, 4, 5)), torch.randn(4, 1, 4, 5, dtype=torch.float64)
    x = torch.rand(4, 1, 4, 5, dtype=torch.float64)
    expected = (x - raw).square().sum((1, 2, 3)) + 20 / 2 * log(pi)
    torch.testing.assert_close(-head(raw).log_prob(x), expected)
    torch.testing.assert_close(head(raw).squared_error(x), (x - raw).square().sum((1, 2, 3)))


def test_laplace_with_scale_one_is_the_absolute_error() -> None:
    head, raw = Laplace((6,)), torch.randn(4, 6, dtype=torch.float64)
    x = torch.rand(4, 6, dtype=torch.float64)
    torch.testing.assert_close(-head(raw).log_prob(x), (x - raw).abs().sum(1) + 6 * log(2))


@pytest.mark.parametrize(("make", "theirs"), [(Gaussian, Normal), (Laplace, TorchLaplace)])
def test_location_scale_families_are_torchs(make, theirs) -> None:
    x, raw = torch.randn(2, 4, 6, dtype=torch.float64)
    torch.testing.assert_close(make((6,), 0.3)(raw).elements(x), -theirs(raw, 0.3).log_prob(x))
    torch.testing.assert_close(make((6,), 0.3, "scalar")(raw).elements(x), -theirs(raw, 0.3).log_prob(x))
    both = torch.randn(4, 12, dtype=torch.float64)
    scale = 0.01 + 0.29 * both[:, 6:].exp()
    torch.testing.assert_close(
        make((6,), 0.3, "pixel", 0.01)(both).elements(x), -theirs(both[:, :6], scale).log_prob(x)
    )


def test_pixel_scale_is_the_second_half_of_the_first_dimension() -> None:
    head = Gaussian((3, 2, 2), sigma=1.0, learned="pixel", min_sigma=1e-6)
    assert head.raw_shape() == (6, 2, 2)
    raw = torch.stack([*torch.zeros(3, 2, 2), *torch.full((3, 2, 2), log(2.0))])[None]
    like = head(raw)
    torch.testing.assert_close(like.mean, torch.zeros(1, 3, 2, 2))
    torch.testing.assert_close(like.variance, torch.full((1, 3, 2, 2), 4.0), rtol=1e-5, atol=0)


@pytest.mark.parametrize("make", [Gaussian, Laplace])
def test_learned_scales_start_at_the_given_value(make) -> None:
    x = torch.linspace(0, 1, 4)
    fixed, scalar, pixel = (make((4,), learned=how) for how in ("fixed", "scalar", "pixel"))
    loc = torch.rand(2, 4)
    expected = fixed(loc).log_prob(x)
    torch.testing.assert_close(scalar(loc).log_prob(x), expected)
    torch.testing.assert_close(pixel(torch.cat([loc, torch.zeros(2, 4)], 1)).log_prob(x), expected)
    assert [len(list(head.parameters())) for head in (fixed, scalar, pixel)] == [0, 1, 0]


def test_learned_sigma_goes_to_the_mean_squared_error() -> None:
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
    head = Categorical((2, 3, 3), levels=4)
    assert head.raw_shape() == (8, 3, 3)
    raw, level = torch.randn(5, 8, 3, 3), torch.randint(0, 4, (5, 2, 3, 3))
    log_p = raw.reshape(5, 4, 2, 3, 3).log_softmax(1)
    expected = -log_p.gather(1, level[:, None])[:, 0]
    torch.testing.assert_close(head(raw).elements(level / 3), expected)
    torch.testing.assert_close(head(raw).elements(level / 3 + 0.1), expected)  # nearest level


def test_discretized_logistic_is_a_difference_of_cdfs() -> None:
    head = DiscretizedLogistic((6,), levels=11, init_scale=0.2, shared_scale=True)
    loc, level = torch.rand(4, 6, dtype=torch.float64), torch.randint(0, 11, (4, 6)).double()
    upper = torch.where(level == 10, 1.0, (((level + 0.5) / 10 - loc) / 0.2).sigmoid())
    lower = torch.where(level == 0, 0.0, (((level - 0.5) / 10 - loc) / 0.2).sigmoid())
    torch.testing.assert_close(head(loc).elements(level / 10), -(upper - lower).log())


@pytest.mark.parametrize("width", [0.0099, 0.0101])
def test_discretized_logistic_has_no_seam(width) -> None:
    head = DiscretizedLogistic((1,), levels=11, init_scale=0.1 / width, shared_scale=True)
    loc, x = torch.zeros(1, 1, dtype=torch.float64), torch.full((1, 1), 0.5, dtype=torch.float64)
    mass = (
        torch.tensor(0.55 / 0.1 * width, dtype=torch.float64).sigmoid()
        - torch.tensor(0.45 / 0.1 * width, dtype=torch.float64).sigmoid()
    )
    assert head(loc).elements(x).item() == pytest.approx(-mass.log().item(), abs=1e-7)


def test_discretized_logistic_starts_at_the_given_scale() -> None:
    loc, x = torch.rand(2, 4), torch.linspace(0, 1, 4)
    shared, each = (DiscretizedLogistic((4,), levels=9, init_scale=0.3, shared_scale=how) for how in (True, False))
    torch.testing.assert_close(shared(loc).log_prob(x), each(torch.cat([loc, torch.zeros(2, 4)], 1)).log_prob(x))
    assert [len(list(head.parameters())) for head in (shared, each)] == [1, 0]


def test_discretized_logistic_is_right_where_the_difference_underflows() -> None:
    head = DiscretizedLogistic((1,), levels=256, init_scale=0.004, shared_scale=True)
    x = torch.tensor([[200 / 255]])
    far = head(torch.zeros(1, 1)).elements(x)  # 50 scales below the level: σ(a) − σ(b) is 0 in float32
    exact = head(torch.zeros(1, 1, dtype=torch.float64)).elements(x.double())
    assert far.item() == pytest.approx(exact.item(), rel=1e-5)
    wide = DiscretizedLogistic((1,), levels=256, init_scale=1e6, shared_scale=True)(torch.zeros(1, 1)).elements(x)
    assert wide.item() == pytest.approx(log(4 * 255 * 1e6), rel=1e-5)  # density at its centre times the level's width


# ---- what the user gets wrong


@pytest.mark.parametrize("make", UNIT)
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
        (partial(DiscretizedLogistic, init_scale=-1.0), "--model.likelihood.init_scale"),
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


@pytest.mark.parametrize("head", [Categorical, DiscretizedLogistic])
def test_values_between_the_levels_are_warned_of_once(head: type[LikelihoodHead]) -> None:
    coarse = partial(head, levels=17)((4,))  # type: ignore[call-arg]
    with pytest.warns(UserWarning, match="between the 17 levels"):
        coarse.check_values(torch.tensor([[0.0, 0.1, 0.5, 1.0]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        coarse.check_values(torch.tensor([[0.0, 0.1, 0.5, 1.0]]))
        head((4,)).check_values(torch.arange(256).reshape(-1, 4) / 255)
