"""Trains a model in this process, with or without a stop and a resume, and compares what is left."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer

from lit_ae import stopping
from lit_ae.keeping import Checkpoint
from lit_ae.loggers import MetricsCSV
from lit_ae.storage import AtomicCheckpointIO, load

PARTS = ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers", "global_step")


class StopAt(Callback):
    """Sends this process the signal to stop, as the handler would hear it, amid a batch.

    Args:
        batch: Number of the training batch, from 1.
        validation: Number of the validation batch after it, from 1; 0 for the training batch itself, -1 for the end of
            the validation, where that of the epoch follows.
    """

    def __init__(self, batch: int, validation: int = 0) -> None:
        self.batch, self.validation, self.seen = batch, validation, 0

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        self.seen += 1
        if self.seen == self.batch and not self.validation:
            stopping.received(signal.SIGTERM, None)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        if self.seen == self.batch and batch_idx + 1 == self.validation and not trainer.sanity_checking:
            stopping.received(signal.SIGTERM, None)

    def on_validation_end(self, trainer: Trainer, *args: Any) -> None:
        if self.seen == self.batch and self.validation == -1:
            stopping.received(signal.SIGTERM, None)


def fit(
    folder: Path,
    build: Callable[[], LightningModule],
    data: Callable[[], LightningDataModule],
    callbacks: Callable[[], list[Callback]],
    stop: StopAt | None = None,
    **settings: Any,
) -> bool:
    """Train in a folder, from its last.ckpt where there is one; whether a stop came."""
    last = folder / "checkpoints" / "last.ckpt"
    stopping.reset()
    torch.manual_seed(0)
    trainer = Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=MetricsCSV(folder),
        callbacks=[*callbacks(), *([stop] if stop else []), Checkpoint(folder / "checkpoints")],
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": 3, "log_every_n_steps": 1, "limit_val_batches": 2, **settings},
    )
    try:
        trainer.fit(build(), datamodule=data(), ckpt_path=last if last.exists() else None, weights_only=True)
    except stopping.Stopped:
        return True
    finally:
        stopping.reset()
    return False


def difference(one: Path, other: Path) -> str | None:
    """What of two runs' ends is not the same, bit for bit."""
    first, second = (load(folder / "checkpoints" / "last.ckpt") for folder in (one, other))
    for part in PARTS:
        if found := unlike(first.get(part), second.get(part), part):
            return found
    tables = [(folder / "metrics.csv").read_text(encoding="utf-8").splitlines() for folder in (one, other)]
    if tables[0] != tables[1]:
        lines = [number for number, pair in enumerate(zip(*tables, strict=False)) if pair[0] != pair[1]]
        return (
            f"metrics.csv: {len(tables[0])} and {len(tables[1])} lines, the first of {len(lines)} unlike: {lines[:1]}"
        )
    return None


def unlike(one: Any, other: Any, name: str) -> str | None:
    """Where two nested values differ first."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return None if torch.equal(one, other) else name
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return f"{name}: {sorted(map(str, one.keys() ^ other.keys()))}"
        pairs = [(one[key], other[key], f"{name}.{key}") for key in one]
    elif isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        pairs = [(a, b, f"{name}.{number}") for number, (a, b) in enumerate(zip(one, other, strict=True))]
    else:
        return None if one == other else f"{name}: {one!r} and {other!r}"
    return next((found for pair in pairs if (found := unlike(*pair))), None)
