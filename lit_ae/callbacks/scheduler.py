"""What every callback that sets a coefficient of the model shares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from difflib import get_close_matches

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lit_ae.errors import ConfigError
from lit_ae.models.base import Autoencoder


def autoencoder(pl_module: LightningModule, callback: Callback) -> Autoencoder:
    """The module as one of our models.

    Raises:
        ConfigError: It is another kind of module.
    """
    if not isinstance(pl_module, Autoencoder):
        raise ConfigError(f"{type(callback).__name__} works on an Autoencoder, not on a {type(pl_module).__name__}.")
    return pl_module


def known_coefficient(model: Autoencoder, name: str, callback: Callback) -> None:
    """Refuse a coefficient that the model does not have.

    Raises:
        ConfigError: Names the nearest one, or all of them.
    """
    if name in model.coefficients:
        return
    near = get_close_matches(name, model.coefficients, n=1)
    every = ", ".join(repr(known) for known in model.coefficients)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {every}. Leave the callback out (--trainer.callbacks [])."
    raise ConfigError(f"{type(callback).__name__}: {type(model).__name__} has no coefficient {name!r}; {hint}")


class Scheduler(Callback, ABC):
    """A callback that decides one coefficient while training.

    Args:
        coefficient: Name of the coefficient, one of the model's `coefficients`.
    """

    def __init__(self, coefficient: str) -> None:
        self.coefficient = coefficient

    @abstractmethod
    def value(self, count: int) -> float | Tensor:
        """The coefficient after `count` training batches."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Register with the model.

        Raises:
            ConfigError: The model has no such coefficient, or another callback decides it too.
        """
        model = autoencoder(pl_module, self)
        known_coefficient(model, self.coefficient, self)
        for other in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(other, Scheduler) and other is not self and other.coefficient == self.coefficient:
                names = " and ".join(sorted({type(self).__name__, type(other).__name__}))
                raise ConfigError(f"Two callbacks decide the coefficient {self.coefficient!r} ({names}): keep one.")
        if stage == "fit":
            model.schedules[self.coefficient] = self.value

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the model as it was, so that it can be fitted again without this callback."""
        if stage == "fit":
            autoencoder(pl_module, self).schedules.pop(self.coefficient, None)
