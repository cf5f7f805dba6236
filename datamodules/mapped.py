"""A large array in a file, read batch by batch: memory does not grow with its size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.samples import Samples, Source
from datamodules.tables import damaged
from lit_ae.batch import DataError, Shape

__all__ = ["Layout", "Mapped", "layout_of"]


class Layout(NamedTuple):
    """Where the numbers of a .npy file lie.

    Args:
        path: The file.
        offset: Bytes before the first number.
        shape: (N, *E) as in the file.
        dtype: Type of a number.
        order: C, or F for column by column.
    """

    path: Path
    offset: int
    shape: Shape
    dtype: np.dtype
    order: str

    def rows(self, index: np.ndarray) -> np.ndarray:
        """A copy of the samples at these positions. A map lives as long as this call: so its pages are given back."""
        first, n = int(index[0]), len(index)
        together = int(index[-1]) - first + 1 == n and bool((np.diff(index) == 1).all())
        if together and self.order == "C":  # half the price of a map
            size = prod(self.shape[1:])
            skipped = self.offset + first * size * self.dtype.itemsize
            return np.fromfile(self.path, self.dtype, n * size, offset=skipped).reshape(n, *self.shape[1:])
        mapped = np.memmap(self.path, self.dtype, "r", self.offset, self.shape, self.order)  # type: ignore[call-overload]
        return np.array(mapped[first : first + n] if together else mapped[index], order="C")


def layout_of(path: Path) -> Layout:
    """Read the header of a .npy file.

    Raises:
        DataError: The file is missing, damaged, or holds no numbers with the samples first.
    """
    if not path.is_file():
        raise DataError(f"There is no file {path}: give the path of one that exists.")
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise damaged(path, error) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}): look at its permissions.") from error
    if not isinstance(mapped, np.memmap) or mapped.ndim == 0 or mapped.dtype.kind not in "biuf":
        raise DataError(f"{path} holds {mapped.dtype} of shape {mapped.shape}: save numbers, samples first.")
    if mapped.size == 0:
        raise DataError(f"{path} holds no samples: write it anew.")
    return Layout(path, mapped.offset, mapped.shape, mapped.dtype, "C" if mapped.flags.c_contiguous else "F")


class Mapped(Source):
    """Samples in a .npy file, read as they are asked for.

    Args:
        file: The file.
        shape: Shape of one x, as `prepare` gives it.
        prepare: Makes samples of rows of the file; it gets the number of the first one, too, for messages.
        scale: The value of uint8 samples that becomes 1.
    """

    def __init__(
        self, file: Layout, shape: Shape, prepare: Callable[[np.ndarray, int], Samples], scale: float = 255.0
    ) -> None:
        super().__init__(scale)
        self.file, self.prepare, self._shape = file, prepare, shape

    @property
    def shape(self) -> Shape:
        """Shape of one x, without the batch."""
        return self._shape

    @property
    def labels(self) -> Tensor | None:
        """There are none."""
        return None

    @property
    def element_size(self) -> int:
        """Bytes per element in the file."""
        return int(self.file.dtype.itemsize)

    def __len__(self) -> int:
        return self.file.shape[0]

    def value_range(self, index: Tensor | None) -> tuple[float, float] | None:
        """Unknown: to know it, all would have to be read."""
        return None

    def fetch(self, batches: Iterable[Tensor]) -> Iterator[Samples]:
        """Read batch by batch.

        Raises:
            DataError: Samples are not what the datamodule takes.
        """
        for index in batches:
            positions = index.numpy()
            samples = self.prepare(self.file.rows(positions), int(positions[0]))
            if samples.x.dtype not in (torch.uint8, torch.float32):
                raise DataError(f"{self.file.path} gives samples of the type {samples.x.dtype}: save bytes or floats.")
            yield samples
