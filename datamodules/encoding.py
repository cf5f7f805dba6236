"""What is fitted on training data and applied to all: standardisation and the numbers of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from datamodules.tables import Table
from lit_ae.batch import DataError

__all__ = ["Categories", "Standardizer", "categories", "standardizer"]

ROWS = 65_536  # at a time: no copy of all samples in float64


class Standardizer(NamedTuple):
    """(x − mean) / std per element of a sample.

    Args:
        mean: (*E), of the observed training values, 0 where there are none.
        std: (*E), of the observed training values, 1 where they are constant.
    """

    mean: np.ndarray
    std: np.ndarray

    def __call__(self, x: np.ndarray, observed: np.ndarray | None = None) -> np.ndarray:
        """(N, *E) in float32, 0 where not observed."""
        out = np.empty(x.shape, dtype=np.float32)
        for start in range(0, len(x), ROWS):
            part = slice(start, start + ROWS)
            out[part] = (x[part] - self.mean) / self.std
        return out if observed is None else np.where(observed, out, np.float32(0))

    def leaving(self, kinds: list[int]) -> Standardizer:
        """The same for columns of numbers, and nothing for the zeros and ones of columns of classes."""
        numeric = np.repeat([kind == 0 for kind in kinds], [kind if kind > 2 else 1 for kind in kinds])
        return Standardizer(np.where(numeric, self.mean, 0.0), np.where(numeric, self.std, 1.0))


def standardizer(x: np.ndarray, rows: np.ndarray, observed: np.ndarray | None = None) -> Standardizer:
    """Fit on the given rows of x, (N, *E), where observed."""
    used, x = None if observed is None else observed[rows], x[rows]
    if used is None:
        mean, std = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
    else:
        x, n = np.where(used, x, 0), used.sum(0).clip(1)
        mean = x.sum(0, dtype=np.float64) / n
        std = np.sqrt((np.where(used, x - mean, 0) ** 2).sum(0, dtype=np.float64) / n)
    # rounding leaves a constant column a tiny spread
    return Standardizer(mean, np.where(std > 1e-12 * np.abs(mean), std, 1.0))


@dataclass(frozen=True)
class Categories:
    """Classes in the order of their numbers.

    Args:
        names: What each is called in the file.
    """

    names: list[str]

    def index(self, values: np.ndarray, table: Table, name: str, unknown: np.ndarray | None = None) -> np.ndarray:
        """The numbers of classes, (N,) int64; −1 where `unknown`, (N,).

        Raises:
            DataError: A class is not one of the training data's.
        """
        unique, inverse = np.unique(values, return_inverse=True)
        numbers = {name: number for number, name in enumerate(self.names)}
        found = np.array([numbers.get(called(value), -1) for value in unique], dtype=np.int64)[inverse]
        new = found < 0 if unknown is None else (found < 0) & ~unknown
        if new.any():
            row = int(np.argmax(new))
            raise DataError(
                f"{table.path}, {table.place(row)}, has the class {called(values[row])!r} in {table.what} {name!r}, "
                f"which the training data lack: add such samples there or remove these."
            )
        return found if unknown is None else np.where(unknown, -1, found)


def categories(values: np.ndarray) -> Categories:
    """The classes that occur, in order."""
    return Categories([called(value) for value in np.unique(values)])


def called(value: object) -> str:
    """Name of a class: whole numbers without a decimal point."""
    if isinstance(value, (int, np.integer, np.bool_)):
        return str(int(value))
    return f"{float(value):.17g}" if isinstance(value, (float, np.floating)) else str(value)
