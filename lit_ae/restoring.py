"""Gives a trainer back what a checkpoint holds beside weights; what does not fit is the file's fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.trainer.connectors.checkpoint_connector import _CheckpointConnector
from torch import Tensor
from torch.optim import Optimizer

from lit_ae.errors import LitAEError, RunError

MOMENTS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "grad_avg", "momentum_buffer", "square_avg", "sum")
ODD = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class Restorer(_CheckpointConnector):
    """Lightning's own, with one sentence where it would fail inside Lightning or at a later batch."""

    def resume_start(self, checkpoint_path: Any = None, weights_only: bool | None = None) -> None:
        """Open the file."""
        with blamed(checkpoint_path):
            super().resume_start(checkpoint_path, weights_only)

    def _restore_modules_and_callbacks(self, checkpoint_path: Any = None, weights_only: bool | None = None) -> None:
        with blamed(checkpoint_path):
            super()._restore_modules_and_callbacks(checkpoint_path, weights_only)

    def restore_training_state(self) -> None:
        """Restore loops, optimizers and schedulers."""
        with blamed(self._ckpt_path):
            if self._loaded_checkpoint:
                alike(self._get_loops_state_dict(), self._loaded_checkpoint.get("loops", {}), "loops")
            super().restore_training_state()
            for optimizer in self.trainer.optimizers if self._loaded_checkpoint else ():
                fitting(optimizer)


@contextmanager
def blamed(path: Any) -> Iterator[None]:
    """Blame the file for what goes wrong."""
    try:
        yield
    except ODD as error:
        if path is None or isinstance(error, LitAEError):
            raise
        last = (str(error).splitlines() or [""])[-1].strip()[:200]
        raise RunError(
            f"{path} does not fit this trainer ({type(error).__name__}: {last}): name another one."
        ) from error


def install(trainer: Trainer) -> None:
    """Let a trainer restore this way."""
    trainer._checkpoint_connector = Restorer(trainer)


def alike(wanted: Any, found: Any, name: str) -> None:
    """Compare what loops hold with what a file gives them.

    Raises:
        ValueError: A number or a dict is something else.
    """
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            raise ValueError(f"{name} is no dict")
        for key, value in wanted.items():
            if key in found:
                alike(value, found[key], f"{name}.{key}")
            elif isinstance(value, dict) and value:
                raise ValueError(f"{name}.{key} is missing")
    elif isinstance(wanted, bool | int) and (type(found) is not type(wanted) or found < 0):
        raise ValueError(f"{name} is {str(found)[:50]!r}")


def fitting(optimizer: Optimizer) -> None:
    """See whether an optimizer can take a step with the state that it was given.

    Raises:
        ValueError: It cannot.
    """
    for group in optimizer.param_groups:
        if not isinstance(group.get("lr"), int | float | Tensor):
            raise ValueError(f"a learning rate is {str(group.get('lr'))[:50]!r}")
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {})
            if not isinstance(state, dict):
                raise ValueError("the state of an optimizer is no dict")
            for name in MOMENTS:
                value = state.get(name)
                if value is not None and (not isinstance(value, Tensor) or value.shape != parameter.shape):
                    raise ValueError(f"{name} is not of the shape of its parameter")
