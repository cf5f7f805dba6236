"""TensorBoard's event files, whose disk may be full."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from lit_ae.errors import DISK, ConfigError, StorageError


class TensorBoard(TensorBoardLogger):
    """Event files in `<save_dir>/tensorboard`: look at them with `tensorboard --logdir runs`.

    Args:
        save_dir: Folder in which `tensorboard/` is made; "{run}" is the run folder.

    Raises:
        ConfigError: The package tensorboard is missing.
        StorageError: The disk is full, or the folder cannot be written.
    """

    def __init__(self, save_dir: str | Path = ".") -> None:
        try:
            super().__init__(save_dir, name="tensorboard", version="", default_hp_metric=False)
        except ModuleNotFoundError as error:
            raise ConfigError('The logger TensorBoard needs a package: pip install "lit_ae[tensorboard]"') from error

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """TensorBoard's writer, made on first use; the thread that writes keeps its errors for the next call."""
        if self._experiment is None and threading.excepthook is threading.__excepthook__:
            threading.excepthook = quiet
        with self._told():
            return super().experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers."""
        with self._told():
            super().log_metrics(metrics, step)

    @rank_zero_only
    def save(self) -> None:
        """Write what is still in memory."""
        with self._told():
            super().save()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is left, and close the file."""
        with self._told():
            super().finalize(status)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Say which folder the disk refused."""
        try:
            yield
        except (OSError, ValueError) as error:
            refused = error if isinstance(error, OSError) else error.__cause__  # Lightning takes it for a wrong value
            if isinstance(refused, StorageError) or not isinstance(refused, OSError):
                raise
            folder, reason = Path(self.log_dir), refused.strerror or refused
            raise StorageError(f"Cannot write {folder} ({reason}): free space on the disk, or set --runs.") from error


def quiet(args: threading.ExceptHookArgs) -> None:
    """Print no traceback where a disk refuses what a thread writes: the next call tells."""
    if not (isinstance(args.exc_value, OSError) and args.exc_value.errno in DISK):
        threading.__excepthook__(args)
