"""What a run's folder is filled with while it trains: the configuration and the checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from lit_ae.keeping import Checkpoint
from lit_ae.loggers import MetricsCSV
from lit_ae.runs import Run
from lit_ae.stamps import stamp
from lit_ae.storage import write


def checkpoints(run: Run, validates: bool) -> list[ModelCheckpoint]:
    """Keep last.ckpt, also when training is cut off, and best.ckpt by validation loss."""
    return [Checkpoint(run.checkpoints, validates)]


class Record(Callback):
    """Writes config.yaml when training really starts, and tells the loggers.

    Args:
        path: The file.
        text: Its content.
    """

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write, on the first process only."""
        if trainer.is_global_zero:
            stamp(self.path, self.text.encode())
            write(self.path, lambda sink: sink.write(self.text.encode()))
            for logger in trainer.loggers:
                if not isinstance(logger, MetricsCSV):
                    logger.log_hyperparams(yaml.safe_load(self.text))


class Explicit(Callback):
    """Lets optimizer settings that are given explicitly beat those that a checkpoint restores.

    Args:
        stored: The model's part of the run's configuration.
        given: The same, as this command line has it.
    """

    def __init__(self, stored: dict[str, Any], given: dict[str, Any]) -> None:
        self.stored, self.given = stored.get("init_args", {}), given.get("init_args", {})

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Change what is about to be restored; another class starts with a fresh state."""
        old, new = self.stored.get("optimizer") or {}, self.given.get("optimizer") or {}
        before, after = old.get("init_args") or {}, new.get("init_args") or {}
        if old.get("class_path") != new.get("class_path"):
            checkpoint["optimizer_states"] = []
        changed = {name: value for name, value in after.items() if before.get(name) != value}
        for state in checkpoint["optimizer_states"]:
            for group in state["param_groups"]:
                group.update({name: value for name, value in changed.items() if name in group})
        if changed or self.stored.get("lr_scheduler") != self.given.get("lr_scheduler"):
            checkpoint["lr_schedulers"] = []
