"""Samples held in memory, and where batches of them come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lit_ae.batch import Shape

__all__ = ["Resident", "Samples", "Source", "count", "take"]


class Samples(NamedTuple):
    """Many samples, one tensor per role.

    Args:
        x: What is modelled, (N, *E): uint8 (pictures, channel first) or float32.
        y: Labels or known factors, (N,) or (N, F).
        c: Conditions, (N,) class indices or (N, *C).
        mask: True where x is observed, (N, *E) bool.
    """

    x: Tensor
    y: Tensor | None = None
    c: Tensor | None = None
    mask: Tensor | None = None


def count(samples: Samples) -> int:
    """Number of samples (`len` of a named tuple is its number of fields)."""
    return samples.x.shape[0]


def take(samples: Samples, index: Tensor) -> Samples:
    """The samples at the positions in index, (B,), on the device that holds them."""
    x, y, c, mask = samples
    return Samples(
        x.index_select(0, index),
        None if y is None else y.index_select(0, index),
        None if c is None else c.index_select(0, index),
        None if mask is None else mask.index_select(0, index),
    )


class Source(ABC):
    """Samples by position, a whole batch at a time; `scale` divides uint8 values into [0, 1].

    Args:
        scale: The value of uint8 samples that becomes 1.
    """

    def __init__(self, scale: float = 255.0) -> None:
        self.scale = scale

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """Shape of one x, without the batch."""

    @property
    @abstractmethod
    def labels(self) -> Tensor | None:
        """All labels, (N,) or (N, F)."""

    @property
    def names(self) -> Sequence[str] | None:
        """What each sample is called, a file's path say; None where samples have no names."""
        return None

    @property
    def element_size(self) -> int:
        """Bytes per element of x where the samples come from: 1 for pictures of bytes."""
        return 4

    @property
    def condition_shape(self) -> Shape | None:
        """Shape of one condition, None where there are none."""
        return None

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abstractmethod
    def value_range(self, index: Tensor | None) -> tuple[float, float] | None:
        """Smallest and largest value of x at these positions (all where None), after scaling."""

    @abstractmethod
    def fetch(self, batches: Iterable[Tensor]) -> Iterator[Samples]:
        """One `Samples` per tensor of positions, in order."""

    def to(self, device: torch.device) -> Source:
        """The same samples held on the device, where a source can be held."""
        return self

    @property
    def device(self) -> torch.device:
        """Where positions for `fetch` must lie, and where samples come out."""
        return torch.device("cpu")


class Resident(Source):
    """Samples that lie in memory once; a batch is one gather per tensor.

    Args:
        samples: The samples, all on one device.
        scale: The value of uint8 samples that becomes 1.
        names: What each is called, (N,), where they have names.
    """

    def __init__(self, samples: Samples, scale: float = 255.0, names: Sequence[str] | None = None) -> None:
        super().__init__(scale)
        self.samples, self._names = samples, names

    @property
    def names(self) -> Sequence[str] | None:
        """What each sample is called."""
        return self._names

    @property
    def element_size(self) -> int:
        """Bytes per element of x as it is held."""
        return self.samples.x.element_size()

    @property
    def shape(self) -> Shape:
        """Shape of one x, without the batch."""
        return tuple(self.samples.x.shape[1:])

    @property
    def labels(self) -> Tensor | None:
        """All labels, (N,) or (N, F)."""
        return self.samples.y

    @property
    def condition_shape(self) -> Shape | None:
        """Shape of one condition, None where there are none."""
        return None if self.samples.c is None else tuple(self.samples.c.shape[1:])

    def __len__(self) -> int:
        return count(self.samples)

    def value_range(self, index: Tensor | None) -> tuple[float, float] | None:
        """Range of the type for pictures, of the values for numbers; missing cells do not count."""
        x, mask = self.samples.x, self.samples.mask
        if x.dtype == torch.uint8:
            return 0.0, 1.0
        x = x if index is None else x.index_select(0, index.to(x.device))
        if mask is not None:
            x = x[mask if index is None else mask.index_select(0, index.to(mask.device))]
        if x.numel() == 0:
            return None
        low, high = torch.aminmax(x)
        return low.item(), high.item()

    def fetch(self, batches: Iterable[Tensor]) -> Iterator[Samples]:
        """One gather per batch."""
        return (take(self.samples, index) for index in batches)

    def to(self, device: torch.device) -> Resident:
        """The same samples held on the device."""
        moved = [None if tensor is None else tensor.to(device) for tensor in self.samples]
        assert moved[0] is not None
        return Resident(Samples(moved[0], *moved[1:]), self.scale, self._names)

    @property
    def device(self) -> torch.device:
        """The device that holds the samples."""
        return self.samples.x.device
