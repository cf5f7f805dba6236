"""What is logged in training: windows amid an epoch, and the whole epoch at its end."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from datamodules import Digits
from lit_ae.loggers import MetricsCSV
from variants import build


class Losses(Callback):
    """Every batch's loss and size."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, int]] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, i: int
    ) -> None:
        self.seen.append((outputs["terms"]["loss"].item(), len(batch.x)))


def mean(rows: list[tuple[float, int]]) -> float:
    return sum(loss * size for loss, size in rows) / sum(size for _, size in rows)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_windows_and_epochs_are_means_over_their_samples(tmp_path: Path, accumulate: int) -> None:
    losses, torch_seed = Losses(), torch.manual_seed(0)
    runner = Trainer(
        default_root_dir=tmp_path, accelerator="cpu", logger=MetricsCSV(tmp_path), callbacks=[losses], max_epochs=1,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, limit_val_batches=0,
        log_every_n_steps=2, accumulate_grad_batches=accumulate,
    )  # fmt: skip
    runner.fit(build("VAE"), Digits(batch_size=256))
    assert len(losses.seen) == 6
    logged = [
        float(row["train/loss"]) for row in csv.DictReader((tmp_path / "metrics.csv").open()) if row["train/loss"]
    ]
    width = 2 * accumulate
    windows = [mean(losses.seen[i : i + width]) for i in range(0, 6 - width + 1, width)]
    if 6 % width == 0:  # the epoch shares its row with the last window, and wins
        windows.pop()
    assert logged == pytest.approx([*windows, mean(losses.seen)], rel=1e-5)
    assert float(runner.callback_metrics["train/loss"]) == pytest.approx(mean(losses.seen), rel=1e-5)
    assert torch_seed.initial_seed() is not None
