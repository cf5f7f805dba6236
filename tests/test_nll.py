"""−log p(x) against closed forms, and its memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import accumulate
from math import log
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import LowRankMultivariateNormal
from torch.profiler import ProfilerActivity, profile

from lit_ae.batch import Batch, DataSpec
from lit_ae.errors import ConfigError
from lit_ae.likelihoods import Bernoulli, DiscretizedLogistic, Gaussian
from lit_ae.metrics import marginal, nll
from lit_ae.models.beta_vae import BetaVAE
from lit_ae.models.categorical_vae import CategoricalVAE
from lit_ae.models.cvae import CVAE
from lit_ae.models.generative import Variational
from lit_ae.models.miwae import MIWAE
from lit_ae.models.vae import VAE
from lit_ae.nn import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from lit_ae.nn.grid import GridDecoder, GridEncoder
from lit_ae.posteriors import DeltaHead

SIGMA = 0.5


def linear_gaussian(width: float = 1.0) -> tuple[VAE, Tensor, Tensor]:
    """p(x|z) = N(Wz + b, σ²), q(z|x) the true posterior with its scale times `width`; 30 samples and their −log p."""
    torch.manual_seed(0)
    affine = {"encoder": partial(MLPEncoder, hidden=()), "decoder": partial(MLPDecoder, hidden=())}
    model = VAE(spec=DataSpec((12,)), latent_dim=3, likelihood=partial(Gaussian, sigma=SIGMA), **affine)
    directions = torch.linalg.qr(torch.randn(12, 3)).Q * torch.tensor([2.0, 1.0, 0.5])  # orthogonal: q factorises
    offset = torch.randn(12)
    precision = 1 + directions.square().sum(0) / SIGMA**2
    decoder, encoder = model.decoder.layers[0], model.encoder.layers[0]
    projection = directions.T / SIGMA**2 / precision[:, None]
    with torch.no_grad():
        decoder.weight.copy_(directions)
        decoder.bias.copy_(offset)
        encoder.weight.copy_(torch.cat([projection, torch.zeros_like(projection)]))
        encoder.bias.copy_(torch.cat([-projection @ offset, 2 * log(width) - precision.log()]))
    marginal = LowRankMultivariateNormal(offset, directions, torch.full((12,), SIGMA**2))
    x = marginal.sample((30,))
    return model, x, -marginal.log_prob(x)


def test_with_the_true_posterior_one_sample_is_exact() -> None:
    model, x, exact = linear_gaussian()
    estimate = nll(model, Batch(x), samples=1)
    torch.testing.assert_close(estimate.nats, exact, atol=1e-4, rtol=0)
    assert nll(model, Batch(x), samples=7).error.max() < 1e-2


def test_it_agrees_with_the_closed_form_within_its_own_error() -> None:
    model, x, exact = linear_gaussian(width=1.7)
    estimate = nll(model, Batch(x), samples=5000)
    assert (estimate.nats - exact).abs().max() < 0.05
    gap = (estimate.nats - exact) / estimate.error
    assert 0.5 < gap.square().mean() < 2.0
    assert estimate.error.max() < 0.02
    elbo = model.loss(Batch(x), model(Batch(x)), model.coefficients)
    assert (elbo["distortion"] + elbo["rate"]).mean() > exact.mean() + 0.5  # the bound that it replaces


def test_every_sample_counts_once_in_parts_with_remainders(monkeypatch: pytest.MonkeyPatch) -> None:
    table = 3 * torch.randn(5, 101, generator=torch.Generator().manual_seed(0)) - 700
    taken = torch.zeros(5, dtype=torch.long)
    shapes = []

    def dealt(model: Variational, batch: Batch, samples: int) -> Tensor:
        index = batch.x[:, 0].long()
        start = int(taken[index[0]])
        taken[index] += samples
        shapes.append((samples, len(index)))
        return table[index, start : start + samples].T

    monkeypatch.setattr(marginal, "plan", lambda *_: (2, 40))
    monkeypatch.setattr(marginal, "log_weights", dealt)
    model, _, _ = linear_gaussian()
    index = torch.arange(5.0)[:, None].expand(5, 12)
    nats, error = nll(model, [Batch(index[:3]), Batch(index[3:])], samples=101)
    assert set(taken.tolist()) == {101}
    assert shapes == [(k, rows) for rows in (2, 1, 2) for k in (40, 40, 21)]
    torch.testing.assert_close(nats, log(101) - table.logsumexp(1))
    weight = (table + 700).exp()
    torch.testing.assert_close(error, weight.std(1, correction=0) / weight.mean(1) / 101**0.5, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("memory_mib", [1e-6, 0.05, 1.0])
def test_the_budget_does_not_bias_it(memory_mib: float) -> None:
    model, x, exact = linear_gaussian(width=1.3)
    nats, error = nll(model, Batch(x), samples=101, memory_mib=memory_mib)
    assert ((nats - exact).abs() < 5 * error).all()
    assert error.min() > 1e-3


def peak(run: Callable[[], object]) -> int:
    """Bytes that torch's allocator held at most at one time while running, beyond those at the start."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
    steps = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    assert steps
    return max(accumulate(size for _, size in steps))


TANH: dict[str, Any] = {"hidden": (200, 200), "activation": nn.Tanh}
MODELS: dict[str, dict[str, Any]] = {
    "tanh": {
        "encoder": partial(MLPEncoder, **TANH),
        "decoder": partial(MLPDecoder, **TANH),
        "latent_dim": 50,
        "likelihood": Bernoulli,
    },
    "conv": {"encoder": partial(ConvEncoder, channels=(16, 32)), "decoder": partial(ConvDecoder, channels=(32, 16))},
    "logistic": {"likelihood": DiscretizedLogistic},
}


@pytest.mark.parametrize("memory_mib", [2.0, 16.0])
@pytest.mark.parametrize("name", MODELS)
def test_memory_stays_within_the_budget_and_uses_a_good_part_of_it(name: str, memory_mib: float) -> None:
    torch.manual_seed(0)
    model = VAE(spec=DataSpec((1, 28, 28), value_range=(0, 1)), **MODELS[name])
    batch = Batch(torch.rand(24, 1, 28, 28).round())
    used = peak(lambda: nll(model, batch, samples=150, memory_mib=memory_mib)) / 2**20
    assert 0.1 * memory_mib < used < memory_mib


def test_conditions_masks_and_missing_cells_are_seen() -> None:
    torch.manual_seed(0)
    x, c = torch.randn(6, 12), torch.arange(6) % 3
    model = CVAE(spec=DataSpec((12,), num_classes=3, condition_shape=()), latent_dim=2)
    nats = nll(model, Batch(x, c=c), samples=300).nats
    other = nll(model, Batch(x, c=(c + 1) % 3), samples=300).nats
    assert ((nats - other).abs() > 1e-3).all()
    mask = torch.ones(6, 12, dtype=torch.bool)
    mask[:, 6:] = False
    plain = VAE(spec=DataSpec((12,)), latent_dim=2)
    half, whole = (nll(plain, Batch(x, mask=given), samples=300).nats for given in (mask, None))
    assert (half < whole - 1).all()


def test_it_repeats_itself_and_leaves_the_model_and_the_generators_alone() -> None:
    model, x, _ = linear_gaussian(width=1.5)
    model.train()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = nll(model, Batch(x), samples=50)
    assert torch.equal(torch.rand(1), expected)
    assert model.training
    assert not first.nats.requires_grad
    assert torch.equal(first.nats, nll(model, Batch(x), samples=50).nats)
    assert not torch.equal(first.nats, nll(model, Batch(x), samples=50, seed=1).nats)


def test_a_model_trained_on_a_bound_is_estimated_alike() -> None:
    model, x, exact = linear_gaussian(width=1.5)
    other = MIWAE(spec=model.spec, latent_dim=3, samples=3, groups=2, likelihood=partial(Gaussian, sigma=SIGMA),
                  encoder=partial(MLPEncoder, hidden=()), decoder=partial(MLPDecoder, hidden=()))  # fmt: skip
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(nll(other, Batch(x), samples=2000).nats, exact, atol=0.1, rtol=0)


@pytest.mark.parametrize("training", [True, False])
def test_classes_are_summed_as_their_enumeration_is(training: bool) -> None:
    torch.manual_seed(0)
    stage: dict[str, Any] = {
        "grid_encoder": partial(GridEncoder, channels=(8, 8)),
        "grid_decoder": partial(GridDecoder, channels=(8, 8)),
    }
    spec = DataSpec((1, 4, 4), value_range=(0, 1))
    model = CategoricalVAE(spec=spec, latent_dim=6, likelihood=Bernoulli, **stage).train(training)
    assert model.latent_shape == (6, 1, 1)
    x = torch.rand(5, 1, 4, 4).round()
    every = torch.eye(6)[:, None, :, None, None].expand(6, 5, 6, 1, 1)
    with torch.no_grad():
        exact = -(model.decode(every).log_prob(x).logsumexp(0) - log(6))
    nats, error = nll(model, Batch(x), samples=4000)  # training would decode relaxed classes
    assert ((nats - exact).abs() < 5 * error + 1e-4).all()
    assert error.max() < 0.02
    assert model.training == training


def test_user_mistakes_are_named() -> None:
    model, x, _ = linear_gaussian()
    with pytest.raises(ConfigError, match="must be positive"):
        nll(model, Batch(x), samples=0)
    with pytest.raises(ConfigError, match="must be positive"):
        nll(model, Batch(x), memory_mib=0)
    with pytest.raises(ConfigError, match="no density"):
        nll(BetaVAE(spec=DataSpec((12,)), posterior=DeltaHead), Batch(x), samples=3)
