"""A user's own numbers: arrays and tables in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from datamodules.tables import Table, read
from datamodules.tabular import Tabular

__all__ = ["Arrays"]


class Arrays(Tabular):
    """Numbers and classes from a `.npy`, `.npz`, `.csv` or `.parquet` file, held in memory.

    A table's columns of numbers are x, (N, D); text columns are left out where `columns` and `categorical` do not name
    them. An `.npz` file holds x and, where wanted, y, c and a mask (True where x is observed), a `.npy` file x alone,
    samples first and of any shape. Arrays of bytes are pictures, (N, H, W), (N, H, W, C) or (N, C, H, W), scaled from
    0..255 to [0, 1]; arrays of booleans are 0 and 1.

    Args:
        path: File with the training data, validation included.
        test_path: File with the test data, of the same columns or arrays; without one, `test_fraction` is used.
    """

    def __init__(self, path: str, test_path: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path, self.test_path = Path(path), None if test_path is None else Path(test_path)
        self.separate_test = test_path is not None

    def read(self, split: Literal["train", "test"]) -> Table:
        """The file of a split."""
        return read(self.path if split == "train" or self.test_path is None else self.test_path)
