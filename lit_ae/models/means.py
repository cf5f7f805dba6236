"""Running means of named values, kept on the device until somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


class Means:
    """Sample-weighted means of named scalars, accumulated without a synchronisation.

    `self.log` at every step costs as much as a small model's step; one stacked addition does not.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.names: tuple[str, ...] = ()
        self.total: Tensor | None = None

    def add(self, values: Mapping[str, Tensor], weight: float) -> None:
        """Add batch means, each (), that stand for `weight` samples; the names must not change between calls."""
        row = torch.stack([*values.values(), torch.ones_like(next(iter(values.values())))]).detach()
        row = row.to(torch.float32 if row.device.type == "mps" else torch.float64) * weight
        if weight == 0:  # a repeat that keeps processes in step: 0 · nan would not be 0
            row.zero_()
        if self.total is None:
            self.names, self.total = tuple(values), row
        else:
            assert self.names == tuple(values), (self.names, tuple(values))
            self.total += row

    def compute(self, reduce: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """Means over all processes: `reduce` sums a tensor over them. Empty where nothing was added."""
        if self.total is None:
            return {}
        *sums, count = reduce(self.total).unbind()
        return {name: (value / count).float() for name, value in zip(self.names, sums, strict=True)}
