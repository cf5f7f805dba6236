"""Checkpoints whose weights fit, and whose other parts are not what Lightning restores."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import QUICK, Console
from lit_ae.errors import RunError
from lit_ae.models.vae import VAE
from lit_ae.storage import save

MORE = ("--trainer.max_epochs=3", "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1", *QUICK)


def number(checkpoint: dict[str, Any]) -> None:
    checkpoint["loops"] = 7


def other_type(checkpoint: dict[str, Any]) -> None:
    checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["ready"] = "x"


def cut(checkpoint: dict[str, Any]) -> None:
    del checkpoint["loops"]["fit_loop"]["epoch_progress"]


def other_shape(checkpoint: dict[str, Any]) -> None:
    next(iter(checkpoint["optimizer_states"][0]["state"].values()))["exp_avg"] = torch.zeros(3)


def no_state(checkpoint: dict[str, Any]) -> None:
    checkpoint["optimizer_states"] = [{"param_groups": [{}], "state": {"0": None}}]


def betas(checkpoint: dict[str, Any]) -> None:
    checkpoint["optimizer_states"][0]["param_groups"][0]["betas"] = torch.zeros(1).expand(9)


def one_beta(checkpoint: dict[str, Any]) -> None:
    checkpoint["optimizer_states"][0]["param_groups"][0]["betas"] = [0.9]


def fused(checkpoint: dict[str, Any]) -> None:
    checkpoint["optimizer_states"][0]["param_groups"][0]["foreach"] = torch.zeros(9)


def step(checkpoint: dict[str, Any]) -> None:
    next(iter(checkpoint["optimizer_states"][0]["state"].values()))["step"] = torch.zeros(9)


def no_schedulers(checkpoint: dict[str, Any]) -> None:
    checkpoint["lr_schedulers"] = torch.zeros(9)


def no_carried(checkpoint: dict[str, Any]) -> None:
    checkpoint["lit_ae"] = torch.zeros(9)


def no_list(checkpoint: dict[str, Any]) -> None:
    checkpoint["optimizer_states"] = torch.zeros(9)


def rate(checkpoint: dict[str, Any]) -> None:
    checkpoint["optimizer_states"][0]["param_groups"][0]["lr"] = "x"


def means(checkpoint: dict[str, Any]) -> None:
    checkpoint["means"] = {"names": torch.zeros(1).expand(9), "rows": [torch.zeros(2, 10)]}


def random(checkpoint: dict[str, Any]) -> None:
    generator = checkpoint["lit_ae"]["generators"][0]
    generator["python"] = (3, torch.zeros(1).expand(9), None)


@pytest.mark.parametrize("weights", [7, [1], {7: torch.zeros(1)}, {"encoder": "x"}])
def test_weights_that_are_none(weights: Any, trained: Path, lit_ae: Console, tmp_path: Path) -> None:
    path = tmp_path / "alone.ckpt"
    checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    save(path, {**checkpoint, "state_dict": weights})
    done = lit_ae("validate", str(path), *QUICK)
    assert done.status == 4, done.err
    assert f"{path} does not fit the model (" in done.err
    with pytest.raises(RunError, match="does not fit"):
        VAE.load_from_checkpoint(path)


def test_a_version_that_is_no_text(trained: Path, lit_ae: Console, tmp_path: Path) -> None:
    path = tmp_path / "alone.ckpt"
    save(path, {**torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True), "pytorch-lightning_version": 7})
    done = lit_ae("validate", str(path), *QUICK)
    assert (done.status, done.err.splitlines()[-1]) == (
        4,
        f"lit_ae: {path} is no checkpoint: its pytorch-lightning_version is no text. Name another one.",
    )


SETTINGS = (betas, one_beta, fused, step, no_list, no_carried, no_schedulers)
STRETCHED = torch.zeros(1).expand(2_000)  # of a size that shows what is refused; the torture takes more


@pytest.mark.parametrize(
    ("callback", "name", "value"),
    [
        ("EarlyStopping", "best_score", STRETCHED),
        ("EarlyStopping", "wait_count", [1]),
        ("Checkpoint", "best_k_models", [STRETCHED]),
        ("Checkpoint", "best_model_score", STRETCHED),
        ("Checkpoint", "current_score", [1]),
        ("Checkpoint", "best_model_path", STRETCHED),
    ],
)
def test_the_state_of_callbacks_is_of_the_kinds_that_they_write(
    callback: str, name: str, value: Any, lit_ae: Console
) -> None:
    stops = ("--trainer.callbacks=[EarlyStopping]", "--trainer.callbacks.monitor=val/loss")
    assert lit_ae("fit", "--config=vae", *stops, *MORE, "--trainer.max_epochs=1").status == 0
    path = Path("runs/vae/0/checkpoints/last.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    (key,) = [key for key in checkpoint["callbacks"] if key.startswith(callback)]
    checkpoint["callbacks"][key][name] = value
    save(path.absolute(), checkpoint)
    done = lit_ae("fit", "--ckpt_path=runs/vae/0", *MORE)
    assert done.status == 4, done.err
    assert "does not fit this trainer (ValueError" in done.err.splitlines()[-1]


LATER = """
import torch
from lightning.pytorch import Callback

class Later(Callback):
    probe, seen = None, None

    def on_fit_start(self, trainer, pl_module):
        self.probe = torch.nn.Linear(2, 2)

    def state_dict(self):
        return {"probe": self.probe.state_dict(), "seen": 1}

    def load_state_dict(self, state_dict):
        self.seen = state_dict["seen"]
"""


def test_a_callback_of_the_users_own_may_have_no_state_before_training(lit_ae: Console, tmp_path: Path) -> None:
    (tmp_path / "later.py").write_text(LATER)
    added = ("--trainer.callbacks=[later.Later]", *MORE)
    assert lit_ae("fit", "--config=vae", *added, "--trainer.max_epochs=1").status == 0
    done = lit_ae("fit", "--config=vae", "--ckpt_path=last", *added)
    assert done.status == 0, done.err


@pytest.mark.parametrize("damage", [number, other_type, cut, other_shape, no_state, rate, means, random, *SETTINGS])
def test_what_does_not_fit_is_the_fault_of_the_file(
    damage: Any, trained: Path, lit_ae: Console, tmp_path: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / "runs/vae/0")
    last = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    damage(checkpoint)
    save(last, checkpoint)
    done = lit_ae("fit", f"--ckpt_path={run}", *MORE)
    assert done.status == 4, done.err
    said = done.err.splitlines()[-1]
    assert said.startswith(f"lit_ae: {last} does not fit this trainer (")
    assert said.endswith("): name another one.")
