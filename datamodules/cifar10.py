"""CIFAR-10 in torchvision's layout."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from datamodules.given import PictureSet
from datamodules.layout import require
from datamodules.samples import Samples
from lit_ae.batch import DataError

__all__ = ["CIFAR10"]


class CIFAR10(PictureSet):
    """60,000 colour photographs of 32×32 pixels in 10 classes, 10,000 of them the test split (Krizhevsky, 2009).

    Args:
        root: Folder that holds `cifar-10-batches-py`.
        download: Fetch the files with torchvision where they are missing.
    """

    picture_shape = (3, 32, 32)
    folders = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

    def __init__(self, root: str = "data", download: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root, self.download = Path(root), download

    def load(self, split: Literal["train", "test"]) -> Samples:
        """x (N, 3, 32, 32) uint8 and labels (N,)."""
        files = [f"cifar-10-batches-py/{name}" for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]]
        require("CIFAR10", self.root, files, self._fetch if self.download else None)
        chosen = files[:-1] if split == "train" else files[-1:]
        parts = [read_batch(self.root / file) for file in chosen]
        x = torch.cat([torch.from_numpy(pixels) for pixels, _ in parts]).reshape(-1, 3, 32, 32)
        return Samples(x, torch.tensor([label for _, labels in parts for label in labels]))

    def _fetch(self, folder: str) -> None:
        from torchvision.datasets import CIFAR10 as Official  # half a second that only downloads need

        Official(folder, download=True)


class ArraysOnly(pickle.Unpickler):
    """Reads pickled numpy arrays and plain values, and refuses to import anything else."""

    allowed = frozenset({"_reconstruct", "ndarray", "dtype", "encode"})

    def find_class(self, module: str, name: str) -> Any:
        """What rebuilds an array, and nothing else."""
        if name in self.allowed and module.split(".")[0] in ("numpy", "_codecs"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def read_batch(path: Path) -> tuple[np.ndarray, list[int]]:
    """Pixels (N, 3072) uint8, channel by channel, and labels.

    Raises:
        DataError: The file is not a whole batch.
    """
    try:
        with path.open("rb") as file:
            entry = ArraysOnly(file, encoding="latin1").load()
        pixels, labels = np.asarray(entry["data"], dtype=np.uint8), [int(label) for label in entry["labels"]]
        if pixels.ndim != 2 or pixels.shape != (len(labels), 3072):
            raise ValueError(f"{len(labels)} labels for pixels of shape {pixels.shape}")
    except (pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is not a whole CIFAR-10 batch ({error}): remove it and fetch it anew.") from error
    return pixels, labels
