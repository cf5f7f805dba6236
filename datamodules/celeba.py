"""CelebA in torchvision's layout."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from datamodules.base import Split
from datamodules.files import Files, PictureFiles
from datamodules.layout import require
from lit_ae.batch import DataError

__all__ = ["CelebA"]

PARTS: dict[str, int] = {"train": 0, "val": 1, "test": 2}


class CelebA(PictureFiles):
    """202,599 photographs of faces with 40 attributes each, in the official splits (Liu et al., 2015).

    The attributes are `y`, (40,) zeros and ones.

    Args:
        root: Folder that holds `celeba`.
        download: Fetch the files with torchvision (needs the package gdown) where they are missing.
        size: Height and width of the samples in pixels; one number for both.
        channels: 1 for grey, 3 for colour.
        crop: Side in pixels of the centred square that is cut out before resizing, by default 148 of the
            files' 218×178.
    """

    def __init__(
        self,
        root: str = "data",
        download: bool = False,
        size: int | tuple[int, int] = 64,
        channels: Literal[1, 3] = 3,
        crop: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(size=size, channels=channels, crop=crop or 148, **kwargs)
        self.root, self.download = Path(root), download

    def files(self, split: Split) -> Files:
        """Pictures of an official split, with their attributes."""
        names, parts, attributes = self._tables
        rows = np.flatnonzero(parts == PARTS[split])
        folder = self.root / "celeba" / "img_align_celeba"
        return Files([folder / names[row] for row in rows], torch.from_numpy(attributes[rows]).float())

    @cached_property
    def _tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """File names, official parts (0 train, 1 validation, 2 test) and attributes (N, 40) in 0 and 1."""
        lists = ["celeba/list_eval_partition.txt", "celeba/list_attr_celeba.txt"]
        require(
            "CelebA", self.root, [*lists, "celeba/img_align_celeba/000001.jpg"], self._fetch if self.download else None
        )
        partition, table = (self.root / name for name in lists)
        try:
            parts = np.loadtxt(partition, dtype=[("name", "U32"), ("part", np.int8)], ndmin=1)
            with table.open() as file:
                width = len([next(file), next(file)][1].split())
            rows = np.loadtxt(table, dtype=[("name", "U32"), ("values", np.int8, (width,))], skiprows=2, ndmin=1)
        except (ValueError, StopIteration) as error:
            raise DataError(f"{partition} or {table} is damaged ({error}): remove both and fetch them anew.") from error
        if not np.array_equal(parts["name"], rows["name"]):
            raise DataError(f"{partition} and {table} do not list the same pictures: remove both and fetch them anew.")
        return parts["name"], parts["part"], (rows["values"] > 0).astype(np.uint8)

    def _fetch(self, folder: str) -> None:
        from torchvision.datasets import CelebA as Official  # half a second that only downloads need

        Official(folder, download=True)
