"""Several players under one trainer: states, rates and clipping of each."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, ReduceLROnPlateau, StepLR

from lit_ae.batch import Batch
from lit_ae.errors import ConfigError
from lit_ae.models.base import Coefficients
from lit_ae.models.latent import PointLatent
from lit_ae.models.multiplayer import MultiPlayer
from lit_ae.models.output import Output
from lit_ae.models.target_prop import TargetProp
from lit_ae.optim import ChainedOptimizer
from trainer_for_tests import trainer as quiet
from variants import SMALL, SPEC, build, digits

trainer = partial(quiet, limit_val_batches=0)


class Duel(MultiPlayer, PointLatent):
    """Two players with a loss of their own on the same code: one makes it large, a critic guesses its size."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.critic = torch.nn.Linear(self.latent_shape[0], 1)

    @property
    def players(self) -> dict[str, list[torch.nn.Module]]:
        return {"maker": [], "critic": [self.critic]}

    def player_loss(self, player: str, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        guess = self.critic(out.z[0]).squeeze(1)
        if player == "critic":
            return {"guess": (guess - 1).square()}
        return {"distortion": -out.p.log_prob(batch.x).mean(0), "praise": -guess}


def test_each_player_gets_the_gradient_of_its_own_loss_and_of_no_other() -> None:
    torch.manual_seed(0)
    model, batch = Duel(spec=SPEC, **SMALL), Batch(torch.rand(5, 1, 8, 8))
    model.weigh(model.loss(batch, model(batch), model.coefficients), model.coefficients).backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    code = model.encode(batch.x).mode
    made = (-model.decode(code).log_prob(batch.x) - model.critic(code).squeeze(1)).mean()
    guessed = (model.critic(code.detach()).squeeze(1) - 1).square().mean()
    for loss, mine in ((made, lambda name: "critic" not in name), (guessed, lambda name: "critic" in name)):
        names = [name for name, _ in model.named_parameters() if mine(name)]
        wanted = torch.autograd.grad(loss, [model.get_parameter(name) for name in names])
        for name, gradient in zip(names, wanted, strict=True):
            torch.testing.assert_close(found[name], gradient)


class Largest(Callback):
    """Norm of each player's gradient at the moment of the step."""

    def __init__(self) -> None:
        self.norms: dict[str, list[float]] = {}

    def on_before_zero_grad(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        assert isinstance(pl_module, TargetProp)
        for player, own in pl_module.owned().items():
            if all(parameter.grad is not None for parameter in own):
                norm = torch.stack([parameter.grad.norm() for parameter in own]).norm().item()  # type: ignore[union-attr]
                self.norms.setdefault(player, []).append(norm)


def test_each_player_is_clipped_to_the_norm() -> None:
    seen = Largest()
    model = TargetProp(spec=SPEC, **SMALL, optimizer=partial(SGD, lr=1e-3))
    trainer(Path(), max_steps=3, gradient_clip_val=0.01, callbacks=[seen]).fit(model, digits("TargetProp", 32))
    assert set(seen.norms) == {"encoder", "decoder"}
    for norms in seen.norms.values():
        torch.testing.assert_close(torch.tensor(norms), torch.full((len(norms),), 0.01), rtol=1e-3, atol=0)


def test_a_scheduler_moves_every_players_rate_and_steps_count_once(tmp_path: Path) -> None:
    model = TargetProp(spec=SPEC, **SMALL, lr_scheduler=partial(StepLR, step_size=1, gamma=0.1))
    runner = trainer(tmp_path, max_epochs=2, limit_train_batches=4, accumulate_grad_batches=2)
    runner.fit(model, digits("TargetProp", 32))
    assert runner.global_step == 4
    (optimizer,) = runner.optimizers
    assert isinstance(optimizer, ChainedOptimizer)
    for chained in optimizer.optimizers.values():
        assert [group["lr"] for group in chained.param_groups] == pytest.approx([1e-5])


def test_accumulated_gradients_are_those_of_the_joined_batch_for_every_player(tmp_path: Path) -> None:
    ends = []
    for size, accumulate in ((64, 1), (32, 2)):
        torch.manual_seed(0)
        model = Duel(spec=SPEC, **SMALL, optimizer=partial(SGD, lr=1e-3))
        settings = {"max_steps": 3, "accumulate_grad_batches": accumulate, "gradient_clip_val": 1.0}
        runner = trainer(tmp_path, **settings)
        runner.fit(model, digits("TargetProp", size))
        assert runner.global_step == 3
        ends.append(model.owned())
    for player in ("maker", "critic"):
        for one, other in zip(*(end[player] for end in ends), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


class Axis(Logger):
    """The steps at which values are logged."""

    name = version = "axis"

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[str, int | None]] = []

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.steps += [(name, step) for name in ("train/loss", "val/loss") if name in metrics]


@pytest.mark.parametrize("name", ["TargetProp", "AdversarialAE", "VAEGAN"])
def test_the_loggers_axis_and_schedules_count_batches_whatever_the_number_of_players(name: str, tmp_path: Path) -> None:
    seen, axes = [], []
    for variant in (name, "VAE"):
        model, axis = build(variant), Axis()
        model.schedules["distortion"] = lambda count: seen.append(count) or 1.0  # type: ignore[func-returns-value]
        settings = {"max_epochs": 2, "limit_train_batches": 4, "limit_val_batches": 1, "log_every_n_steps": 2}
        runner = quiet(tmp_path, **{**settings, "logger": axis, "num_sanity_val_steps": 0})
        runner.fit(model, digits(variant, 32))
        assert runner.global_step == 8
        axes.append(axis.steps)
    assert axes[0] == axes[1]
    assert sorted({step for label, step in axes[0] if label == "train/loss"}) == [1, 3, 5, 7]
    assert sorted({step for label, step in axes[0] if label == "val/loss"}) == [3, 7]
    assert seen == 2 * list(range(8))


def test_a_scheduler_that_looks_for_momentum_finds_it(tmp_path: Path) -> None:
    once = partial(OneCycleLR, max_lr=0.01, total_steps=10)
    runner = trainer(tmp_path, max_steps=1)
    runner.fit(TargetProp(spec=SPEC, **SMALL, lr_scheduler=once), digits("TargetProp", 32))
    (optimizer,) = runner.optimizers
    assert isinstance(optimizer, ChainedOptimizer)
    for chained in optimizer.optimizers.values():  # the cycle starts at a momentum of 0.95, where Adam's own is 0.9
        assert chained.param_groups[0]["betas"][0] == pytest.approx(0.95)


class Still(Callback):
    """Which players each step moved."""

    def __init__(self) -> None:
        self.moved: list[set[str]] = []
        self.before: dict[str, Tensor] = {}

    def flat(self, model: MultiPlayer) -> dict[str, Tensor]:
        return {name: torch.cat([p.detach().flatten() for p in own]) for name, own in model.owned().items()}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        assert isinstance(pl_module, MultiPlayer)
        self.before = self.flat(pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *others: Any) -> None:
        assert isinstance(pl_module, MultiPlayer)
        after = self.flat(pl_module)
        self.moved.append({name for name, value in after.items() if not torch.equal(value, self.before[name])})


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_player_rests_between_its_steps(tmp_path: Path, accumulate: int) -> None:
    watch, model = Still(), TargetProp(spec=SPEC, **SMALL, every={"encoder": 3})
    settings = {"max_steps": 5, "accumulate_grad_batches": accumulate, "callbacks": [watch]}
    runner = trainer(tmp_path, **settings)
    runner.fit(model, digits("TargetProp", 32))
    steps = watch.moved[accumulate - 1 :: accumulate]
    both, one = {"encoder", "decoder"}, {"decoder"}
    assert steps == [both, one, one, both, one]
    assert runner.callback_metrics["train/distance"] > 0  # a resting player's terms are logged all the same


def test_players_have_optimizers_and_schedules_of_their_own(tmp_path: Path) -> None:
    own = partial(StepLR, step_size=1, gamma=0.5)
    model = TargetProp(spec=SPEC, **SMALL, optimizers={"decoder": partial(SGD, lr=0.1)}, lr_schedulers={"decoder": own})
    runner = trainer(tmp_path, max_epochs=2, limit_train_batches=2, enable_checkpointing=False)
    runner.fit(model, digits("TargetProp", 32))
    (optimizer,) = runner.optimizers
    assert isinstance(optimizer, ChainedOptimizer)
    assert isinstance(optimizer.optimizers["decoder"], SGD)
    assert isinstance(optimizer.optimizers["encoder"], Adam)
    assert optimizer.optimizers["decoder"].param_groups[0]["lr"] == pytest.approx(0.025)
    assert optimizer.optimizers["encoder"].param_groups[0]["lr"] == pytest.approx(1e-3)
    runner.save_checkpoint(tmp_path / "two.ckpt")
    torch.manual_seed(5)
    again = TargetProp(spec=SPEC, **SMALL, optimizers={"decoder": partial(SGD, lr=0.1)}, lr_schedulers={"decoder": own})
    later = trainer(tmp_path, max_epochs=3, limit_train_batches=2)
    later.fit(again, digits("TargetProp", 32), ckpt_path=tmp_path / "two.ckpt", weights_only=True)
    assert later.optimizers[0].optimizers["decoder"].param_groups[0]["lr"] == pytest.approx(0.0125)  # type: ignore[attr-defined]


def test_every_players_schedule_goes_on_after_a_resume(tmp_path: Path) -> None:
    own = {"decoder": partial(StepLR, step_size=3, gamma=0.5), "encoder": partial(CosineAnnealingLR, T_max=7)}
    settings = {"limit_train_batches": 1, "enable_checkpointing": False}

    def rates(epochs: int, checkpoint: Path | None = None) -> tuple[Trainer, list[float]]:
        torch.manual_seed(0)
        model, runner = TargetProp(spec=SPEC, **SMALL, lr_schedulers=own), trainer(tmp_path, epochs=epochs, **settings)
        runner.fit(model, digits("TargetProp", 32), ckpt_path=checkpoint, weights_only=True)
        return runner, [group["lr"] for group in runner.optimizers[0].param_groups]

    rates(2)[0].save_checkpoint(tmp_path / "two.ckpt")  # the step of the third epoch is still to come
    assert rates(4, tmp_path / "two.ckpt")[1] == rates(4)[1]
    assert len(set(rates(4)[1])) == 2


@pytest.mark.parametrize(
    "wrong",
    [{"every": {"critic": 2}}, {"optimizers": {"critic": Adam}}, {"lr_schedulers": {"critic": StepLR}}],
    ids=["every", "optimizers", "lr_schedulers"],
)
def test_a_player_that_is_not_there(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="no player 'critic': there are encoder, decoder"):
        TargetProp(spec=SPEC, **SMALL, **wrong).build_optimizer()


def test_a_schedule_that_waits_for_a_metric_is_refused_for_one_player() -> None:
    model = TargetProp(spec=SPEC, **SMALL, lr_schedulers={"decoder": ReduceLROnPlateau})
    with pytest.raises(ConfigError, match="waits for a metric"):
        model.build_schedulers(model.build_optimizer())


def test_the_encoder_gets_no_gradient_from_the_cost() -> None:
    model = TargetProp(spec=SPEC, **SMALL)
    batch = Batch(torch.rand(5, 1, 8, 8))
    terms = model.loss(batch, model(batch), model.coefficients)
    terms["distortion"].sum().backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    assert all(parameter.grad is not None for parameter in model.decoder.parameters())
    model.zero_grad(set_to_none=True)
    terms["distance"].sum().backward()
    assert all(parameter.grad is not None for parameter in model.encoder.parameters())
    assert all(parameter.grad is None for parameter in model.decoder.parameters())


@pytest.mark.parametrize(
    "wrong",
    [{"every": {"encoder": 0}}, {"target_steps": 0}, {"step_size": 0.0}, {"distance": -1.0}, {"shrinkage": -1.0}],
)
def test_bad_arguments(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        TargetProp(spec=SPEC, **SMALL, **wrong)  # type: ignore[arg-type]
