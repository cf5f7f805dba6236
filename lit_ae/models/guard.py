"""What may look at every training batch, and have it left out."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Protocol

from torch import Tensor, nn

from lit_ae.batch import Batch


class Guard(Protocol):
    """Asked twice about every training batch; all processes must answer alike."""

    def admit(self, batch: Batch, batch_idx: int) -> Batch:
        """The batch as the model is to see it."""

    def refuse(self, batch_idx: int, loss: Tensor) -> bool:
        """Whether the batch is to leave no trace, now that its loss is known."""


def nothing(module: nn.Module) -> Tensor:
    """A loss of 0 that depends on every trained parameter, as several processes want it, and moves none."""
    return reduce(add, (0 * parameter.sum() for parameter in module.parameters() if parameter.requires_grad))
