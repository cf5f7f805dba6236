"""The ladder: one pass and its parts agree, its marginal is right, and what it learns."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from datamodules import MNIST, Digits
from digits_for_tests import digits, train
from lit_ae import importance
from lit_ae.batch import Batch, DataError, DataSpec, Shape
from lit_ae.callbacks import Bubbles, CollapseMonitor, LatentVisualization, Reconstructions
from lit_ae.callbacks.predictions import PredictionWriter
from lit_ae.errors import ConfigError
from lit_ae.likelihoods import Bernoulli, DiscretizedLogistic, Gaussian
from lit_ae.metrics import nll
from lit_ae.models.generative import Variational
from lit_ae.models.hierarchical_vae import HierarchicalVAE
from lit_ae.models.joint import flat
from lit_ae.models.vae import VAE
from lit_ae.nn import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from trainer_for_tests import trainer

SPEC = Digits().spec
SMALL: dict[str, Any] = {"latent_dim": 2, "channels": (4, 8), "blocks": (1, 2)}
CONDITIONAL = replace(SPEC, condition_shape=())


def shaken(model: HierarchicalVAE, by: float = 0.3) -> HierarchicalVAE:
    """The model with noise on every parameter: what starts at zero no longer is."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(by * torch.randn_like(parameter))
    return model


def build(**settings: Any) -> HierarchicalVAE:
    torch.manual_seed(0)
    return shaken(HierarchicalVAE(**{"spec": SPEC, **SMALL, **settings}))


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 7, 5), (1, 1, 9)])
@pytest.mark.parametrize("conditional", [False, True])
def test_the_fused_pass_decodes_its_own_latents(shape: Shape, conditional: bool) -> None:
    spec = DataSpec(shape, num_classes=10, condition_shape=() if conditional else None)
    model = build(spec=spec, channels=(4, 6, 8), blocks=(1, 0, 2))
    batch = Batch(torch.rand(3, *shape), c=torch.arange(3) if conditional else None)
    out = model(batch, k=4)
    assert isinstance(out.z, tuple)
    assert [z.shape for z in out.z] == [(4, 3, *level) for level in model.latent_shapes]
    assert model.latent_shapes[0][1:] == tuple(-(-side // 4) for side in shape[1:])
    assert model.latent_shapes[-1][1:] == shape[1:]
    for z in (out.z, flat(out.z)):
        torch.testing.assert_close(model.decode(z, batch.c).mean, out.p.mean, rtol=1e-4, atol=1e-5)
    one = model.decode(tuple(z[2] for z in out.z), batch.c)
    torch.testing.assert_close(one.log_prob(batch.x), out.p.log_prob(batch.x)[2], rtol=1e-4, atol=1e-3)


def test_embed_holds_the_mode_of_every_level_and_gives_the_reconstruction() -> None:
    model, x = build(), torch.rand(5, 1, 8, 8)
    z = model.embed(x)
    assert z.shape == (5, 2 * (2 * 4 * 4 + 8 * 8))
    assert torch.equal(model.decode(z).mean, model.reconstruct(x))
    q, _ = model.conditionals(x)
    assert torch.equal(flat([level.mode for level in q]), z)
    assert q[1].mode.sub(model.conditionals(x, z=z + 1)[0][1].mode).abs().max() > 1e-3  # they follow the levels above


def test_densities_of_the_joint_are_those_met_on_the_way() -> None:
    model = build(spec=CONDITIONAL)
    x, c = torch.rand(3, 1, 8, 8), torch.arange(3)
    out = model(Batch(x, c=c), k=5)
    assert out.prior is not None
    z = flat(out.z)
    log_ratio = model.prior(c).log_prob(z) - model.encode(x, c).log_prob(z)
    torch.testing.assert_close(importance.log_ratio(out.q, out.prior, out.z), log_ratio, rtol=1e-4, atol=1e-3)
    assert model.prior(c).sample().shape == (3, z.shape[-1])
    assert model.encode(x, c).sample(torch.Size((7,))).shape == (7, 3, z.shape[-1])


def test_the_rate_is_the_sum_of_the_levels_and_what_samples_say() -> None:
    model, x = build(), torch.rand(2, 1, 8, 8)
    batch = Batch(x)
    with torch.no_grad():
        out = model(batch, k=500)
        levels = model.metrics(batch, out)
        rate = levels.pop("rate")
        assert sorted(levels) == ["rate_0", "rate_1", "rate_2"]
        assert all((level > 0.01).all() for level in levels.values())
        torch.testing.assert_close(torch.stack([*levels.values()]).sum(0), rate)
        assert out.prior is not None
        ratio = -importance.log_ratio(out.q, out.prior, out.z)
    assert ((ratio.mean(0) - rate).abs() < 4 * ratio.std(0) / 500**0.5).all()


def tiny() -> tuple[HierarchicalVAE, Tensor, Tensor]:
    """Two latents, the second given the first, and one pixel; a grid over both, and the log volume of its cells."""
    torch.manual_seed(1)
    likelihood = partial(Gaussian, sigma=0.3)
    sizes: dict[str, Any] = {"latent_dim": 1, "channels": (4,), "blocks": (2,)}
    model = shaken(HierarchicalVAE(spec=DataSpec((1, 1, 1)), likelihood=likelihood, **sizes))
    line = torch.linspace(-10, 10, 161).double()
    return model.double(), torch.cartesian_prod(line, line), torch.tensor(2 * log(20 / 160))


def test_nll_is_the_integral_over_two_levels() -> None:
    model, grid, volume = tiny()
    x = torch.tensor([-0.5, 0.0, 0.4, 1.0]).reshape(4, 1, 1, 1).double()
    with torch.no_grad():
        log_prior = model.prior().log_prob(grid)
        assert (log_prior + volume).logsumexp(0).abs() < 1e-3  # p(z₀) p(z₁|z₀) is normalised
        log_q = model.encode(x).log_prob(grid[:, None].expand(-1, 4, 2))
        assert ((log_q + volume).logsumexp(0).abs() < 1e-3).all()
        log_p = model.decode(grid[:, None].expand(-1, 4, 2)).log_prob(x)
        exact = -(log_prior[:, None] + log_p + volume).logsumexp(0)
        out = model(Batch(x), k=2000)
        bound = -out.p.log_prob(x).mean(0) + model.rate(out)
        worst = (log_q.exp() * (log_q - log_prior[:, None] - log_p) * volume.exp()).sum(0)  # −ELBO by the integral
    torch.testing.assert_close(bound, worst, rtol=0.05, atol=0.05)
    assert (worst > exact + 0.01).all()
    estimate = nll(model, Batch(x), samples=5000)
    assert ((estimate.nats - exact).abs() < 5 * estimate.error + 1e-3).all()
    assert estimate.error.max() < 0.1


def test_temperature_spreads_samples() -> None:
    model = build()
    cold = model.sample(6, temperature=0.0)
    torch.manual_seed(9)
    assert torch.equal(cold, model.sample(6, temperature=0.0))
    torch.testing.assert_close(cold, model.decode(model.prior().mode).mean.expand(6, -1, -1, -1))
    spread = [model.sample(500, temperature=t).var(0).sum() for t in (0.0, 0.3, 0.6, 1.0)]
    assert spread[0] < 1e-8
    assert spread == sorted(spread)
    usual = model.decode(model.prior().sample(torch.Size((500,)))).mean.var(0).sum()
    torch.testing.assert_close(spread[-1], usual, rtol=0.15, atol=0)
    with pytest.raises(ConfigError, match="temperature is -1"):
        model.sample(1, temperature=-1.0)


def test_conditions_reach_prior_posterior_and_picture() -> None:
    model, x = build(spec=CONDITIONAL), torch.rand(4, 1, 8, 8)
    c, other = torch.zeros(4, dtype=torch.long), torch.ones(4, dtype=torch.long)
    assert not torch.allclose(model.embed(x, c), model.embed(x, other), atol=1e-3)
    assert not torch.allclose(model.prior(c).mode, model.prior(other).mode, atol=1e-3)
    z = model.embed(x, c)
    assert not torch.allclose(model.decode(z, c).mean, model.decode(z, other).mean, atol=1e-3)
    torch.manual_seed(0)
    torch.testing.assert_close(*(model.sample(4, given, temperature=0.0) for given in (c, c[:1].expand(4))))
    with pytest.raises(DataError, match="condition"):
        model.sample(2)


def test_free_bits_still_the_rate_and_keep_its_value() -> None:
    x = torch.rand(6, 1, 8, 8)
    rates, slopes = [], []
    for floor in (0.0, 1e-3, 100.0):
        model = build(free_bits=floor)
        torch.manual_seed(0)
        rate = model.loss(Batch(x), model(Batch(x)), model.coefficients)["rate"]
        rate.sum().backward()
        rates.append(rate.detach())
        slopes.append(sum(p.grad.abs().sum() for p in model.parameters() if p.grad is not None))
    for rate in rates[1:]:
        torch.testing.assert_close(rate, rates[0], rtol=1e-4, atol=1e-3)
    assert slopes[2] == 0
    assert slopes[1] > 0


@pytest.mark.slow
def test_thirty_levels_train_in_bf16() -> None:
    torch.manual_seed(0)
    model = HierarchicalVAE(spec=SPEC, latent_dim=2, channels=(4, 8), blocks=(0, 30), likelihood=Bernoulli)
    x = digits("train")[0][:64]
    optimizer, losses, rates = model.build_optimizer(), [], []
    for _ in range(12):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            terms = model.loss(Batch(x), model(Batch(x)), model.coefficients)
        assert all(term.dtype == torch.float32 for term in terms.values())
        loss = model.weigh(terms, model.coefficients)
        loss.backward()
        assert torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9).isfinite()
        optimizer.step()
        losses.append(loss.item())
        rates.append(terms["rate"].mean().item())
    assert rates[0] < 30
    assert losses[-1] < losses[0] - 5


def test_everything_shipped_looks_at_all_levels(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = HierarchicalVAE(spec=SPEC, **SMALL, likelihood=partial(DiscretizedLogistic, levels=17))
    watch = [LatentVisualization(grid=3, dims=2, pairs=2), Reconstructions(4, 4), CollapseMonitor(), PredictionWriter()]
    runner = trainer(tmp_path, *watch, limit_train_batches=2, num_sanity_val_steps=0)
    runner.fit(model, Digits(batch_size=64))
    value = {name.removeprefix("val/"): float(v) for name, v in runner.callback_metrics.items() if "val/" in name}
    assert value["bits_per_dim"] == pytest.approx(-value["elbo"] / (64 * log(2)))
    assert value["rate"] == pytest.approx(sum(value[f"rate_{level}"] for level in range(3)), rel=1e-4)
    assert {"active_units", "kl_max", "kl_min"} <= value.keys()
    assert "mutual_information" not in value  # a level's posterior is that of z_l given z_<l, not of z
    names = {path.stem for path in tmp_path.rglob("*.png")}
    assert {"latent", "latent_grid", "traversals", "interpolations", "latent_kl", "samples"} <= names
    runner.predict(model, Digits(batch_size=64))
    written = np.load(tmp_path / "predictions.npz")
    assert written["z"].shape[1] == model.encode(torch.rand(1, 1, 8, 8)).event_shape[0]
    with pytest.raises(ConfigError, match="Bubbles are diagonal Gaussian"):
        trainer(tmp_path, Bubbles(), limit_train_batches=1).fit(model, Digits(batch_size=64))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="takes pictures"):
        HierarchicalVAE(spec=DataSpec((12,)))
    for blocks in ((1,), (0, 0), (-1, 1)):
        with pytest.raises(ConfigError, match=r"give --model.blocks as many entries as --model.channels"):
            HierarchicalVAE(spec=SPEC, channels=(4, 8), blocks=blocks)
    for name in ("latent_dim", "condition_features"):
        with pytest.raises(ConfigError, match=f"{name} is 0"):
            HierarchicalVAE(spec=SPEC, **{name: 0})
    with pytest.raises(ConfigError, match="free_bits is -1"):
        HierarchicalVAE(spec=SPEC, free_bits=-1)


def cost(model: Variational, x: Tensor) -> tuple[int, float]:
    """Number of parameters, and −ELBO of x in nats."""
    torch.manual_seed(0)
    nats = []
    with torch.no_grad():
        for part in x.split(200):
            out = model(Batch(part))
            nats.append(model.rate(out) - out.p.log_prob(part).mean(0))
    return sum(parameter.numel() for parameter in model.parameters()), torch.cat(nats).mean().item()


@pytest.mark.slow
@pytest.mark.real_data
def test_a_ladder_beats_plain_vaes_of_its_size_on_mnist(real_data: Path) -> None:
    data = MNIST(root=str(real_data))
    torch.manual_seed(0)
    x, seen = ((data.load(split).x[:count] / 255).bernoulli() for split, count in (("test", 2000), ("train", 8000)))
    settings: dict[str, Any] = {"spec": data.spec, "likelihood": Bernoulli}
    conv: dict[str, Any] = {
        "encoder": partial(ConvEncoder, channels=(16, 32)),
        "decoder": partial(ConvDecoder, channels=(32, 16)),
    }
    dense: dict[str, Any] = {
        "encoder": partial(MLPEncoder, hidden=(88,)),
        "decoder": partial(MLPDecoder, hidden=(88,)),
    }
    ladder = HierarchicalVAE(**settings, latent_dim=8, channels=(8, 16, 16, 32), blocks=(0, 0, 1, 2))
    size, best = cost(train(ladder, 3, seen, size=100), x)
    for networks in (conv, dense):
        plain_size, plain = cost(train(VAE(**settings, latent_dim=28, **networks), 3, seen, size=100), x)
        print(size, best, plain_size, plain)
        assert abs(plain_size - size) < 0.05 * size
        assert best < plain - 5
