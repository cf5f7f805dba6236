"""What a run's folder is filled with while it trains: the configuration and the checkpoints."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import yaml
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from lit_ae.runs import Run


def checkpoints(run: Run, validates: bool) -> list[ModelCheckpoint]:
    """Keep last.ckpt, also when training is cut off, and best.ckpt by validation loss; a continued run goes on with them."""
    last = ModelCheckpoint(run.checkpoints, "last", save_on_exception=True, enable_version_counter=False)
    best = ModelCheckpoint(run.checkpoints, "best", monitor="val/loss", enable_version_counter=False)
    return [last, best] if validates else [last]


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
        if trainer.is_global_zero and not trainer.fast_dev_run:
            partial = self.path.with_suffix(".partial")
            partial.write_text(self.text, encoding="utf-8")
            partial.replace(self.path)
            for logger in trainer.loggers:
                if not isinstance(logger, CSVLogger):
                    logger.log_hyperparams(yaml.safe_load(self.text))
