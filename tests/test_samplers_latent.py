"""Densities over latents: that they are densities, and that they are those of others' code."""

from __future__ import annotations

from functools import partial
from math import pi

import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

import variants
from latents_for_tests import CLASSES, each, fitted
from lit_ae.batch import DataError
from lit_ae.errors import ConfigError
from lit_ae.jobs.fitted import gaussian
from lit_ae.models.latent import VectorDecoding
from lit_ae.samplers.gmm import GMMSampler
from lit_ae.samplers.knn import KNNSampler, total
from lit_ae.samplers.latents import LatentSampler

MIDDLE = torch.tensor([3.0, -20.0])


def moons(n: int, seed: int = 0) -> Tensor:
    """Points about two arcs of a plane, (n, 2), with scales and a place that are not those of N(0, I)."""
    generator = torch.Generator().manual_seed(seed)
    angle = pi * torch.rand(n, generator=generator)
    half = (torch.arange(n) % 2)[:, None]
    arc = torch.stack([angle.cos(), angle.sin()], 1) * (1 - 2 * half) + torch.tensor([1.0, 0.3]) * half
    noisy = arc + 0.15 * torch.randn(n, 2, generator=generator)
    return MIDDLE + torch.tensor([0.5, 8.0]) * noisy


def grid(low: Tensor, high: Tensor, points: int = 91) -> tuple[Tensor, float]:
    """Places in a plane, (points², 2), and the area of each."""
    axes = [torch.linspace(float(a), float(b), points) for a, b in zip(low, high, strict=True)]
    return torch.cartesian_prod(*axes), float((axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0]))


# ---- densities


@each
def test_it_integrates_to_one_and_its_samples_have_its_moments(kind: str) -> None:
    values = moons(600)
    sampler = fitted(kind, values)
    reach = 6 * values.std(0)
    at, area = grid(values.mean(0) - reach, values.mean(0) + reach)
    torch.manual_seed(1)
    mass = sampler.log_prob(at).exp() * area
    assert mass.sum().item() == pytest.approx(1, abs=0.02 if kind == "two_stage" else 5e-3)
    mean = (mass[:, None] * at).sum(0)
    deviation = (mass[:, None] * (at - mean).square()).sum(0).sqrt()
    drawn = sampler.sample(20_000)
    assert drawn.shape == (20_000, 2)
    torch.testing.assert_close(drawn.mean(0), mean, atol=0.05 * deviation.max().item(), rtol=0)
    torch.testing.assert_close(drawn.std(0), deviation, atol=0, rtol=0.05)
    nats = -sampler.log_prob(moons(400, seed=2)).mean().item()
    assert nats < gaussian([values], moons(400, seed=2)) - 0.02


@each
def test_each_class_has_a_density_of_its_own(kind: str) -> None:
    values, c = moons(600), torch.arange(600) % 2
    sampler = fitted(kind, values, c, epochs=8)
    assert sampler.conditional
    at, area = grid(values.mean(0) - 6 * values.std(0), values.mean(0) + 6 * values.std(0))
    for label in (0, 1):
        mass = sampler.log_prob(at, torch.full((len(at),), label)).exp().sum() * area
        assert mass.item() == pytest.approx(1, abs=0.03 if kind == "two_stage" else 5e-3)
    right, wrong = sampler.log_prob(values, c).mean(), sampler.log_prob(values, 1 - c).mean()
    assert right > wrong + 1
    drawn = sampler.sample(6, torch.tensor([0, 1, 1, 0, 1, 0]))
    assert drawn.shape == (6, 2)
    asked = torch.arange(400) % 2
    drawn = sampler.sample(400, asked)
    assert sampler.log_prob(drawn, asked).mean() > sampler.log_prob(drawn, 1 - asked).mean() + 1
    with pytest.raises(DataError, match="class"):
        sampler.log_prob(values)
    with pytest.raises(DataError, match="classes 0 to 1"):
        sampler.sample(2, torch.tensor([0, 2]))


@each
def test_density_and_samples_move_with_the_units_of_the_latents(kind: str) -> None:
    values, factor = moons(300), torch.tensor([100.0, 0.01])
    one, other = fitted(kind, values, epochs=1), fitted(kind, factor * values, epochs=1)
    torch.manual_seed(0)
    before = one.log_prob(values[:50])
    torch.manual_seed(0)
    after = other.log_prob(factor * values[:50]) + factor.log().sum()
    torch.testing.assert_close(before, after, atol=0.02, rtol=1e-3)


@each
def test_a_sampler_is_stored_as_tensors_whatever_their_sizes(kind: str) -> None:
    values, c = moons(200), torch.arange(200) % 2
    sampler = fitted(kind, values, c, epochs=1)
    state = sampler.state_dict()
    assert all(isinstance(value, Tensor) for value in state.values())
    again: LatentSampler = CLASSES[kind](2, condition_shape=(), num_classes=2)
    again.load_state_dict(state)
    torch.manual_seed(0)
    expected = sampler.log_prob(values, c)
    torch.manual_seed(0)
    assert torch.equal(again.eval().log_prob(values, c), expected)


@each
def test_cold_samples_are_likelier(kind: str) -> None:
    sampler = fitted(kind, moons(400))
    torch.manual_seed(0)
    cold, warm = (sampler.log_prob(sampler.sample(1000, temperature=t)).mean() for t in (0.3, 1.0))
    assert cold > warm
    assert sampler.sample(3, temperature=0.0).isfinite().all()
    with pytest.raises(ConfigError, match="temperature is -1"):
        sampler.sample(2, temperature=-1.0)


@each
@pytest.mark.parametrize("dim", [1, 3])
def test_other_numbers_of_latents(kind: str, dim: int) -> None:
    torch.manual_seed(0)
    values = torch.randn(200, dim)
    sampler = fitted(kind, values, epochs=1)
    assert sampler.log_prob(values).shape == (200,)
    assert sampler.sample(7).shape == (7, dim)


@pytest.mark.parametrize("name", variants.VARIANTS)
def test_latents_of_a_variant_decode(name: str) -> None:
    model, batch = variants.build(name).eval(), variants.batch_of(name, 5)
    if not isinstance(model, VectorDecoding):
        return
    for build in CLASSES.values():
        sampler = build(**build.func.facts(model) if isinstance(build, partial) else build.facts(model))
        values = sampler.values(model, batch.x, batch.c, batch.mask)
        assert values.shape == (5, *model.latent_shape)
        assert not values.requires_grad
        assert sampler.decode(model, values, batch.c).shape == batch.x.shape


def test_moments_of_batches_are_those_of_all() -> None:
    values = torch.cat([moons(500), torch.full((500, 1), 7.0)], 1)
    sampler = KNNSampler(3)
    sampler.standardise(values.split(77))
    torch.testing.assert_close(sampler.shift, values.mean(0))
    torch.testing.assert_close(sampler.scale[:2], values[:, :2].std(0, correction=0))
    assert sampler.scale[2] == 1  # a latent that never moves


def test_one_gaussian_by_hand() -> None:
    values, new = 5 + moons(400), 5 + moons(50, seed=1)
    p = torch.distributions.MultivariateNormal(values.mean(0).double(), values.T.cov(correction=0).double())
    expected = -p.log_prob(new.double()).mean().item()
    assert gaussian(values.split(90), new) == pytest.approx(expected, abs=1e-3)


# ---- those of others


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_a_mixture_is_that_of_scikit_learn(covariance_type: str) -> None:
    values = moons(400)
    sampler = fitted("gmm", values, covariance_type=covariance_type, reg_covar=0.01)
    z = ((values - sampler.shift) / sampler.scale).double().numpy()
    mixture = GaussianMixture(4, covariance_type=covariance_type, reg_covar=0.01, max_iter=200, random_state=0).fit(z)
    expected = torch.from_numpy(mixture.score_samples(z)).float() - sampler.scale.log().sum()
    torch.testing.assert_close(sampler.log_prob(values), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["maf", "spline"])
def test_a_flow_is_that_of_zuko(kind: str) -> None:
    import zuko

    values = moons(400)
    sampler = fitted(kind, values)
    make = {"maf": zuko.flows.MAF, "spline": zuko.flows.NSF}[kind]
    flow = make(2, 0, transforms=2, hidden_features=[16, 16])
    flow.load_state_dict(sampler.flow.state_dict())
    expected = flow().log_prob((values - sampler.shift) / sampler.scale) - sampler.scale.log().sum()
    torch.testing.assert_close(sampler.log_prob(values), expected.detach())


def test_kernels_by_hand() -> None:
    values = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [8.0, 8.0]])
    sampler = KNNSampler(2, neighbours=1, bandwidth=0.5)
    sampler.estimate(values, None, seed=0)
    z = (values - sampler.shift) / sampler.scale
    nearest = torch.cdist(z, z).fill_diagonal_(torch.inf).amin(1)
    widths = 0.5 * nearest / 2**0.5
    at = torch.tensor([[1.0, 0.5]])
    squared = ((at - values) / sampler.scale).square().sum(1)
    kernels = (-squared / (2 * widths**2)).exp() / (2 * pi * widths**2)
    expected = kernels.mean().log() - sampler.scale.log().sum()
    torch.testing.assert_close(sampler.log_prob(at)[0], expected)
    drawn = sampler.sample(50, temperature=0.0)
    assert torch.cdist(drawn, values).amin(1).max() < 1e-5


def test_sums_of_densities_far_apart() -> None:
    log_p = torch.tensor([[0.0, -1.0, -1e4], [-5e3, -5e3, -torch.inf], [1e4, -1e4, 0.0]])
    torch.testing.assert_close(total(log_p.clone()), log_p.logsumexp(1))


def test_kernels_of_latents_that_are_there_twice() -> None:
    sampler = fitted("knn", moons(100).repeat_interleave(10, 0))
    assert sampler.log_prob(moons(100)).isfinite().all()


def test_the_second_stage_bounds_its_own_density() -> None:
    values = moons(600)
    sampler = fitted("two_stage", values)
    torch.manual_seed(0)
    elbo, log_p = sampler.bound(values).mean(), sampler.log_prob(values).mean()
    assert elbo < log_p
    sampler.samples = 1
    assert sampler.log_prob(values).mean().item() == pytest.approx(elbo.item(), abs=0.1)


@pytest.mark.parametrize("kind", ["maf", "spline", "two_stage"])
def test_a_vector_may_be_the_condition(kind: str) -> None:
    values = moons(64)
    sampler = CLASSES[kind](2, condition_shape=(3,))
    c = torch.randn(64, 3)
    assert sampler.log_prob(values, c).shape == (64,)
    assert sampler.sample(64, c).shape == (64, 2)
    for other in (GMMSampler, KNNSampler):
        with pytest.raises(ConfigError, match="one density per class"):
            other(2, condition_shape=(3,))
