"""Gives a trainer back what a checkpoint holds beside weights; what does not fit is the file's fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.connectors.checkpoint_connector import _CheckpointConnector
from torch import Tensor
from torch.optim import Optimizer

from lit_ae.errors import LitAEError, RunError

MOMENTS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "grad_avg", "momentum_buffer", "square_avg", "sum")
PARTS = ("averaging_state", "current_model_state", "lit_ae", "means")  # that callbacks and models take for dicts
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

    def restore_callbacks(self) -> None:
        """Restore callbacks; what a file gives ours and Lightning's is of the kinds they hold: they iterate over it."""
        checkpoint: dict[str, Any] = self._loaded_checkpoint or {}
        for name in PARTS:
            similar({}, checkpoint.get(name), name)
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        for callback in callbacks if checkpoint.get("callbacks") is not None else ():
            if known(callback) and callback.state_key in checkpoint["callbacks"]:
                similar(callback.state_dict(), checkpoint["callbacks"][callback.state_key], callback.state_key)
        super().restore_callbacks()

    def restore_training_state(self) -> None:
        """Restore loops, optimizers and schedulers."""
        if not self._loaded_checkpoint:
            return super().restore_training_state()
        optimizers, configs = self.trainer.optimizers, self.trainer.lr_scheduler_configs
        groups, schedulers = [settings(each) for each in optimizers], [each.scheduler.state_dict() for each in configs]
        with blamed(self._ckpt_path):
            alike(self._get_loops_state_dict(), self._loaded_checkpoint.get("loops", {}), "loops")
            states = {name: self._loaded_checkpoint.get(name, []) for name in ("optimizer_states", "lr_schedulers")}
            similar({name: [] for name in states}, states, "checkpoint")
            for state, found in zip(schedulers, states["lr_schedulers"] or [], strict=False):
                similar(state, found, "lr_schedulers")
            super().restore_training_state()
            for optimizer, wanted in zip(optimizers, groups, strict=True):
                similar(wanted, settings(optimizer), "param_groups", whole=known(optimizer))
                fitting(optimizer)
        return None


def known(part: object) -> bool:
    """Whether it is of a package whose classes hold and store values of the same kinds."""
    return type(part).__module__.partition(".")[0] in ("lit_ae", "lightning", "torch")


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


def similar(wanted: Any, found: Any, name: str, whole: bool = False) -> None:
    """Compare what a callback or an optimizer holds with what a file gives it.

    Args:
        wanted: What it holds.
        found: What the file gives.
        name: What to call it.
        whole: Whether what it holds is all that it will: otherwise None may become anything, and lists may grow.

    Raises:
        ValueError: A container, a number or a word is something else.
    """
    if found is None and not whole:
        return
    single = isinstance(wanted, bool | int | float | str) or (isinstance(wanted, Tensor) and not wanted.ndim)
    single = single or (whole and wanted is None)
    if single and (isinstance(found, dict | list | tuple) or (isinstance(found, Tensor) and found.numel() != 1)):
        raise ValueError(f"{name} is no single value")
    if isinstance(wanted, list | tuple) and not isinstance(found, list | tuple):
        raise ValueError(f"{name} is no list")
    if isinstance(wanted, list | tuple) and whole:
        for one, other in zip(wanted, found, strict=True):
            similar(one, other, name, whole)
    if isinstance(wanted, dict) and not isinstance(found, dict):
        raise ValueError(f"{name} is no dict")
    if isinstance(wanted, dict):
        for key in wanted.keys() & found.keys():
            similar(wanted[key], found[key], f"{name}.{key}", whole)


def settings(optimizer: Optimizer) -> list[dict[str, Any]]:
    """What the groups of an optimizer hold beside parameters."""
    return [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]


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
            if isinstance(step := state.get("step"), Tensor) and step.numel() != 1:
                raise ValueError("the step of an optimizer is no single number")
            for name in MOMENTS:
                value = state.get(name)
                if value is not None and (not isinstance(value, Tensor) or value.shape != parameter.shape):
                    raise ValueError(f"{name} is not of the shape of its parameter")
