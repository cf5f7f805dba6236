"""A user's own pictures in folders."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from datamodules.base import Split
from datamodules.corrupt import unreadable
from datamodules.files import Files, PictureFiles
from datamodules.given import SUFFIXES
from datamodules.holdout import without_test
from lit_ae.batch import ConfigError, DataError

__all__ = ["ImageFolder"]

VALIDATION = ("val", "valid", "validation")
Classes = dict[str, list[Path]]


class ImageFolder(PictureFiles):
    """Pictures of any size and mode in folders: grey, palette, transparent, CMYK, 16 bits, turned by EXIF.

    `root` holds `train`, and where wanted `val` and `test`; or it is itself the training data. The folders in each are
    the classes, numbered in the order of their names, with pictures at any depth; pictures without such folders have
    no labels. Names that start with a dot are passed over.

    Args:
        root: Folder with the pictures.
        test_fraction: Part of the pictures that is held out as test data, whatever the seed, where `root` has no
            `test` folder.
    """

    def __init__(
        self,
        root: str = "data",
        test_fraction: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 < test_fraction < 1:
            raise ConfigError(f"--data.test_fraction is {test_fraction}: give a number between 0 and 1.")
        self.root, self.test_fraction = Path(root), test_fraction

    def files(self, split: Split) -> Files | None:
        """The pictures of a split, by class and name."""
        return self._splits[split]

    @property
    def known_classes(self) -> list[str] | None:
        """Names of the class folders, None where the training pictures are not at hand."""
        if self.root.is_dir():
            with suppress(DataError):
                _ = self._splits
        return self.class_names

    @cached_property
    def _splits(self) -> dict[Split, Files | None]:
        if not self.root.is_dir():
            raise DataError(f"There is no folder {self.root}: arrange pictures like this.\n{tree(self.root)}")
        try:
            folders = {entry.name for entry in self.root.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
        except OSError as error:
            unreadable(error)
        folders = {name for name in folders if not name.lower().endswith(SUFFIXES)}
        parts = folders & {"test", *VALIDATION}
        if folders and folders <= parts:
            raise DataError(f"{self.root} has no folder train: arrange pictures like this.\n{tree(self.root)}")
        split = "train" in folders and (bool(parts) or folders == {"train"})  # a class may be called train, too
        train = find(self.root / "train" if split else self.root, self.root)
        self.class_names = None if "" in train else list(train)
        files = self._listed(train)
        val = next((name for name in VALIDATION if split and name in parts), None)
        held_out = None if val is None else self._listed(find(self.root / val, self.root), self.root / val)
        if split and "test" in parts:
            test = self._listed(find(self.root / "test", self.root), self.root / "test")
            return {"train": files, "val": held_out, "test": test}
        kept, rest = without_test(len(files.paths), self.test_fraction)
        return {"train": take(files, kept), "val": held_out, "test": take(files, rest)}

    def _listed(self, found: Classes, folder: Path | None = None) -> Files:
        """Files and labels; the classes of `folder` are compared with those of the training data."""
        names = self.class_names
        paths = [path for name in found for path in found[name]]
        if folder is not None and (names is None) != ("" in found):
            has, lacks = (self.root / "train", folder) if names is not None else (folder, self.root / "train")
            raise DataError(f"{has} has class folders, but {lacks} has none: arrange both alike.")
        if names is None:
            return Files(paths)
        unknown = [name for name in found if name not in names]
        if folder is not None and unknown:
            raise DataError(
                f"{folder} has the class {unknown[0]!r}, which {self.root / 'train'} lacks: add such pictures there or "
                "remove these."
            )
        return Files(paths, torch.tensor([names.index(name) for name in found for _ in found[name]]))


def find(folder: Path, root: Path) -> Classes:
    """Pictures by class, in order; the class of pictures without a folder is "".

    Raises:
        DataError: There are none, or some have a class and some have not.
    """
    found: Classes = {}
    others: list[Path] = []
    for where, folders, names in os.walk(folder, onerror=unreadable, followlinks=True):
        names += [name for name in folders if name.lower().endswith(SUFFIXES)]  # no picture, which is to be said
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in names)
        inner = Path(where).relative_to(folder).parts
        for name in sorted(name for name in names if not name.startswith(".")):
            path = Path(where, name)
            if path.suffix.lower() in SUFFIXES:
                found.setdefault(inner[0] if inner else "", []).append(path)
            else:
                others.append(path)
    if not found and others:
        raise DataError(
            f"{folder} holds {len(others):,} files, the first {others[0].name!r}, but no pictures: give files that end "
            f"in {', '.join(SUFFIXES)}."
        )
    if not found:
        raise DataError(f"{folder} holds no pictures: arrange them like this.\n{tree(root)}")
    if len(found) > 1 and "" in found:
        raise DataError(
            f"{folder} holds class folders and, beside them, {found[''][0].name!r}: move it into one of them."
        )
    return {name: found[name] for name in sorted(found)}


def take(files: Files, index: torch.Tensor) -> Files:
    """The files at these positions."""
    return Files([files.paths[i] for i in index.tolist()], None if files.y is None else files.y[index])


def tree(root: Path) -> str:
    """The layouts that are understood."""
    return (
        f"{root}/\n"
        "  train/cat/1.jpg  class folders, or pictures without labels\n"
        "  val/cat/2.jpg    where wanted\n"
        "  test/cat/3.jpg   where wanted\n"
        f"or class folders, or pictures, right in {root}/"
    )
