"""A datamodule whose samples are their own numbers, so that tests can follow each one."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from datamodules.base import InMemory
from datamodules.samples import Samples
from lit_ae.batch import Batch


class Numbers(InMemory):
    """n pictures of one pixel, each with its own number as its label; the test split has other numbers."""

    def __init__(self, n: int = 100, loads: list[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n, self.loads = n, [] if loads is None else loads

    def load(self, split: Literal["train", "test"]) -> Samples:
        self.loads.append(split)
        y = torch.arange(self.n) + (1000 if split == "test" else 0)
        return Samples((y % 256).to(torch.uint8).reshape(-1, 1, 1, 1), y)


def labels(batches: list[Batch]) -> list[int]:
    return [label for batch in batches for label in y(batch).tolist()]


def y(batch: Batch) -> Tensor:
    assert batch.y is not None
    return batch.y
