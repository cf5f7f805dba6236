"""What `lit_ae predict` leaves in the run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lit_ae.batch import Batch
from lit_ae.errors import StorageError

Rows = dict[str, np.ndarray]


class PredictionWriter(Callback):
    """Writes embeddings `z`, reconstructions and labels `y` of all samples to predictions.npz, in the data's order.

    Args:
        folder: Where to write; by default the run folder.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder
        self._batches: dict[int, Rows] = {}  # by their number in the data

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget an earlier pass."""
        self._batches = {}

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: dict[str, Tensor],
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep one batch; this process holds every world-th one."""
        if batch.weight:
            number = batch_idx * trainer.world_size + trainer.global_rank
            self._batches[number] = {name: array(value) for name, value in outputs.items()}

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the batches of all processes together and write them."""
        batches = gather(trainer, self._batches)
        self._batches = {}
        if not trainer.is_global_zero:
            return
        path = Path(self.folder or trainer.default_root_dir) / "predictions.npz"
        ordered = [batches[number] for number in sorted(batches)]
        write(path, {name: np.concatenate([rows[name] for rows in ordered]) for name in ordered[0]})
        print(f"predictions  {path}")


def array(value: Tensor) -> np.ndarray:
    """A tensor as NumPy knows it, which has no bfloat16."""
    return (value.float() if value.is_floating_point() else value).cpu().numpy()


def gather(trainer: Trainer, batches: dict[int, Rows]) -> dict[int, Rows]:
    """The batches of all processes, on the first one."""
    if trainer.world_size == 1:
        return batches
    parts: list[Any] | None = [None] * trainer.world_size if trainer.is_global_zero else None
    torch.distributed.gather_object(batches, parts)
    return {number: rows for part in parts or [] for number, rows in part.items()}


def write(path: Path, arrays: Rows) -> None:
    """Write arrays whole or not at all."""
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"Cannot write {path} ({error.strerror or error}): free space, or set --runs.") from error
