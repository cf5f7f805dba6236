"""A trainer without logs, checkpoints and progress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer


def trainer(folder: Path, *callbacks: Callback, epochs: int = 1, **settings: Any) -> Trainer:
    quiet = dict(logger=False, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False)
    ours = dict(default_root_dir=folder, accelerator="cpu", callbacks=list(callbacks), max_epochs=epochs)
    return Trainer(**{**quiet, **ours, **settings})  # type: ignore[arg-type]
