"""What every likelihood owes: shapes, probability, moments, gradients, masks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.distributions import Poisson

from lit_ae.batch import Shape
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

Make = Callable[[Shape], LikelihoodHead]

HEADS: dict[str, Make] = {
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
    "logistic shared": partial(DiscretizedLogistic, levels=5, shared_scale=True),
}
MASSES = {name: make for name, make in HEADS.items() if name.startswith(("bernoulli", "categorical", "logistic"))}
DENSITIES = {name: make for name, make in HEADS.items() if name not in MASSES}
UNIT = {name: make for name, make in HEADS.items() if not name.startswith(("gaussian", "laplace"))}


def each(makers: dict[str, Make]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make", makers.values(), ids=makers.keys())


def build(make: Make, shape: Shape = (3,), batch: Shape = (4,), spread: float = 2.0) -> tuple[LikelihoodHead, Tensor]:
    """A head, and raw parameters for it in float64."""
    torch.manual_seed(0)
    head = make(shape)
    raw = spread * torch.randn(*batch, *head.raw_shape(), dtype=torch.float64)
    return head, raw.requires_grad_()


def integrate(grid: Tensor, p: Tensor, levels: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """∫p, E[x] and Var[x] from p, (N, ...), on a grid, (N,): a sum, or the trapezoid rule for a density."""

    def total(y: Tensor) -> Tensor:
        return y.sum(0) if levels is not None else torch.trapezoid(y, grid, dim=0)

    grid = grid.reshape(-1, *[1] * (p.ndim - 1))
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
    assert nats.dtype == head(half).log_prob(x.bfloat16()).dtype == torch.float32
    assert torch.equal(nats, head(half.float()).log_prob(x.float()))
    nats.sum().backward()
    assert half.grad is not None
    assert half.grad.isfinite().all()


# ---- probability


@each(MASSES)
def test_masses_sum_to_one_and_give_the_moments(make) -> None:
    head, raw = build(make, spread=1.0)
    like = head(raw)
    grid = torch.linspace(0, 1, like.levels, dtype=torch.float64)
    p = torch.stack([(-like.elements(level)).exp() for level in grid])
    total, mean, variance = integrate(grid, p, like.levels)
    torch.testing.assert_close(total, torch.ones_like(total))
    torch.testing.assert_close(like.mean, mean)
    torch.testing.assert_close(like.variance, variance)


@pytest.mark.parametrize("make", [Categorical, DiscretizedLogistic])
def test_256_levels_sum_to_one_in_float32(make) -> None:
    head, raw = build(make, (2,), (3,))
    like, grid = head(raw.float()), torch.linspace(0, 1, 256)
    p = torch.stack([(-like.elements(level)).exp() for level in grid])
    total, mean, _ = integrate(grid, p, 256)
    torch.testing.assert_close(total, torch.ones(3, 2), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(like.mean, mean, rtol=1e-5, atol=1e-5)


@each(DENSITIES)
def test_densities_integrate_to_one_and_give_the_moments(make) -> None:
    head, raw = build(make, shape=(2,), batch=(2,), spread=0.7)
    like = head(raw)
    bound = (0, 1) if isinstance(head, ContinuousBernoulli) else (-200, 200)
    grid = torch.linspace(*bound, 400_001, dtype=torch.float64)
    x = grid.reshape(-1, 1, 1).expand(-1, 2, 2)
    p = (-head(raw.expand(len(grid), *raw.shape)).elements(x)).exp()
    total, mean, variance = integrate(grid, p, None)
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
    assert raw.grad is not None
    assert raw.grad.isfinite().all()
    size = raw.grad.reshape(2, 4, -1, 2, 3).abs().sum(2)  # over the parameters of one element
    assert (size[:, ~mask] == 0).all()
    assert (size[:, mask] > 0).all()


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


@pytest.mark.parametrize("head", [Bernoulli, ContinuousBernoulli])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["x in float32", "x in float64"])
def test_cross_entropy_is_the_same_with_and_without_a_gradient(head: type[LikelihoodHead], dtype: torch.dtype) -> None:
    logits = torch.linspace(-200, 200, 801)
    x = torch.stack([torch.zeros(801), torch.ones(801), torch.rand(801)]).to(dtype)
    followed = head((801,))(logits.expand(3, 801).clone().requires_grad_())
    plain = head((801,))(logits.expand(3, 801))
    torch.testing.assert_close(plain.elements(x), followed.elements(x).detach(), rtol=1e-5, atol=1e-5)
    assert plain.elements(x).isfinite().all()
    if head is Bernoulli:
        by_torch = -torch.distributions.Bernoulli(logits=logits.double(), validate_args=False).log_prob(x.double())
        torch.testing.assert_close(plain.elements(x).double(), by_torch, rtol=1e-5, atol=1e-5)
