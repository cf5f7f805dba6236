"""Free energies against their closed forms, and the energy-based model's claims."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from math import log, pi
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from datamodules import Points
from lit_ae.batch import Batch, DataSpec
from lit_ae.errors import ConfigError
from lit_ae.free_energy import box_grid, box_starts, descend, free_energy, gibbs, langevin
from lit_ae.likelihoods import Gaussian
from lit_ae.models.ebm import EBM
from lit_ae.nn import EllipseDecoder, MLPDecoder

PLANE = DataSpec(input_shape=(2,))
PERIOD = {"latent_dim": 1, "decoder": EllipseDecoder, "regularizer": 0.0, "box": (-pi, pi)}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def linear(**arguments: Any) -> tuple[EBM, Tensor, MultivariateNormal]:
    """x = W z + b + ½ ε with three numbers and two latents; some x, and their marginal distribution."""
    spec, sigma = DataSpec(input_shape=(3,)), 0.5
    decoder, likelihood = partial(MLPDecoder, hidden=()), partial(Gaussian, sigma=sigma)
    model = EBM(spec=spec, latent_dim=2, decoder=decoder, likelihood=likelihood, **arguments)
    weight, bias = model.decoder.layers[0].weight, model.decoder.layers[0].bias
    covariance = weight @ weight.T + sigma**2 * torch.eye(3)
    marginal = MultivariateNormal(bias, covariance)
    return model, marginal.sample((20,)), marginal


def total(model: EBM, batch: Batch) -> Tensor:
    return model.weigh(model.loss(batch, model(batch), model.coefficients), model.coefficients)


def train(model: EBM, data: Points, epochs: int, lr: float = 0.02) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for _ in range(epochs):
        for batch in data.train_dataloader():
            optimizer.zero_grad()
            total(model, batch).backward()
            optimizer.step()


# ---- pure functions


@pytest.mark.parametrize("beta", [0.3, 1.0, 20.0])
def test_mean_energy_minus_entropy_is_the_free_energy_in_value_and_in_gradient(beta: float) -> None:
    cost = torch.randn(30, 4, dtype=torch.float64).mul(3).requires_grad_()
    penalty = torch.randn(30, 4, dtype=torch.float64).requires_grad_()
    log_volume = torch.randn(30, 1, dtype=torch.float64)
    wanted = free_energy(2 * cost + penalty, log_volume, beta)
    weights, entropy = gibbs(2 * cost + penalty, log_volume, beta)
    parts = 2 * (weights * cost).sum(0) + (weights * penalty).sum(0) - entropy / beta
    torch.testing.assert_close(parts, wanted)
    ours = torch.autograd.grad(parts.sum(), (cost, penalty))
    torch.testing.assert_close(ours, torch.autograd.grad(wanted.sum(), (cost, penalty)))


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_a_grid_integrates_a_quadratic_energy(dim: int) -> None:
    z, log_cell = box_grid(-6, 6, 40, dim)
    assert z.shape == (40**dim, dim)
    energy = z.square().sum(1, keepdim=True) / 2
    for beta in (0.5, 1.0, 3.0):
        wanted = -dim / (2 * beta) * log(2 * pi / beta)
        assert free_energy(energy, log_cell, beta).item() == pytest.approx(wanted, abs=2e-3)
    assert gibbs(energy, log_cell)[1].item() == pytest.approx(dim / 2 * (1 + log(2 * pi)), abs=2e-3)


@pytest.mark.parametrize("step_size", [1e-3, 0.5, 1e3])
def test_descent_reaches_the_minimum_with_any_step_and_never_climbs(step_size: float) -> None:
    centre = torch.randn(5, 2)

    def energy(z: Tensor) -> Tensor:
        return ((z - centre).square() * torch.tensor([1.0, 10.0])).sum(-1)

    start = torch.randn(3, 5, 2)
    values = [descend(energy, start, steps, step_size)[1] for steps in (0, 1, 5, 25, 200)]
    assert all((after <= before).all() for before, after in pairwise(values))
    z, value = descend(energy, start, 200, step_size)
    torch.testing.assert_close(z, centre.expand(3, 5, 2), atol=1e-3, rtol=0)
    torch.testing.assert_close(value, energy(z))


def test_descent_leaves_no_graph_and_works_in_inference_mode() -> None:
    weight = torch.ones((), requires_grad=True)
    with torch.inference_mode():
        assert descend(lambda z: (weight * z).square().sum(-1), torch.ones(2, 1), 50, 0.1)[1].max() < 1e-3
    z, _ = descend(lambda z: (weight * z).square().sum(-1), torch.ones(2, 1), 5, 0.1)
    assert not z.requires_grad
    assert weight.grad is None


@pytest.mark.parametrize("step_size", [0.02, 0.2])
@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_langevin_samples_have_the_gibbs_distribution_whatever_the_step(step_size: float, beta: float) -> None:
    stiffness = torch.tensor([1.0, 3.0])
    z = langevin(lambda z: ((z - 1).square() * stiffness).sum(-1) / 2, torch.zeros(4000, 1, 2), 200, step_size, beta)
    torch.testing.assert_close(z.mean((0, 1)), torch.ones(2), atol=0.06, rtol=0)
    torch.testing.assert_close(z.var((0, 1)), 1 / (beta * stiffness), rtol=0.1, atol=0)


def test_starts_begin_in_the_middle_and_spread_over_the_box() -> None:
    starts = box_starts(-2.0, 4.0, 9, 3)
    assert torch.equal(starts, box_starts(-2.0, 4.0, 9, 3))
    assert torch.equal(starts[0], torch.ones(3))
    assert ((starts >= -2) & (starts <= 4)).all()
    assert ((starts[1:] < 1).sum(0) == 4).all()  # eight points of a Sobol sequence: half of them in either half


# ---- the linear Gaussian decoder, whose free energy at β = 1 is −log p(x)


@pytest.mark.parametrize(
    ("arguments", "tolerance"),
    [
        ({"inference": "grid", "box": (-6.0, 6.0)}, 1e-4),
        ({"inference": "importance", "inference_samples": 20_000}, 0.15),
        ({"inference": "importance", "inference_samples": 20_000, "proposal_scale": 1.0}, 0.05),
    ],
    ids=["grid", "prior", "gaussian"],
)
def test_the_free_energy_is_minus_log_p(arguments: dict[str, Any], tolerance: float) -> None:
    model, x, marginal = linear(**arguments)
    wanted = -marginal.log_prob(x)
    torch.testing.assert_close(model.free_energy(x), wanted.detach(), atol=tolerance, rtol=0)
    parameters = list(model.parameters())
    wanted_slopes = torch.autograd.grad(wanted.mean(), parameters)
    for ours, slope in zip(torch.autograd.grad(total(model, Batch(x)), parameters), wanted_slopes, strict=True):
        torch.testing.assert_close(ours, slope, atol=tolerance, rtol=0)


def test_langevin_has_the_gradient_of_log_p() -> None:
    model, x, marginal = linear(inference="langevin", inference_samples=4000, inference_steps=60, step_size=0.2)
    parameters = list(model.parameters())
    wanted = torch.autograd.grad(-marginal.log_prob(x).mean(), parameters)
    for ours, slope in zip(torch.autograd.grad(total(model, Batch(x)), parameters), wanted, strict=True):
        torch.testing.assert_close(ours, slope, atol=0.05, rtol=0)


def test_minimisation_finds_the_posterior_mode_and_the_gradient_of_the_minimum() -> None:
    model, x, _ = linear(inference_steps=200)
    weight, bias = model.decoder.layers[0].weight, model.decoder.layers[0].bias
    precision = weight.T @ weight / 0.25 + torch.eye(2)
    mode = torch.linalg.solve(precision, weight.T @ (x - bias).T / 0.25).T
    torch.testing.assert_close(model.embed(x), mode.detach(), atol=1e-3, rtol=0)
    minimum = model.energy(Batch(x), mode).mean()  # differentiated through the mode as well: the envelope theorem
    wanted = torch.autograd.grad(minimum, [weight, bias])
    torch.testing.assert_close(torch.autograd.grad(total(model, Batch(x)), [weight, bias]), wanted, atol=1e-3, rtol=0)


def test_conditions_reach_the_grid_and_an_unconditional_grid_decodes_alike() -> None:
    spec = DataSpec(input_shape=(2,), num_classes=3, condition_shape=())
    small = {"latent_dim": 1, "decoder": partial(MLPDecoder, hidden=(8,)), "inference": "grid", "grid_points": 7}
    x, c = torch.randn(3, 2), torch.arange(3)
    out = EBM(spec=spec, **small)(Batch(x, c=c))
    assert not torch.allclose(out.p.mean[:, 0], out.p.mean[:, 1])
    model = EBM(spec=PLANE, **small)
    out = model(Batch(x))
    assert out.z.shape == (7, 3, 1)
    torch.testing.assert_close(out.p.mean, model.decode(out.z).mean)


# ---- claims


@pytest.mark.parametrize(
    "inference", [{"inference": "minimise", "restarts": 8}, {"inference": "grid", "grid_points": 100}], ids=["F∞", "Fβ"]
)
def test_it_recovers_the_half_axes_of_an_ellipse(inference: dict[str, Any]) -> None:
    data = Points(radii=(1.1, 0.6), noise=0.05, batch_size=100)
    model = EBM(spec=data.spec, likelihood=partial(Gaussian, sigma=0.05), **PERIOD, **inference)
    train(model, data, 8)
    axes = model.decoder.axes.detach().abs()
    torch.testing.assert_close(axes, torch.tensor([1.1, 0.6]), rtol=0.02, atol=0)


def ellipse(**arguments: Any) -> EBM:
    model = EBM(spec=PLANE, **PERIOD | arguments)
    model.decoder.axes.data = torch.tensor([1.1, 0.6])
    return model


def test_free_energy_falls_to_the_minimum_as_beta_grows() -> None:
    x = torch.randn(300, 2)
    lowest = ellipse(restarts=8, inference_steps=100).free_energy(x)
    gaps = []
    for beta in (1.0, 3.0, 10.0, 30.0, 100.0, 1000.0):
        model = ellipse(inference="grid", grid_points=2000, inverse_temperature=beta)
        gaps.append(model.free_energy(x) + log(2 * pi) / beta - lowest)  # of the mean over z, not of the integral
    assert all((colder <= warmer).all() for warmer, colder in pairwise(gaps))
    assert gaps[0].mean() > 0.3
    assert gaps[-1].min() > -1e-3
    assert gaps[-1].max() < 0.01


@pytest.mark.parametrize("inference", ["minimise", "importance", "langevin"])
def test_descent_finds_the_global_minimum_that_a_fine_grid_finds(inference: str) -> None:
    x = torch.randn(2000, 2)
    best = ellipse(inference="grid", grid_points=4000)
    found = ellipse(inference=inference, restarts=8, inference_steps=100)
    lowest = best.energy(Batch(x), best.embed(x))
    energy = found.energy(Batch(x), found.embed(x))
    assert (energy <= lowest + 1e-4).float().mean() >= 0.99


# ---- mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inference": "grid", "latent_dim": 4}, "importance"),
        ({"inference": "grid", "latent_dim": 3, "grid_points": 1000}, "2\\^20"),
        ({"inference": "guess"}, "langevin"),
        ({"inverse_temperature": 0.0}, "inverse_temperature is 0.0"),
        ({"inverse_temperature": float("inf")}, "finite"),
        ({"step_size": -1.0}, "--model.step_size"),
        ({"proposal_scale": 0.0}, "--model.proposal_scale"),
        ({"regularizer": -0.1}, "--model.regularizer"),
        ({"restarts": 0}, "--model.restarts"),
        ({"box": (1.0, 1.0)}, "--model.box"),
    ],
)
def test_bad_arguments_end_in_one_sentence(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EBM(spec=PLANE, **arguments)


@pytest.mark.parametrize("build", [partial(EllipseDecoder, 2, (2,)), partial(EllipseDecoder, 1, (3,))])
def test_an_ellipse_is_one_angle_and_two_numbers(build: Callable[[], object]) -> None:
    with pytest.raises(ConfigError, match="latent_dim 1"):
        build()
