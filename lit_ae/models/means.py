"""Running means of named values, kept on the device until somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

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
        self.total: Tensor | None = None  # Σ weight · value
        self.count = 0.0  # Σ weight
        self._before: tuple[Tensor | float, float] = (0.0, 0.0)  # both, when the last window ended

    def add(self, values: Mapping[str, Tensor], weight: float) -> None:
        """Add batch means, each (), that stand for `weight` samples; the names must not change between calls."""
        row = torch.stack([*values.values()]).detach()
        if self.total is None:
            self.names = tuple(values)
            self.total = torch.zeros_like(row, dtype=torch.float32 if row.device.type == "mps" else torch.float64)
        assert self.names == tuple(values), (self.names, tuple(values))
        if weight:  # a repeat that keeps processes in step counts for nothing: 0 · nan would not be 0
            self.total.add_(row, alpha=weight)
            self.count += weight

    def state(self, gather: Callable[[Tensor], list[Tensor]]) -> dict[str, Any]:
        """What was added so far on every process, for a checkpoint amid an epoch; all of them must ask."""
        if self.total is None:
            return {}
        before, count = self._before
        rows = torch.stack([self.total, torch.zeros_like(self.total) + before])
        counts = self.total.new_tensor([[self.count], [count]])
        return {"names": list(self.names), "rows": [rows.cpu() for rows in gather(torch.cat([rows, counts], 1))]}

    def restore(self, state: dict[str, Any], rank: int, world: int, device: torch.device) -> None:
        """Go on where the state was taken; on another number of processes the first has it all.

        Raises:
            ValueError: It is no state of means.
        """
        self.reset()
        if not state:
            return
        names, parts = state["names"], state["rows"]
        if not isinstance(parts, list) or not isinstance(names, list) or not all(type(name) is str for name in names):
            raise ValueError("means are stored under names that are none")
        rows: Any = parts[rank] if len(parts) == world else sum(parts) * (rank == 0)
        self.names, self.total, self.count = tuple(names), rows[0, :-1].to(device), rows[0, -1].item()
        self._before = (rows[1, :-1].to(device), rows[1, -1].item())

    def compute(self, reduce: Callable[[Tensor], Tensor], window: bool = False) -> dict[str, Tensor]:
        """Means over all processes: `reduce` sums a tensor over them. Empty where nothing was added.

        Args:
            reduce: Sums a tensor over processes.
            window: Only what came since the last window, which ends here.
        """
        if self.total is None:
            return {}
        total, weight = (
            (self.total - self._before[0], self.count - self._before[1]) if window else (self.total, self.count)
        )
        if window:
            self._before = (self.total.clone(), self.count)
        *sums, count = reduce(torch.cat([total, total.new_tensor([weight])])).unbind()
        return {name: (value / count).float() for name, value in zip(self.names, sums, strict=True)}


def gathered(value: Tensor, world: int) -> list[Tensor]:
    """A tensor of every process, in their order; all of them must ask."""
    if world == 1:
        return [value]
    every = [torch.empty_like(value) for _ in range(world)]
    torch.distributed.all_gather(every, value.contiguous())
    return every
