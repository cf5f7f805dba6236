"""The default optimizer, and several as one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lit_ae.errors import ConfigError


class FusedAdam(torch.optim.Adam):
    """Adam (Kingma & Ba 2015) in one fused kernel: 1.5x faster than the loop on CPU for a small VAE.

    It takes the learning rate alone: the command line hands arguments of one name on when the class is changed, and
    Adam's weight decay of 0 is not AdamW's. For the others name torch's own: `--model.optimizer Adam`.

    Args:
        params: Parameters or groups of them.
        lr: Learning rate.
    """

    def __init__(self, params: Iterable[Tensor], lr: float = 1e-3) -> None:
        super().__init__(params, lr=lr, fused=True)
        # the fused kernel offers to unscale fp16 gradients by itself, and Lightning then refuses to clip them
        self._step_supports_amp_scaling = False


def stop_driver_search() -> None:
    """Where there is no GPU, let torch remember that.

    Importing Lightning makes torch look for GPUs through NVML, which does not start CUDA. Optimizers look at every
    step, and without a driver each look searches the disk for its library, for 0.12 ms.
    """
    if not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"


class ChainedOptimizer(torch.optim.Optimizer):
    """Several optimizers behind one: one backward, one step, one state, so that automatic optimisation holds.

    Schedulers, gradient scalers and checkpoints see the groups and the state of all. Closures run once.

    Args:
        optimizers: Optimizers of disjoint parameters, by name.

    Attributes:
        resting: Names of those that the next step leaves out.

    Raises:
        ConfigError: One of them evaluates the loss several times a step, which only one player can.
    """

    def __init__(self, optimizers: Mapping[str, torch.optim.Optimizer]) -> None:
        self.optimizers, self.resting = dict(optimizers), frozenset[str]()
        for chained in self.optimizers.values():
            if signature(type(chained).step).parameters["closure"].default is Parameter.empty:
                raise ConfigError(
                    f"{type(chained).__name__} evaluates the loss several times a step, which several players cannot: "
                    "choose --model.optimizer Adam or SGD."
                )
        first, *others = (chained.defaults for chained in self.optimizers.values())
        shared = {name: value for name, value in first.items() if all(name in other for other in others)}
        super().__init__([group for chained in self.optimizers.values() for group in chained.param_groups], shared)
        # the very groups of the optimizers, not copies: a scheduler's new rate must reach them
        self.param_groups = [group for chained in self.optimizers.values() for group in chained.param_groups]
        self._share()

    def _share(self) -> None:
        """Let every optimizer work on its groups among ours, and on our state."""
        groups = iter(self.param_groups)
        for chained in self.optimizers.values():
            chained.param_groups = [next(groups) for _ in chained.param_groups]
            chained.state = self.state

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Evaluate the closure once, then step every optimizer that does not rest."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for name, chained in self.optimizers.items():
            if name not in self.resting:
                chained.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state and the groups of all."""
        super().load_state_dict(state_dict)
        self._share()


class PlayerSchedulers(LRScheduler):
    """The schedulers of several optimizers behind the one of their chain.

    Args:
        optimizer: The chain.
        schedulers: One for each optimizer that has one, by the optimizer's name.

    Raises:
        ConfigError: A scheduler waits for a metric, which only one for all players is given.
    """

    def __init__(self, optimizer: ChainedOptimizer, schedulers: Mapping[str, LRScheduler]) -> None:
        self.optimizer, self.schedulers = optimizer, dict(schedulers)
        for name, scheduler in self.schedulers.items():
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ConfigError(
                    f"ReduceLROnPlateau of {name} waits for a metric, which is given to one scheduler for all: set "
                    "--model.lr_scheduler, or choose another."
                )

    def step(self, epoch: int | None = None) -> None:
        """Step every scheduler."""
        for scheduler in self.schedulers.values():
            scheduler.step()

    def get_last_lr(self) -> list[float | Tensor]:
        """Rates of all groups of the chain."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """States by name."""
        return {name: scheduler.state_dict() for name, scheduler in self.schedulers.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore every scheduler."""
        for name, scheduler in self.schedulers.items():
            scheduler.load_state_dict(state_dict[name])
