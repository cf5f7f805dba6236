"""Pictures from elsewhere: a folder of files, one file, or an array, as samples of one size."""

from __future__ import annotations

import os
from abc import ABC
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch

from datamodules.base import InMemory
from datamodules.corrupt import unreadable
from datamodules.decoding import Decoder
from datamodules.mapped import Mapped, layout_of
from datamodules.samples import Resident, Samples, Source
from datamodules.tables import read
from lit_ae.batch import ConfigError, DataError, Shape

__all__ = ["SUFFIXES", "Paths", "PictureSet", "given_arrays", "listed"]

SUFFIXES = (".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
ARRAYS = (".npy", ".npz")


class Paths(Sequence[Path]):
    """Files below a folder, each made a `Path` when it is asked for.

    Args:
        folder: The folder.
        names: Paths below it.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder, self.names = folder, names

    @overload
    def __getitem__(self, index: int) -> Path: ...

    @overload
    def __getitem__(self, index: slice) -> Paths: ...

    def __getitem__(self, index: int | slice) -> Path | Paths:
        if isinstance(index, slice):
            return Paths(self.folder, self.names[index])
        return self.folder / self.names[index]

    def __len__(self) -> int:
        return len(self.names)


def listed(path: Path, classes: Sequence[str] | None) -> tuple[Paths, torch.Tensor | None]:
    """Picture files in the order of their names, at any depth, and labels where all lie in folders of known classes.

    Raises:
        ConfigError: It is a file of no known format.
        DataError: There are no pictures.
    """
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            known = ", ".join([*SUFFIXES, *ARRAYS])
            raise ConfigError(f"{path} is of no known format: give a folder of pictures, or a file in {known}.")
        return Paths(path.parent, [path.name]), None
    if not path.is_dir():
        raise DataError(f"There is no {path}: give a folder of pictures, or a file, that exists.")
    names: list[str] = []
    others = 0
    for where, folders, files in os.walk(path, onerror=unreadable, followlinks=True):
        files += [name for name in folders if name.lower().endswith(SUFFIXES)]  # no picture, which is to be said
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in files)
        inner = os.path.relpath(where, path)
        for name in sorted(name for name in files if not name.startswith(".")):
            if name.lower().endswith(SUFFIXES):
                names.append(name if inner == "." else f"{inner}/{name}".replace(os.sep, "/"))
            else:
                others += 1
    if not names:
        what = f"{others:,} files, but no pictures" if others else "no pictures"
        raise DataError(f"{path} holds {what}: give files that end in {', '.join(SUFFIXES)}.")
    numbers = {name: number for number, name in enumerate(classes or ())}
    firsts = [name.split("/", 1)[0] if "/" in name else "" for name in names]
    if not all(first in numbers for first in firsts):
        return Paths(path, names), None
    return Paths(path, names), torch.tensor([numbers[first] for first in firsts])


def given_arrays(path: Path, shape: Shape, labelled: bool) -> Source | None:
    """Pictures of a .npy or .npz file, (N, H, W), (N, C, H, W) or (N, H, W, C); None for other files.

    Args:
        path: Bytes in 0..255, or numbers in [0, 1]; an .npz file holds them as x, and labels as y where it has some.
        shape: (C, H, W) of each.
        labelled: Whether the model is conditioned on the label.

    Raises:
        DataError: They are of another size, or of other values.
    """
    if path.suffix.lower() == ".npy":
        if labelled:
            raise unlabelled(path)
        file = layout_of(path)
        pictures(path, np.zeros((0, *file.shape[1:]), file.dtype), shape)  # its shape before its content
        return Mapped(file, shape, lambda rows, first: Samples(pictures(path, rows, shape, first)))
    if path.suffix.lower() != ".npz":
        return None
    arrays = read(path).arrays
    names = ["x"] if "x" in arrays else [name for name in arrays if name not in ("y", "c", "mask")]
    if len(names) != 1:
        raise DataError(f"{path} has no array 'x' but {', '.join(map(repr, arrays))[:200]}: call the pictures x.")
    x, y = pictures(path, arrays[names[0]], shape), arrays.get("y")
    if y is not None and (y.shape != (len(x),) or y.dtype.kind not in "biu"):
        raise DataError(f"{path} has {len(x):,} pictures but y of shape {y.shape} ({y.dtype}): give a number for each.")
    if y is None and labelled:
        raise unlabelled(path)
    label = None if y is None else torch.from_numpy(y.astype(np.int64))
    return Resident(Samples(x, label, label if labelled else None))


def pictures(path: Path, array: np.ndarray, shape: Shape, first: int = 0) -> torch.Tensor:
    """(N, C, H, W): uint8 in 0..255, or float32 in [0, 1]."""
    channels, height, width = shape
    if array.shape[1:] == (height, width) and channels == 1:
        array = array[:, None]
    elif array.shape[1:] == (height, width, channels) and array.shape[1:] != shape:
        array = np.moveaxis(array, -1, 1)
    if array.shape[1:] != shape:
        raise DataError(
            f"{path} holds samples of shape {array.shape[1:]}, the run takes pictures of {shape}: give that size, "
            "or picture files, which are resized."
        )
    if array.dtype.kind == "b":
        array = array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind in "iuf":
        top = 1.0 if array.dtype.kind == "f" else 255
        wrong = ~((array >= 0) & (array <= top)) if array.dtype != np.uint8 else np.zeros(0, bool)
        if wrong.any():
            row = int(np.argwhere(wrong)[0, 0])
            raise DataError(
                f"{path}, sample {first + row}, has the value {array[wrong][0]:g}: pictures are bytes in 0..255, or "
                "numbers in [0, 1]."
            )
        return torch.from_numpy(np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else np.uint8))
    raise DataError(f"{path} holds {array.dtype}: pictures are bytes in 0..255, or numbers in [0, 1].")


def unlabelled(path: Path) -> DataError:
    """Says what a model with a condition lacks."""
    return DataError(
        f"{path} has no labels, which the run is conditioned on: give pictures in folders that are called like its "
        "classes, or an .npz file with x and y."
    )


class PictureSet(InMemory, ABC):
    """A set of pictures of one size.

    Args:
        on_error: What a picture file given from elsewhere that does not decode does: stop the command with its name, or
            be left out, named on stderr and counted.

    Attributes:
        picture_shape: (C, H, W).
        folders: What folders of pictures from elsewhere are called whose class is known, in the order of the classes.
    """

    picture_shape: tuple[int, int, int]
    folders: Sequence[str] = tuple("0123456789")

    def __init__(self, on_error: Literal["raise", "skip"] = "raise", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_error = on_error

    def outside(self, path: Path) -> Source:
        """A folder of pictures or one, decoded to this size and these channels, or an array of this shape.

        Raises:
            DataError: They are missing, damaged or of another kind.
        """
        from datamodules.files import given_files  # which imports this module

        labelled = self.condition == "label"
        if (source := given_arrays(path, self.picture_shape, labelled)) is not None:
            return source
        channels, *size = self.picture_shape
        decoder = Decoder((size[0], size[1]), channels, None)
        return given_files(path, self.folders, labelled, decoder, self.on_error)


def workers(n: int) -> int:
    """Processes that decode n pictures: none where they would take longer to start."""
    return 2 if n > 1000 else 0
