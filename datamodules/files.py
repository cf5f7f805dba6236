"""Pictures in files, larger than memory: decoded by worker processes, batch by batch."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any, Literal, NamedTuple, overload

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.base import DataModule, Split
from datamodules.corrupt import undecodable, warn
from datamodules.decoding import Decoder, Decoding, attempt, errors, stack
from datamodules.given import given_arrays, listed, unlabelled, workers
from datamodules.samples import Resident, Samples, Source
from datamodules.transforms import pair
from lit_ae.batch import ConfigError, DataError, Shape

__all__ = ["Decoded", "Files", "PictureFiles"]


class Files(NamedTuple):
    """Picture files with what is known of each.

    Args:
        paths: One file per sample.
        y: Labels, (N,), or attributes, (N, F).
    """

    paths: Sequence[Path]
    y: Tensor | None = None


class PictureFiles(DataModule, ABC):
    """Pictures in files, decoded to uint8 by worker processes; they need not fit in memory.

    A subclass lists the files of a split in `files`. Pictures of any size and mode are turned upright (EXIF), laid on
    white where they are transparent, cropped around the centre and resized.

    Args:
        size: Height and width of the samples in pixels; one number for both.
        channels: 1 for grey, 3 for colour.
        crop: Side in pixels of the centred square that is cut out before resizing.
        num_workers: Processes that decode; 0 decodes in the main process.
        on_error: What a file that does not decode does: stop the run with its name, or be left out, named on stderr and
            counted. To leave files out, all of them are decoded once before the splits are made; one that breaks after
            that stops the run all the same.
        memory_mib: A split whose decoded pictures take at most so many MiB is decoded once and held in memory by each
            process; a larger one is decoded anew in every epoch.
    """

    def __init__(
        self,
        size: int | tuple[int, int] = 64,
        channels: Literal[1, 3] = 3,
        crop: int | None = None,
        num_workers: int = 2,
        on_error: Literal["raise", "skip"] = "raise",
        memory_mib: int = 1024,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_workers < 0:
            raise ConfigError(f"--data.num_workers is {num_workers}: give 0 or more.")
        if memory_mib < 0:
            raise ConfigError(f"--data.memory_mib is {memory_mib}: give 0 or more.")
        if crop is not None and crop < 1:
            raise ConfigError(f"--data.crop is {crop}: give at least 1 pixel.")
        self.decoder = Decoder(pair(size, "--data"), channels, crop)
        self.num_workers, self.on_error, self.memory_mib = num_workers, on_error, memory_mib

    @abstractmethod
    def files(self, split: Split) -> Files | None:
        """The files of a split, in a fixed order; None for "val" holds `val_fraction` of "train" out.

        Raises:
            DataError: They are missing.
        """

    def open(self, split: Split) -> Source | None:
        """The files of a split, decoded where they fit in memory, without damaged ones where these are left out."""
        files = self.files(split)
        if files is None:
            return None
        if self.condition == "label" and files.y is None:
            raise ConfigError("--data.condition is label, but the data have no labels: leave it out.")
        if len(files.paths) * prod(self.decoder.shape) <= self.memory_mib * 2**20:
            return self._hold(files, split)
        skips = self.on_error == "skip"
        if skips:
            files = leave_out(files, problems(files, self.decoder, self.num_workers), split)
        return Decoded(files, self.decoder, self.num_workers, self.condition == "label", skips=skips)

    def _hold(self, files: Files, split: Split) -> Resident:
        x = torch.empty(len(files.paths), *self.decoder.shape, dtype=torch.uint8)
        damaged: list[str] = []
        n = 0
        for decoded, found in once(files, self.decoder, self.num_workers, attempt):
            problem = next(filter(None, found), None)
            if problem is not None and self.on_error == "raise":
                raise undecodable(problem)
            damaged += found
            if decoded is not None:
                x[n : n + len(decoded)] = decoded
                n += len(decoded)
        paths, y = leave_out(files, damaged, split)
        return Resident(Samples(x[:n], y, y if self.condition == "label" else None), names=Called(paths))

    @property
    def known_classes(self) -> Sequence[str] | None:
        """Names of the classes, where they are known without an error."""
        return None

    def outside(self, path: Path) -> Source:
        """A folder of pictures at any depth or one, decoded as the run's own are, or an array of their shape.

        Raises:
            DataError: They are missing, damaged or of another kind.
        """
        labelled = self.condition == "label"
        if (source := given_arrays(path, self.decoder.shape, labelled)) is not None:
            return source
        return given_files(path, self.known_classes, labelled, self.decoder, self.on_error, self.num_workers)


def given_files(
    path: Path,
    classes: Sequence[str] | None,
    labelled: bool,
    decoder: Decoder,
    on_error: Literal["raise", "skip"],
    num_workers: int = 2,
) -> Decoded:
    """A folder of pictures at any depth or one, without damaged ones where these are left out.

    Raises:
        DataError: They are missing or damaged, or lack the labels that are the condition.
    """
    paths, y = listed(path, classes)
    if y is None and labelled:
        raise unlabelled(path)
    num_workers = min(workers(len(paths)), num_workers)
    files, names, skips = Files(paths, y), paths.names, on_error == "skip"
    if skips:
        damaged = problems(files, decoder, num_workers)
        files = leave_out(files, damaged, "given")
        names = [name for name, problem in zip(names, damaged, strict=True) if not problem]
    return Decoded(files, decoder, num_workers, labelled, names, skips)


def once(files: Files, decoder: Decoder, num_workers: int, collate: Callable[[list[Tensor | str]], Any]) -> DataLoader:
    """All files in order; the loader draws from a generator of its own."""
    work = Decoding(files.paths, decoder)
    own = torch.Generator()
    return DataLoader(work, batch_size=64, num_workers=num_workers, collate_fn=collate, generator=own)


def problems(files: Files, decoder: Decoder, num_workers: int) -> list[str]:
    """What is wrong with each file, "" where nothing is."""
    return [problem for batch in once(files, decoder, num_workers, errors) for problem in batch]


class Called(Sequence[str]):
    """Paths as text, below the deepest folder that holds them all.

    Args:
        paths: The paths.
        folder: That folder, where it is known.
    """

    def __init__(self, paths: Sequence[Path], folder: str | None = None) -> None:
        self.paths, self._folder = paths, folder

    @property
    def folder(self) -> str:
        """Where all of them lie."""
        if self._folder is None:
            self._folder = os.path.commonpath({path.parent for path in self.paths}) if self.paths else ""
        return self._folder

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Called: ...

    def __getitem__(self, index: int | slice) -> str | Called:
        if isinstance(index, slice):
            return Called(self.paths[index], self.folder)
        return self.paths[index].relative_to(self.folder).as_posix()

    def __len__(self) -> int:
        return len(self.paths)


def leave_out(files: Files, damaged: list[str], split: str) -> Files:
    """The files without an error; the others are named and counted."""
    whole = torch.tensor([not error for error in damaged], dtype=torch.bool)
    if whole.all():
        return files
    warn([problem for problem in damaged if problem], len(damaged), split)
    paths = [path for path, error in zip(files.paths, damaged, strict=True) if not error]
    return Files(paths, None if files.y is None else files.y[whole])


class Decoded(Source):
    """Picture files as a source of batches.

    Args:
        files: The files of a split.
        decoder: How a file becomes a tensor.
        num_workers: Processes that decode.
        label_as_condition: Whether labels are also what the model is conditioned on.
        names: What each file is called; by default its path below the folder that holds all of them.
        skips: Whether damaged files were left out, so that none is expected.
    """

    def __init__(
        self,
        files: Files,
        decoder: Decoder,
        num_workers: int,
        label_as_condition: bool = False,
        names: Sequence[str] | None = None,
        skips: bool = False,
    ) -> None:
        super().__init__()
        self._names, self.skips = names, skips
        self.files, self.decoder, self.num_workers = files, decoder, num_workers
        self.label_as_condition = label_as_condition
        if files.y is not None and len(files.y) != len(files.paths):
            raise DataError(f"{len(files.paths):,} pictures, but {len(files.y):,} labels.")

    @property
    def shape(self) -> Shape:
        """(C, H, W)."""
        return self.decoder.shape

    @property
    def names(self) -> Sequence[str]:
        """What each file is called."""
        return Called(self.files.paths) if self._names is None else self._names

    @property
    def element_size(self) -> int:
        """A byte."""
        return 1

    @property
    def labels(self) -> Tensor | None:
        """All labels or attributes."""
        return self.files.y

    @property
    def condition_shape(self) -> Shape | None:
        """The labels' shape where they are the condition."""
        return tuple(self.files.y.shape[1:]) if self.label_as_condition and self.files.y is not None else None

    def __len__(self) -> int:
        return len(self.files.paths)

    def value_range(self, index: Tensor | None) -> tuple[float, float] | None:
        """[0, 1]."""
        return 0.0, 1.0

    def fetch(self, batches: Iterable[Tensor]) -> Iterator[Samples]:
        """Decode batch by batch, ahead of their use where there are workers.

        Raises:
            DataError: A file does not decode.
        """
        positions = list(batches)
        loader = DataLoader(
            Decoding(self.files.paths, self.decoder),
            batch_sampler=[index.tolist() for index in positions],
            num_workers=self.num_workers,
            collate_fn=stack,
            generator=torch.Generator(),  # its own: a loader draws a seed for its workers
        )
        for index, x in zip(positions, loader, strict=True):
            if isinstance(x, str):
                raise undecodable(x, self.skips)
            y = None if self.files.y is None else self.files.y[index]
            yield Samples(x, y, y if self.label_as_condition else None)
