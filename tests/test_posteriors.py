"""Posteriors, their heads and the standard normal prior."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, Laplace, Normal, kl_divergence

from lit_ae.errors import ConfigError
from lit_ae.posteriors import Delta, DeltaHead, DiagonalGaussian, DiagonalGaussianHead, PosteriorHead
from lit_ae.priors import StandardNormal, cooled


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", [(3,), (2, 4, 5)])
@pytest.mark.parametrize("batch", [(6,), (2, 6), ()])
@pytest.mark.parametrize("make", [DeltaHead, DiagonalGaussianHead])
def test_heads_build_batch_and_event(make, shape, batch) -> None:
    head = make(shape)
    q = head(torch.randn(*batch, *head.raw_shape()))
    assert head.raw_shape()[1:] == shape[1:]
    assert (q.batch_shape, q.event_shape) == (batch, shape)
    assert q.mean.shape == q.mode.shape == q.stddev.shape == q.variance.shape == (*batch, *shape)
    assert q.rsample((7,)).shape == q.sample((7,)).shape == (7, *batch, *shape)
    assert q.rsample().shape == (*batch, *shape)


@pytest.mark.parametrize("make", [DeltaHead, DiagonalGaussianHead])
def test_heads_cast_bf16_up_and_keep_float64(make) -> None:
    head: PosteriorHead = make((3,))
    raw = torch.randn(5, *head.raw_shape())
    with torch.autocast("cpu", torch.bfloat16):
        assert head(raw.bfloat16()).rsample((2,)).dtype == torch.float32
    assert head(raw.double()).mean.dtype == torch.float64


def test_delta_is_its_point() -> None:
    value = torch.randn(5, 3, requires_grad=True)
    q = Delta(value)
    z = q.rsample((4,))
    assert torch.equal(z, value.expand(4, 5, 3))
    assert torch.equal(q.mode, value)
    assert torch.equal(q.stddev, torch.zeros(5, 3))
    z.sum().backward()
    assert torch.equal(value.grad, torch.full((5, 3), 4.0))
    assert not q.sample((2,)).requires_grad
    assert q.expand((2, 5)).rsample((4,)).shape == (4, 2, 5, 3)
    with pytest.raises(NotImplementedError):
        q.log_prob(z)


def test_diagonal_gaussian_is_torchs() -> None:
    loc, scale = torch.randn(5, 2, 3), torch.rand(5, 2, 3) + 0.1
    q, theirs = DiagonalGaussian(loc, scale, 2), Independent(Normal(loc, scale), 2)
    z = torch.randn(4, 5, 2, 3)
    assert torch.equal(q.log_prob(z), theirs.log_prob(z))
    assert torch.equal(q.entropy(), theirs.entropy())
    assert torch.equal(q.mean, loc)
    assert torch.equal(q.mode, loc)
    assert torch.equal(q.stddev, scale)
    assert torch.equal(q.variance, theirs.variance)


def test_diagonal_gaussian_samples_are_reparameterised() -> None:
    loc, scale = torch.randn(3, requires_grad=True), torch.rand(3).requires_grad_()
    z = DiagonalGaussian(loc, scale).rsample((10,))
    z.sum().backward()
    torch.testing.assert_close(loc.grad, torch.full((3,), 10.0))
    torch.testing.assert_close(scale.grad, ((z - loc) / scale).sum(0).detach())


def test_diagonal_gaussian_expands() -> None:
    q = DiagonalGaussian(torch.randn(3), torch.rand(3) + 0.1)
    wide = q.expand((5,))
    assert isinstance(wide, DiagonalGaussian)
    assert (wide.batch_shape, wide.event_shape) == ((5,), (3,))
    z = torch.randn(5, 3)
    torch.testing.assert_close(wide.log_prob(z), q.log_prob(z))


def test_gaussian_head_reads_means_then_log_variances() -> None:
    mean, log_variance = torch.randn(5, 2, 4, 4), torch.randn(5, 2, 4, 4)
    q = DiagonalGaussianHead((2, 4, 4))(torch.cat([mean, log_variance], 1))
    assert torch.equal(q.mean, mean)
    torch.testing.assert_close(q.variance, log_variance.exp())


@pytest.mark.parametrize("size", [1e4, -1e4, 88.0, -88.0])
def test_a_huge_log_variance_stays_finite(size) -> None:
    raw = torch.cat([torch.randn(4, 3), torch.full((4, 3), size)], 1).requires_grad_()
    q = DiagonalGaussianHead((3,))(raw)
    z, prior = q.rsample((2,)), StandardNormal((3,))()
    parts = [kl_divergence(q, prior), q.entropy(), q.log_prob(z.detach()).sum(0), z.square().sum((0, 2))]
    torch.stack(parts).sum().backward()
    assert all(part.isfinite().all() for part in parts)
    assert raw.grad is not None
    assert raw.grad.isfinite().all()


@pytest.mark.parametrize("bound", [0.0, -1.0, 200.0, float("nan")])
def test_a_bound_that_bounds_nothing_is_refused(bound) -> None:
    with pytest.raises(ConfigError, match="max_log_variance"):
        DiagonalGaussianHead((3,), bound)


@pytest.mark.parametrize("shape", [(3,), (2, 4, 4)])
def test_standard_normal(shape) -> None:
    prior = StandardNormal(shape)()
    z = torch.randn(5, *shape)
    assert (prior.batch_shape, prior.event_shape) == ((), shape)
    torch.testing.assert_close(prior.log_prob(z), Normal(0.0, 1.0).log_prob(z).flatten(1).sum(1))
    assert prior.sample((7,)).shape == (7, *shape)
    assert prior.expand((4,)).sample().shape == (4, *shape)
    assert not StandardNormal(shape).state_dict()


def test_kl_to_the_standard_normal() -> None:
    mean, log_variance = torch.randn(2, 5, 3, dtype=torch.float64)
    q = DiagonalGaussianHead((3,))(torch.cat([mean, log_variance], 1))
    prior = StandardNormal((3,))()
    kingma = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1)
    general = kl_divergence(q, Independent(Normal(torch.zeros(3), torch.ones(3)), 1))
    torch.testing.assert_close(kl_divergence(q, prior), kingma)
    torch.testing.assert_close(kl_divergence(q, prior), general)
    z = q.rsample((200_000,))
    torch.testing.assert_close((q.log_prob(z) - prior.log_prob(z)).mean(0), kingma, rtol=0.02, atol=0.02)
    assert kl_divergence(prior, prior) == 0


@pytest.mark.parametrize("event", [(3,), (2, 4, 4)])
def test_a_cooled_prior_keeps_its_mean_and_shrinks(event: tuple[int, ...]) -> None:
    prior = StandardNormal(event)()
    assert cooled(prior, 1.0) is prior
    assert (cooled(prior, 0.5).batch_shape, cooled(prior, 0.5).event_shape) == (prior.batch_shape, prior.event_shape)
    torch.manual_seed(0)
    for temperature in (0.0, 0.3, 2.0):
        drawn = cooled(prior, temperature).sample((4000,))
        torch.testing.assert_close(drawn.std(0), torch.full(event, temperature), rtol=0.05, atol=0)
    with pytest.raises(ConfigError, match="temperature is -1"):
        cooled(prior, -1.0)
    with pytest.raises(ConfigError, match="no Gaussian"):
        cooled(Independent(Laplace(torch.zeros(event), 1.0), len(event)), 0.5)
