"""Pure maths against hand-worked values, closed forms and torch."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from lit_ae import functional
from lit_ae.errors import ConfigError
from lit_ae.likelihoods import Bernoulli, Gaussian
from lit_ae.posteriors import Delta, DiagonalGaussian
from lit_ae.priors import StandardNormal


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def gaussian(*shape: int, event_ndim: int = 1) -> DiagonalGaussian:
    return DiagonalGaussian(torch.randn(shape), torch.rand(shape) + 0.2, event_ndim)


def mixture(dim: int) -> MixtureSameFamily:
    """A prior that has no closed form: two equal standard normals."""
    parts = Independent(Normal(torch.zeros(2, dim), torch.ones(2, dim)), 1)
    return MixtureSameFamily(Categorical(torch.ones(2)), parts)


class SamplesOnly(Distribution):
    """A posterior that cannot be evaluated."""

    def __init__(self) -> None:
        super().__init__(torch.Size([4]), torch.Size([3]), validate_args=False)


# ---- precision and detaching


@pytest.mark.parametrize(
    ("given", "kept"), [("bfloat16", "float32"), ("float16", "float32"), ("float32", "float32"), ("float64", "float64")]
)
def test_full_precision(given, kept) -> None:
    assert functional.full_precision(torch.ones(1, dtype=getattr(torch, given))).dtype == getattr(torch, kept)


def test_detached_cuts_every_tensor_and_keeps_the_original() -> None:
    raw = torch.randn(5, 3, requires_grad=True)
    q = DiagonalGaussian(raw, raw.exp())
    p = Bernoulli((3,))(raw).masked(torch.tensor([True, True, False]))
    net = nn.Linear(3, 3)
    value = (q, [p], {"x": raw * 2, "n": 3}, None, net, torch.Size([5]))
    q2, (p2,), extra, nothing, same, size = functional.detached(value)
    assert isinstance(q2, DiagonalGaussian)
    assert not q2.rsample().requires_grad
    assert not p2.log_prob(torch.ones(5, 3)).requires_grad
    assert not extra["x"].requires_grad
    assert (extra["n"], nothing, same, size) == (3, None, net, torch.Size([5]))
    assert next(net.parameters()).requires_grad
    assert torch.equal(q2.loc, q.loc)
    torch.testing.assert_close(p2.log_prob(torch.ones(5, 3)), p.log_prob(torch.ones(5, 3)))
    assert (q2.batch_shape, p2.event_shape) == ((5,), (3,))
    assert q.rsample().requires_grad
    assert p.mean.requires_grad


def test_detached_cuts_distributions_inside_distributions() -> None:
    loc = torch.zeros(2, 3, requires_grad=True)
    parts = Independent(Normal(loc, torch.ones(2, 3)), 1)
    free = functional.detached(MixtureSameFamily(Categorical(torch.ones(2)), parts))
    assert not free.log_prob(torch.zeros(3)).requires_grad
    assert parts.mean.requires_grad
    assert not functional.detached(Delta(loc)).rsample((2,)).requires_grad
    assert not functional.detached(Gaussian((3,))(loc)).log_prob(torch.zeros(3)).requires_grad


# ---- rate


def test_kl_elements_sum_to_the_kl() -> None:
    q, prior = gaussian(4, 2, 3, event_ndim=2), StandardNormal((2, 3))()
    elements = functional.kl_elements(q, prior)
    assert elements.shape == (4, 2, 3)
    torch.testing.assert_close(elements.sum((1, 2)), functional.rate(q, prior, torch.empty(0)))
    with pytest.raises(NotImplementedError):
        functional.kl_elements(gaussian(4, 3), mixture(3))


@pytest.mark.parametrize("batch", [(), (4,)])
def test_rate_in_closed_form_for_either_prior_batch(batch) -> None:
    q, prior = gaussian(4, 3), gaussian(*batch, 3)
    by_hand = (
        (prior.scale / q.scale).log() + (q.scale.square() + (q.loc - prior.loc).square()) / (2 * prior.scale.square())
    ) - 0.5
    torch.testing.assert_close(functional.rate(q, prior, q.rsample((2,))), by_hand.sum(1))


def test_rate_by_sampling_agrees_with_the_closed_form() -> None:
    q = gaussian(4, 3)
    z = q.rsample((200_000,))
    exact = functional.rate(q, StandardNormal((3,))(), z)
    torch.testing.assert_close(functional.rate(q, mixture(3), z), exact, rtol=0.02, atol=0.02)


def test_rate_by_sampling_is_the_mean_over_k_of_the_log_ratio() -> None:
    q, prior = gaussian(4, 3), mixture(3)
    z = q.rsample((6,))
    expected = (q.log_prob(z) - prior.log_prob(z)).mean(0)
    torch.testing.assert_close(functional.rate(q, prior, z), expected)
    log_q = torch.randn(6, 4)  # a flow's own density is used, though q is a Gaussian here
    torch.testing.assert_close(functional.rate(q, prior, z, log_q), (log_q - prior.log_prob(z)).mean(0))


def test_rate_of_a_hierarchy_sums_its_levels() -> None:
    k, b = 5, 4
    q, prior = (gaussian(b, 2), gaussian(k, b, 3)), (StandardNormal((2,))(), gaussian(k, b, 3))
    z = (q[0].rsample((k,)), q[1].rsample())
    levels = [functional.rate(q[0], prior[0], z[0]), functional.kl_elements(q[1], prior[1]).sum(-1).mean(0)]
    total = functional.rate(q, prior, z)
    assert total.shape == (b,)
    torch.testing.assert_close(total, levels[0] + levels[1])
    log_q = torch.randn(k, b)
    sampled = functional.rate(q, prior, z, log_q)
    torch.testing.assert_close(sampled, (log_q - prior[0].log_prob(z[0]) - prior[1].log_prob(z[1])).mean(0))


@pytest.mark.parametrize("q", [Delta(torch.zeros(4, 3)), SamplesOnly()], ids=["Delta", "SamplesOnly"])
def test_a_posterior_without_density_has_no_rate(q) -> None:
    with pytest.raises(ConfigError, match=rf"{type(q).__name__} has no density.*DiagonalGaussianHead"):
        functional.rate(q, StandardNormal((3,))(), torch.zeros(1, 4, 3))


# ---- free bits, capacity


def test_free_bits_by_hand() -> None:
    kl = torch.tensor([[0.1, 1.0], [0.3, 3.0]], requires_grad=True)  # batch means 0.2 and 2.0
    floored = functional.free_bits(kl, 0.5)
    torch.testing.assert_close(floored, torch.tensor([1.5, 3.5]))
    assert floored.mean().item() == pytest.approx(max(0.5, 0.2) + max(0.5, 2.0))
    floored.sum().backward()
    assert torch.equal(kl.grad, torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
    torch.testing.assert_close(functional.free_bits(kl, torch.tensor(0.5)), floored)
    torch.testing.assert_close(functional.free_bits(kl, 0.0), kl.sum(1))


def test_free_bits_of_latents_with_several_dimensions() -> None:
    kl = torch.rand(5, 2, 3)
    torch.testing.assert_close(functional.free_bits(kl, 0.4), functional.free_bits(kl.flatten(1), 0.4))


def test_capacity_gap() -> None:
    rate = torch.tensor([1.0, 5.0], requires_grad=True)
    gap = functional.capacity_gap(rate, 3.0)
    assert gap.tolist() == [2.0, 2.0]
    gap.sum().backward()
    assert rate.grad.tolist() == [-1.0, 1.0]


# ---- mutual information, active units, bits


def test_mutual_information_of_two_points_by_hand() -> None:
    q = DiagonalGaussian(torch.tensor([[-1.0], [1.0]]), torch.ones(2, 1))
    z = torch.tensor([[[-1.0], [1.0]]])
    # each z lies on its own mean, two away from the other: q(z|x) / q(z) = 2 / (1 + e^-2)
    expected = torch.tensor(2.0).log() - torch.tensor(-2.0).exp().log1p()
    torch.testing.assert_close(functional.mutual_information(q, z), expected)
    torch.testing.assert_close(functional.mutual_information(q, z[0]), expected)


def test_mutual_information_is_zero_without_and_log_b_with_perfect_knowledge() -> None:
    same = DiagonalGaussian(torch.zeros(16, 3), torch.ones(16, 3))
    apart = DiagonalGaussian(100.0 * torch.arange(16.0)[:, None].expand(16, 3), torch.ones(16, 3))
    assert functional.mutual_information(same, same.rsample((3,))) == pytest.approx(0.0, abs=1e-5)
    assert functional.mutual_information(apart, apart.rsample((3,))) == pytest.approx(log(16), abs=1e-5)


@pytest.mark.parametrize("shape", [(64, 3), (64, 2, 2)])
def test_mutual_information_lies_between_zero_and_log_b_and_below_the_rate(shape) -> None:
    q = gaussian(*shape, event_ndim=len(shape) - 1)
    nats = functional.mutual_information(q, q.rsample((200,)))
    assert nats.shape == ()
    assert 0 < nats <= log(64)
    # E_x[KL(q(z|x)‖p)] = I(x; z) + KL(q(z)‖p)
    rate = functional.rate(q, StandardNormal(shape[1:])(), torch.empty(0)).mean()
    assert nats < rate


def test_mutual_information_in_parts_is_the_same() -> None:
    wide = gaussian(70, 1000)  # 4.9 million differences: more than are held at once
    z = wide.rsample()
    pairs = wide.log_prob(z[:, None])
    expected = (pairs.diagonal() - pairs.logsumexp(1) + log(70)).mean()
    torch.testing.assert_close(functional.mutual_information(wide, z), expected)


def test_active_units() -> None:
    mean = torch.tensor([[0.0, 0.05, 1.0], [0.0, -0.05, 3.0]])  # variances 0, 0.0025, 1
    assert functional.active_units(mean).tolist() == [False, False, True]
    assert functional.active_units(mean, threshold=0.002).tolist() == [False, True, True]
    assert functional.active_units(mean, threshold=0.003).tolist() == [False, False, True]
    assert functional.active_units(mean[:1]).tolist() == [False, False, False]


def test_bits_per_dim_of_a_uniform_byte_is_eight() -> None:
    nats = torch.tensor([784 * log(256), 0.0])
    torch.testing.assert_close(functional.bits_per_dim(nats, 784), torch.tensor([8.0, 0.0]))
