"""Several players in float16 with a loss scale, and gradients that pass through a hook, on a CPU and on a GPU."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import SGD, Optimizer

from lit_ae.batch import Batch
from lit_ae.likelihoods import Gaussian
from lit_ae.models.base import Autoencoder
from lit_ae.models.importance_weighted import ImportanceWeighted
from lit_ae.models.iwae import IWAE
from lit_ae.models.miwae import MIWAE
from lit_ae.models.multiplayer import MultiPlayer
from lit_ae.models.piwae import PIWAE
from lit_ae.models.target_prop import TargetProp
from trainer_for_tests import trainer
from variants import SMALL, SPEC, VARIANTS, batch_of, build, digits

PLAYERS = [name for name, (cls, _) in VARIANTS.items() if issubclass(cls, MultiPlayer)]
every_row = pytest.mark.parametrize("name", PLAYERS)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def half(**scaler: Any) -> MixedPrecision:
    """Float16 with a loss scale: on a CPU, Lightning's "16-mixed" alone means bfloat16 without one."""
    return MixedPrecision("16-mixed", "cpu", scaler=GradScaler("cpu", **{"init_scale": 256.0, **scaler}))


def scaler_of(runner: Trainer) -> GradScaler:
    plugin = runner.precision_plugin
    assert isinstance(plugin, MixedPrecision)
    assert plugin.scaler is not None
    return plugin.scaler


def weights(model: MultiPlayer) -> dict[str, Tensor]:
    """Each player's parameters as one vector."""
    return {name: torch.cat([p.detach().flatten() for p in own]) for name, own in model.owned().items()}


def states(optimizer: Optimizer) -> list[dict[str, Any]]:
    """What an optimizer keeps of each parameter, in order."""
    return [deepcopy(optimizer.state[p]) for group in optimizer.param_groups for p in group["params"]]


class Watch(Callback):
    """What each step moved, and with `burst` an infinite gradient of the last player in that batch."""

    def __init__(self, burst: int | None = None) -> None:
        self.burst = burst
        self.moved: list[set[str]] = []
        self.scales: list[float] = []
        self.counts: list[set[float]] = []
        self.before: dict[str, Tensor] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        assert isinstance(pl_module, MultiPlayer)
        self.before = weights(pl_module)

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, MultiPlayer)
        if trainer.global_step == self.burst:
            gradient = list(pl_module.owned().values())[-1][0].grad
            assert gradient is not None
            gradient.view(-1)[0] = torch.inf

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *others: Any) -> None:
        assert isinstance(pl_module, MultiPlayer)
        after = weights(pl_module)
        self.moved.append({name for name, value in after.items() if not torch.equal(value, self.before[name])})
        self.scales.append(scaler_of(trainer).get_scale())
        self.counts.append({float(state["step"]) for state in states(trainer.optimizers[0])})


@every_row
def test_networks_run_in_float16_and_all_players_learn(name: str, tmp_path: Path) -> None:
    model, seen = build(name), set()
    assert isinstance(model, MultiPlayer)
    model.decoder.register_forward_hook(lambda net, given, raw: seen.add(raw.dtype))
    watch = Watch()
    runner = trainer(tmp_path, watch, plugins=[half()], limit_train_batches=3, num_sanity_val_steps=0)
    runner.fit(model, digits(name, 32))
    assert seen == {torch.float16}
    assert watch.moved[0] == set(model.players)
    assert all(value.isfinite() for value in runner.callback_metrics.values())
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@every_row
def test_an_infinite_gradient_of_one_player_skips_all_and_the_next_step_recovers(name: str, tmp_path: Path) -> None:
    model, watch = build(name), Watch(burst=1)
    assert isinstance(model, MultiPlayer)
    model.every = {}
    settings = {"plugins": [half()], "limit_train_batches": 3, "limit_val_batches": 0}
    trainer(tmp_path, watch, **settings).fit(model, digits(name, 32))
    everyone = set(model.players)
    assert watch.moved == [everyone, set(), everyone]
    assert watch.scales == [256.0, 128.0, 128.0]
    assert watch.counts == [{1.0}, {1.0}, {2.0}]  # Adam counted two steps for each player


@every_row
def test_a_resumed_run_has_the_scale_and_every_optimizers_state(name: str, tmp_path: Path) -> None:
    # a scale so large that the first steps are skipped, and one that grows soon: both are state
    scaling = partial(half, init_scale=2.0**20, growth_interval=2)
    settings = {"limit_train_batches": 6, "limit_val_batches": 0, "enable_checkpointing": True, "epochs": 2}
    keep = ModelCheckpoint(tmp_path, "at-{step}", every_n_train_steps=8, save_top_k=-1)
    whole, resumed = build(name), build(name)
    first = trainer(tmp_path, keep, plugins=[scaling()], **settings)
    first.fit(whole, digits(name, 32))
    second = trainer(tmp_path, ModelCheckpoint(tmp_path, "again"), plugins=[scaling()], **settings)
    second.fit(resumed, digits(name, 32), ckpt_path=tmp_path / "at-step=8.ckpt", weights_only=True)
    assert scaler_of(first).state_dict() == scaler_of(second).state_dict()
    assert scaler_of(first).get_scale() < 2.0**20
    for path, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[path], value), path
    one, other = (states(runner.optimizers[0]) for runner in (first, second))
    assert len(one) == len(list(whole.parameters()))
    for mine, theirs in zip(one, other, strict=True):
        assert mine.keys() == theirs.keys() > {"step"}
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_each_player_is_clipped_after_the_scale_is_taken_out(tmp_path: Path) -> None:
    norms: list[float] = []

    class Norms(Callback):
        def on_before_zero_grad(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
            assert isinstance(pl_module, MultiPlayer)
            for own in pl_module.owned().values():
                if all(parameter.grad is not None for parameter in own):
                    norms.append(torch.stack([p.grad.norm() for p in own if p.grad is not None]).norm().item())

    model = TargetProp(spec=SPEC, **SMALL, optimizer=partial(SGD, lr=1e-3))
    settings = {"plugins": [half()], "max_steps": 3, "gradient_clip_val": 0.01, "limit_val_batches": 0}
    trainer(tmp_path, Norms(), **settings).fit(model, digits("TargetProp", 32))
    assert len(norms) >= 4
    assert norms == pytest.approx([0.01] * len(norms), rel=1e-3)


def gradients(model: Autoencoder, batch: Batch, scale: float | None) -> Tensor:
    """Gradients of all parameters, side by side: in float32, or in float16 under a loss scale that is taken out."""
    torch.manual_seed(1)
    model.zero_grad()
    with torch.autocast("cpu", torch.float16, enabled=scale is not None, cache_enabled=False):
        loss = model.weigh(model.loss(batch, model(batch), model.coefficients), model.coefficients)
    (loss * (scale or 1.0)).backward()
    return torch.cat([p.grad.flatten() / (scale or 1.0) for p in model.parameters() if p.grad is not None])


def assert_close(found: Tensor, wanted: Tensor, most: float) -> None:
    assert found.isfinite().all()
    assert (found - wanted).norm() < most * wanted.norm()


@every_row
def test_the_gradient_in_float16_is_that_in_float32(name: str) -> None:
    model, batch = build(name), batch_of(name, 16)
    assert_close(gradients(model, batch, 64.0), gradients(model, batch, None), 0.03)


@pytest.mark.parametrize(
    "build_model",
    [
        partial(IWAE, samples=15),
        partial(IWAE, samples=15, gradient="doubly"),
        partial(MIWAE, samples=5, groups=3, gradient="doubly"),
        partial(PIWAE, samples=5, groups=3),
        partial(PIWAE, samples=5, groups=3, gradient="doubly"),
    ],
    ids=["IWAE", "IWAE-doubly", "MIWAE-doubly", "PIWAE", "PIWAE-doubly"],
)
@pytest.mark.parametrize(("sigma", "scale"), [(1.0, 65536.0), (0.1, 256.0)], ids=["alike", "nats apart"])
def test_weights_of_samples_survive_float16(
    build_model: partial[ImportanceWeighted], sigma: float, scale: float
) -> None:
    model = build_model(spec=SPEC, **SMALL, likelihood=partial(Gaussian, sigma=sigma))
    batch = batch_of("IWAE", 64)
    for part in (model.encoder, model.decoder):
        found, wanted = (gradients_of(model, part, batch, each) for each in (scale, None))
        assert_close(found, wanted, 0.02)


def gradients_of(model: Autoencoder, part: torch.nn.Module, batch: Batch, scale: float | None) -> Tensor:
    """Gradients of one network."""
    gradients(model, batch, scale)
    return torch.cat([p.grad.flatten() / (scale or 1.0) for p in part.parameters() if p.grad is not None])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", [*PLAYERS, "IWAE-doubly", "PIWAE", "VQVAE"])
def test_float16_trains_on_a_gpu(name: str, tmp_path: Path) -> None:
    settings = {"accelerator": "gpu", "devices": 1, "precision": "16-mixed", "gradient_clip_val": 1.0}
    runner = trainer(tmp_path, limit_train_batches=8, num_sanity_val_steps=0, **settings)
    model = build(name)
    before = {path: value.clone() for path, value in model.state_dict().items()}
    runner.fit(model, digits(name, 32))
    assert all(value.isfinite() for value in runner.callback_metrics.values())
    assert any(not torch.equal(before[path], value.cpu()) for path, value in model.state_dict().items())
    assert scaler_of(runner).get_scale() > 1
