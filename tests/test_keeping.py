"""When checkpoints are taken, and that a run goes on from each of them bit for bit."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping
from torch.optim.lr_scheduler import ReduceLROnPlateau

import torture_for_tests  # noqa: F401 (benchmarks on the path)
from lit_ae import keeping, stopping
from lit_ae.errors import RunError
from lit_ae.models.vae import VAE
from lit_ae.storage import load, save
from reliability.resumed import StopAt, difference, fit
from variants import SMALL, SPEC, digits

PLATEAU = partial(ReduceLROnPlateau, patience=0, threshold=1e6)  # every epoch without a great leap halves the rate


def vae(**more: Any) -> VAE:
    return VAE(**{"spec": SPEC, **SMALL, **more})


def train(folder: Path, *callbacks: Callback, stop: StopAt | None = None, **settings: Any) -> bool:
    build = partial(vae, lr_scheduler=PLATEAU)
    return fit(folder, build, partial(digits, "VAE", 200), lambda: list(callbacks), stop, **settings)


class Breaks(Callback):
    """Raises amid a step, after the loader has given the batch."""

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        if trainer.global_step == 10:
            raise RuntimeError("broken")


def test_an_exception_amid_a_step_saves_nothing_and_the_run_goes_on_exactly(tmp_path: Path) -> None:
    train(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="broken"):
        train(tmp_path / "parts", Breaks())
    assert load(tmp_path / "parts/checkpoints/last.ckpt")["global_step"] == 7
    train(tmp_path / "parts")
    assert difference(tmp_path / "whole", tmp_path / "parts") is None


@pytest.mark.parametrize(
    ("settings", "batch", "validation"),
    [({}, 7, 1), ({}, 14, 1), ({"val_check_interval": 3}, 6, 1), ({"accumulate_grad_batches": 2}, 7, 1)],
    ids=str,
)
def test_a_stop_amid_a_validation(settings: dict[str, Any], batch: int, validation: int, tmp_path: Path) -> None:
    train(tmp_path / "whole", **settings)
    assert train(tmp_path / "parts", stop=StopAt(batch, validation), **settings)
    train(tmp_path / "parts", **settings)
    assert difference(tmp_path / "whole", tmp_path / "parts") is None


def test_more_steps_than_the_last_run_had(tmp_path: Path) -> None:
    train(tmp_path / "whole", max_epochs=-1, max_steps=18)
    train(tmp_path / "parts", max_epochs=-1, max_steps=7)  # an epoch's end
    train(tmp_path / "parts", max_epochs=-1, max_steps=10)  # amid an epoch
    train(tmp_path / "parts", max_epochs=-1, max_steps=18)
    whole, parts = (load(tmp_path / f"{name}/checkpoints/last.ckpt") for name in ("whole", "parts"))
    assert whole["global_step"] == parts["global_step"] == 18
    assert all(torch.equal(value, parts["state_dict"][name]) for name, value in whole["state_dict"].items())


def best(folder: Path) -> int:
    return int(load(folder / "checkpoints/best.ckpt")["global_step"])


def test_the_best_is_that_of_the_lowest_loss_also_where_no_save_was_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Losses(Callback):
        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            wanted = {7: 3.0, 14: 1.0, 21: 2.0}.get(trainer.global_step, 4.0)
            trainer._logger_connector._callback_metrics["val/loss"] = torch.tensor(wanted)

    monkeypatch.setattr(keeping, "SHARE", 1e-9)  # nothing is due after the first save
    saved: list[str] = []
    write = keeping.Checkpoint._save
    monkeypatch.setattr(keeping.Checkpoint, "_save", lambda self, trainer: saved.append("last") or write(self, trainer))
    train(tmp_path, Losses())
    assert best(tmp_path) == 14
    assert len(saved) == 2  # after the first epoch, and at the end
    assert load(tmp_path / "checkpoints/last.ckpt")["global_step"] == 21


def test_a_best_that_waits_is_written_where_training_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(Callback):
        def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
            if trainer.global_step == 16:
                raise RuntimeError("broken")

    monkeypatch.setattr(keeping, "SHARE", 1e-9)
    with pytest.raises(RuntimeError, match="broken"):
        train(tmp_path, Late())
    assert best(tmp_path) == 14
    assert load(tmp_path / "checkpoints/last.ckpt")["global_step"] == 7


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_amid_the_last_save_stops_after_it(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = keeping.Checkpoint._write_best
    steps: list[int] = []

    def told(self: keeping.Checkpoint, trainer: Any) -> None:
        if trainer.global_step == 21 and 21 not in steps:
            stopping.received(number, None)
        steps.append(trainer.global_step)
        write(self, trainer)

    monkeypatch.setattr(keeping, "SHARE", 1e-9)
    monkeypatch.setattr(keeping.Checkpoint, "_write_best", told)
    stopped = train(tmp_path)
    assert stopped
    assert steps[-1] == 21
    assert load(tmp_path / "checkpoints/last.ckpt")["global_step"] == 21


def test_amid_a_long_epoch_a_save_comes_after_ten_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "INTERVAL", 0.0)
    monkeypatch.setattr(keeping, "SHARE", 1e9)
    with pytest.raises(RuntimeError, match="broken"):
        train(tmp_path / "parts", Breaks(), accumulate_grad_batches=1)
    assert load(tmp_path / "parts/checkpoints/last.ckpt")["global_step"] == 10
    train(tmp_path / "parts")
    train(tmp_path / "whole")
    assert difference(tmp_path / "whole", tmp_path / "parts") is None


class Killed(Callback):
    """Ends training as a kill does: right after the checkpoint in which training is to end."""

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        raise RuntimeError("killed")


def stopper() -> EarlyStopping:
    return EarlyStopping("val/loss", patience=1, min_delta=1e9)


def test_a_run_that_was_ending_early_when_it_was_killed_trains_no_further(tmp_path: Path) -> None:
    train(tmp_path / "whole", stopper(), max_epochs=6)
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path / "parts", stopper(), Killed(), max_epochs=6)
    train(tmp_path / "parts", stopper(), max_epochs=6)
    assert load(tmp_path / "parts/checkpoints/last.ckpt")["epoch"] == 1
    assert difference(tmp_path / "whole", tmp_path / "parts") is None
    train(tmp_path / "parts", max_epochs=6)  # without the callback it goes on
    assert load(tmp_path / "parts/checkpoints/last.ckpt")["epoch"] == 5


def test_epochs_are_numbered_as_lightning_numbers_them(tmp_path: Path) -> None:
    train(tmp_path, stop=StopAt(10))
    assert load(tmp_path / "checkpoints/last.ckpt")["epoch"] == 1  # amid the second
    train(tmp_path, max_epochs=2)
    assert load(tmp_path / "checkpoints/last.ckpt")["epoch"] == 1  # its end


@pytest.mark.parametrize(
    "carried", [{"x": 1}, {"generators": 3}, {"generators": [{}], "metrics": {}, "constants": {}}, [1]], ids=str
)
def test_what_a_checkpoint_carries_must_fit(carried: Any, tmp_path: Path) -> None:
    train(tmp_path, max_epochs=1)
    path = tmp_path / "checkpoints/last.ckpt"
    save(path, {**load(path), "lit_ae": carried})
    with pytest.raises(RunError, match=r"last\.ckpt does not fit this trainer"):
        train(tmp_path, max_epochs=2)
