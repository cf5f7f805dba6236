"""Trackers other than ours: their failures end no training."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import Logger

from lit_ae.errors import DISK, LitAEError
from lit_ae.loggers import MetricsCSV, WandB, first_line

CALLS = ("log_metrics", "log_hyperparams", "log_graph", "log_image", "save", "after_save_checkpoint", "finalize")


def forgiven(loggers: Iterable[Logger]) -> list[Logger]:
    """The loggers that start, each of which is left alone once it has failed.

    Tables and event files are on the run's own disk, so their failures do end training; W&B's are seen to where it is
    defined.
    """
    kept: list[Logger] = []
    for logger in loggers:
        if isinstance(logger, MetricsCSV | TensorBoardLogger | WandB):
            kept.append(logger)
        elif starts(logger):
            kept.append(forgiving(logger))
    return kept


def starts(logger: Logger) -> bool:
    """Whether a tracker is there: Lightning would let its failure end training."""
    try:
        getattr(logger, "experiment", None)
    except Exception as error:  # trackers' errors share no base class, and none of them may end training
        if ours(error):
            raise
        print(f"{type(logger).__name__} is out of reach ({first_line(error)}): training goes on without it")
        return False
    return True


def ours(error: Exception) -> bool:
    """Whether an error is not a tracker's: a mistake of the user, or a disk that takes no more."""
    return isinstance(error, LitAEError) or (isinstance(error, OSError) and error.errno in DISK)


def forgiving(logger: Logger) -> Logger:
    """The logger itself, which from its first failure on does nothing."""
    broken = False

    def attempted(call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def attempt(*args: Any, **kwargs: Any) -> Any:
            nonlocal broken
            if broken:
                return None
            try:
                return call(*args, **kwargs)
            except Exception as error:  # see above
                if ours(error):
                    raise
                broken = True
                name = type(logger).__name__
                print(f"{name} stopped working ({first_line(error)}): training goes on and sends it nothing more")
                return None

        return attempt

    for name in CALLS:
        if (call := getattr(logger, name, None)) is not None:
            setattr(logger, name, attempted(call))
    return logger
