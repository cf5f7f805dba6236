"""nan and infinity: training stops before it steps on them, or leaves the batch out without a trace."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.precision import MixedPrecision
from torch.amp.grad_scaler import GradScaler
from torch.optim import SGD

from guarded_for_tests import INF, NAN, Given, bad, equal, fit, good, model, spoil
from lit_ae.batch import Batch
from lit_ae.callbacks.geco import GECO
from lit_ae.callbacks.non_finite import NonFinite, watched
from lit_ae.errors import ConfigError, NonFiniteError
from lit_ae.models.multiplayer import MultiPlayer
from lit_ae.storage import AtomicCheckpointIO
from trainer_for_tests import trainer
from variants import VARIANTS, batch_of, build, digits

PLAYERS = [name for name, (cls, _) in VARIANTS.items() if issubclass(cls, MultiPlayer)]


@pytest.mark.parametrize("name", ["AE", "VAE", "AdversarialAE", "VQVAE"])
def test_sound_training_is_as_it_was(name: str, tmp_path: Path) -> None:
    found = []
    for callbacks in ([], [NonFinite()], [NonFinite("skip")]):
        torch.manual_seed(0)
        variant = build(name)
        trainer(tmp_path, *callbacks, limit_train_batches=4, limit_val_batches=1).fit(variant, digits(name, 16))
        found.append(variant.state_dict())
    assert equal(found[0], found[1])
    assert equal(found[0], found[2])


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "default"])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_batch_at_the_end_that_is_left_out_leaves_no_trace(value: float, optimizer: str, tmp_path: Path) -> None:
    make = {
        "sgd": partial(SGD, lr=1e-3),
        "momentum": partial(SGD, lr=1e-3, momentum=0.9, weight_decay=0.1),
        "default": partial(torch.optim.AdamW, lr=1e-3, fused=True),
    }[optimizer]
    guard = NonFinite("skip")
    with pytest.warns(UserWarning, match="Batch 2 of epoch 0 is left out, 1 of at most 10: the input"):
        without = fit(tmp_path, model(make), good(0), good(1), bad(value=value), callback=guard)
    assert guard.skipped == 1
    assert equal(without, fit(tmp_path, model(make), good(0), good(1)))


@pytest.mark.filterwarnings("ignore:Batch")
def test_under_accumulation_the_others_of_a_step_stand_for_it(tmp_path: Path) -> None:
    """A bad batch first, in the middle, last, and a step of bad batches alone."""
    steps = [(bad(), good(0)), (good(1), bad()), (bad(), bad()), (good(2), good(3))]
    left_out = fit(
        tmp_path, model(), *(batch for step in steps for batch in step),
        callback=NonFinite("skip"), accumulate_grad_batches=2,
    )  # fmt: skip
    wanted = model()
    fit(tmp_path, wanted, good(0), good(1))
    fit(tmp_path, wanted, good(2), good(3), accumulate_grad_batches=2)
    assert left_out.keys() == wanted.state_dict().keys()
    for name, value in wanted.state_dict().items():
        torch.testing.assert_close(left_out[name], value, msg=name)


@pytest.mark.parametrize("batch", [0, 1])
def test_training_stops_before_the_optimizer_steps(batch: int, tmp_path: Path) -> None:
    batches = [good(0), good(1), good(2)]
    batches[batch] = bad()
    trained = model()
    with pytest.raises(
        NonFiniteError, match=rf"^The input of batch {batch} in epoch 0 is not finite: .*skip"
    ) as caught:
        fit(tmp_path, trained, *batches, callback=NonFinite())
    assert caught.value.status == 5
    assert len(str(caught.value).splitlines()) == 1
    sound = fit(tmp_path, model(), *batches[:batch]) if batch else model().state_dict()
    names = [name for name, _ in trained.named_parameters()]
    assert equal({name: trained.state_dict()[name] for name in names}, {name: sound[name] for name in names})
    assert trained.guard is None


@pytest.mark.filterwarnings("ignore:Batch")
@pytest.mark.parametrize("action", ["stop", "skip"])
@pytest.mark.parametrize("kind", ["loss", "gradient"])
@pytest.mark.parametrize("name", PLAYERS)
def test_every_players_loss_is_watched(name: str, kind: str, action: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    variant = build(name)
    batch = batch_of(name, 8)
    out = variant(batch)
    assert isinstance(variant, MultiPlayer)
    terms = [next(iter(variant.alone(player, batch, out, {**variant.coefficients}))) for player in variant.players]
    assert len(terms) > 1
    for term in terms:
        torch.manual_seed(0)
        variant = build(name)
        spoil(variant, 1, term, NAN, gradient=kind == "gradient")
        guard = NonFinite(action)
        runner = trainer(tmp_path, guard, limit_train_batches=3, limit_val_batches=1)
        if action == "stop":
            what = "The loss" if kind == "loss" else "A gradient"
            with pytest.raises(NonFiniteError, match=f"^{what} of batch 1 in epoch 0"):
                runner.fit(variant, digits(name, 16))
        else:
            runner.fit(variant, digits(name, 16))
            assert guard.skipped == 1
        assert all(value.isfinite().all() for value in variant.state_dict().values()), term


@pytest.mark.filterwarnings("ignore:Batch")
def test_one_batch_too_many_stops(tmp_path: Path) -> None:
    guard = NonFinite("skip", most=2)
    batches = [bad(), good(0), bad(), bad(), good(1)]
    with pytest.raises(NonFiniteError, match="batch 3 in epoch 0 is not finite, and so were 2 batches before it"):
        fit(tmp_path, model(), *batches, callback=guard)


@pytest.mark.filterwarnings("ignore:Batch")
def test_a_continued_run_counts_on(tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path, "last", enable_version_counter=False)
    runner = trainer(
        tmp_path, NonFinite("skip", most=3), keep, enable_checkpointing=True, plugins=[AtomicCheckpointIO()]
    )
    runner.fit(model(), Given(bad(), good(0), bad()))
    guard = NonFinite("skip", most=3)
    runner = trainer(tmp_path, guard, epochs=2)
    with pytest.raises(NonFiniteError, match="batch 2 in epoch 1 is not finite, and so were 3 batches"):
        runner.fit(model(), Given(bad(), good(0), bad()), ckpt_path=tmp_path / "last.ckpt", weights_only=True)


def test_what_was_not_observed_may_be_anything(tmp_path: Path) -> None:
    x, mask = torch.ones(2, 3), torch.tensor([[True, True, False], [True, True, True]])
    guard = NonFinite()
    x[0, 2] = NAN
    batch = Batch(x, mask=mask)
    assert guard.admit(batch, 0) is batch
    x[1, 2] = NAN
    cleaned = guard.admit(batch, 0)
    assert cleaned.x.isfinite().all()
    assert x[1, 2].isnan()  # the data themselves stay as they are


class Lazy(NonFinite):
    """As it works on an accelerator."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._lazy = True


@pytest.mark.parametrize(("every", "saves"), [(2, False), (1000, False), (1000, True)])
def test_on_an_accelerator_it_stops_when_values_are_logged_or_saved(every: int, saves: bool, tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path, "last", every_n_train_steps=4, enable_version_counter=False)
    more = {"enable_checkpointing": True, "plugins": [AtomicCheckpointIO()]} if saves else {}
    runner = trainer(tmp_path, Lazy(), *([keep] if saves else []), log_every_n_steps=every, **more)
    with pytest.raises(NonFiniteError, match="The input of batch 2 in epoch 0 is not finite"):
        runner.fit(model(), Given(good(0), good(1), bad(), good(2), good(3), good(4)))
    assert not list(tmp_path.glob("*.ckpt"))
    assert runner.global_step == {2: 3, 1000: 4 if saves else 6}[every]


@pytest.mark.parametrize("kind", ["input", "loss"])
def test_on_an_accelerator_the_first_fault_is_named(kind: str, tmp_path: Path) -> None:
    variant = model()
    batches = [good(0), good(1), good(2)]
    if kind == "input":
        batches[1] = bad()
    else:
        spoil(variant, 1, "distortion", INF)
    with pytest.raises(NonFiniteError, match=f"The {kind} of batch 1 in epoch 0"):
        fit(tmp_path, variant, *batches, callback=Lazy())


@pytest.mark.filterwarnings("ignore:Batch")
def test_the_constraint_of_geco_does_not_see_the_batch(tmp_path: Path) -> None:
    found = []
    for batches in ([good(0), bad(), good(1)], [good(0), good(1)]):
        torch.manual_seed(0)
        geco = GECO(1.0)
        trainer(tmp_path, geco, NonFinite("skip")).fit(build("AE"), Given(*batches))
        found.append(geco.state_dict())
    assert found[0] == found[1]


@pytest.mark.filterwarnings("ignore:Batch")
def test_clipping_and_schedules_go_on(tmp_path: Path) -> None:
    counts = []

    class Count(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
            counts.append((pl_module.batches_trained(args[2]), trainer.global_step))  # type: ignore[operator]

    runner = trainer(tmp_path, NonFinite("skip"), Count(), gradient_clip_val=1.0)
    variant = model()
    runner.fit(variant, Given(good(0), bad(), good(1)))
    assert counts == [(0, 1), (1, 2), (2, 3)]
    assert all(value.isfinite().all() for value in variant.state_dict().values())


@pytest.mark.filterwarnings("ignore:Batch")
@pytest.mark.parametrize("action", ["stop", "skip"])
def test_steps_that_fp16_skips_by_itself_are_its_own(action: Any, tmp_path: Path) -> None:
    variant = model()
    spoil(variant, 1, "distortion", INF, gradient=True)
    half = MixedPrecision("16-mixed", "cpu", scaler=GradScaler("cpu", init_scale=256.0))
    guard = NonFinite(action)
    fit(tmp_path, variant, good(0), good(1), good(2), callback=guard, plugins=[half])
    assert guard.skipped == 0
    assert all(value.isfinite().all() for value in variant.state_dict().values())
    assert half.scaler is not None
    assert half.scaler.get_scale() == 128.0


@pytest.mark.filterwarnings("ignore:Batch")
def test_fp16_leaves_a_bad_batch_out(tmp_path: Path) -> None:
    half = MixedPrecision("16-mixed", "cpu", scaler=GradScaler("cpu", init_scale=256.0))
    left_out = fit(tmp_path, model(), good(0), bad(), callback=NonFinite("skip"), plugins=[half])
    half = MixedPrecision("16-mixed", "cpu", scaler=GradScaler("cpu", init_scale=256.0))
    assert equal(left_out, fit(tmp_path, model(), good(0), plugins=[half]))


def test_mistakes() -> None:
    with pytest.raises(ConfigError, match="stop and skip"):
        NonFinite("halt")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="most"):
        NonFinite("skip", most=-1)


def test_the_last_of_several_holds() -> None:
    first, other, last = NonFinite(), GECO(1.0), NonFinite("skip")
    assert watched([first, other, last]) == [other, last]
    assert [type(each) for each in watched([other])] == [GECO, NonFinite]


@pytest.mark.parametrize("skipped", [torch.zeros(9), [1], "1", 1.5])
def test_a_count_that_is_none_is_refused(skipped: Any) -> None:
    with pytest.raises(ValueError, match="skipped batches"):
        NonFinite("skip").load_state_dict({"skipped": skipped})
