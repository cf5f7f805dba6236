"""MNIST and the sets that share its format, in torchvision's layout."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from datamodules.given import PictureSet
from datamodules.layout import require
from datamodules.samples import Samples
from lit_ae.batch import DataError

__all__ = ["KMNIST", "MNIST", "FashionMNIST"]


class IDXPictures(PictureSet, ABC):
    """Grey pictures of 28×28 pixels in IDX files under `root/<folder>/raw`.

    Args:
        root: Folder that holds the data sets.
        download: Fetch the files with torchvision where they are missing.
    """

    picture_shape = (1, 28, 28)

    def __init__(self, root: str = "data", download: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root, self.download = Path(root), download

    @property
    @abstractmethod
    def folder(self) -> str:
        """Folder under root, and name of torchvision's class."""

    def load(self, split: Literal["train", "test"]) -> Samples:
        """x (N, 1, 28, 28) uint8 and labels (N,)."""
        stems = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
        files = [f"{self.folder}/raw/{stem}" for stem in stems]
        require(self.folder, self.root, files, self._fetch if self.download else None)
        pictures, labels = files[:2] if split == "train" else files[2:]
        return Samples(read_idx(self.root / pictures, 3)[:, None], read_idx(self.root / labels, 1).long())

    def _fetch(self, folder: str) -> None:
        import torchvision.datasets  # half a second that only downloads need

        getattr(torchvision.datasets, self.folder)(folder, download=True)


class MNIST(IDXPictures):
    """70,000 handwritten digits of 28×28 grey pixels, 10,000 of them the test split (LeCun et al., 1998)."""

    folder = "MNIST"


class FashionMNIST(IDXPictures):
    """70,000 pictures of clothes, 28×28 grey pixels in 10 classes (Xiao, Rasul & Vollgraf, 2017)."""

    folder = "FashionMNIST"


class KMNIST(IDXPictures):
    """70,000 cursive Japanese characters, 28×28 grey pixels in 10 classes (Clanuwat et al., 2018)."""

    folder = "KMNIST"


def read_idx(path: Path, dims: int) -> Tensor:
    """A uint8 tensor with this many dimensions from an IDX file (format of LeCun's MNIST page).

    Raises:
        DataError: The file has another format, or is cut short.
    """
    start = 4 * (dims + 1)
    with path.open("rb") as file:
        header = np.frombuffer(file.read(start), dtype=np.uint8)
        if len(header) < start or header[:4].tolist() != [0, 0, 8, dims]:
            raise DataError(f"{path} is not an IDX file of bytes in {dims} dimensions: remove it and fetch it anew.")
        shape = [int(size) for size in header[4:].view(">u4")]
        values = np.fromfile(file, dtype=np.uint8)
    if len(values) != prod(shape):
        raise DataError(
            f"{path} is damaged, it holds {len(values):,} bytes not {prod(shape):,}: remove it and fetch it anew."
        )
    return torch.from_numpy(values).reshape(shape)
