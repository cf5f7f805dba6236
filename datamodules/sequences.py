"""A user's own sequences of differing length, padded, with a mask."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.base import InMemory
from datamodules.encoding import Categories, Standardizer, categories, standardizer
from datamodules.holdout import without_test
from datamodules.ragged import Ragged, arrays_in, read_sequences
from datamodules.samples import Samples, Source, take
from datamodules.tabular import check, has_classes, labels
from lit_ae.batch import ConfigError, DataError

__all__ = ["Sequences"]


class Fitted(NamedTuple):
    """What the training data fix for all.

    Args:
        names: Names of the arrays or columns of the features.
        label: Name of the label.
        length: Steps that every sequence is padded to.
        x: Standardisation of each feature, fitted on the training split.
        y: Classes of the label, None where it has values.
    """

    names: list[str]
    label: str | None
    length: int
    x: Standardizer
    y: Categories | None


class Sequences(InMemory):
    """Sequences of differing length from a `.npz` or `.parquet` file: x (B, F, T), with a mask of what is no padding.

    An `.npz` file holds `values`, padded, (N, T, F) or (N, T), or one sequence after another, (ΣT, F), `lengths`, (N,)
    whole numbers, and where wanted `y`, (N,); where no sequence is padded, (N, T, F) needs no lengths. In a table a
    sequence is a list of numbers in one cell, one column per feature, or a list of lists, one per step; columns without
    lists are left out. What a file holds beyond a sequence's length is never read.

    Args:
        path: File with the training data, validation included.
        test_path: File with the test data, of the same features; without one, `test_fraction` is used.
        test_fraction: Part of the samples in `path` that is held out as test data, whatever the seed.
        columns: What is modelled, by name: columns of lists, all by default, or arrays of an `.npz` file, `values` by
            default.
        label: Column or array with a class (text or whole numbers, numbered in order) or a value per sequence.
        max_length: Steps that longer sequences are cut to and shorter ones padded to; by default the longest has all.
        standardize: Shift and scale each feature to mean 0 and variance 1 over the steps of the training split.

    Attributes:
        mean: Training mean of each feature, (F, 1): x · std + mean is in the file's units. 0 where not standardised.
        std: Training standard deviation of each feature, (F, 1). 1 where not standardised.
        column_names: Names of the columns or arrays that are x.
        class_names: Names of the classes in y, in the order of their numbers; None without classes.
    """

    def __init__(
        self,
        path: str,
        test_path: str | None = None,
        test_fraction: float = 0.1,
        columns: list[str] | None = None,
        label: str | None = None,
        max_length: int | None = None,
        standardize: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check(test_fraction, columns)
        if max_length is not None and max_length < 1:
            raise ConfigError(f"--data.max_length is {max_length}: give at least 1 step.")
        self.path, self.test_path = Path(path), None if test_path is None else Path(test_path)
        self.test_fraction, self.selected, self.label = test_fraction, columns, label
        self.max_length, self.standardize = max_length, standardize
        self._fitted: Fitted | None = None
        self._test: Samples | None = None
        self.mean, self.std = torch.zeros(()), torch.ones(())
        self.column_names: list[str] = []
        self.class_names: list[str] | None = None

    def load(self, split: Literal["train", "test"]) -> Samples:
        """x (N, F, T) float32, 0 beyond a sequence's length; mask (N, F, T); y where there is any."""
        if split == "test":
            self._opened("train")  # fits what is applied to the test data, or holds them out
            assert self._test is not None
            return self._test
        ragged = read_sequences(self.path, self.selected, self.label)
        given = None if self.test_path is None else self._read_test(self.test_path, ragged)
        n = len(ragged.lengths)
        train, test = without_test(n, self.test_fraction) if given is None else (torch.arange(n), torch.arange(0))
        rows = train[self.partition(len(train))[0]].numpy()
        longest = max(int(some.lengths.max()) for some in (ragged, given) if some is not None)
        self._fitted = fitted = self._fit(ragged, rows, self.max_length or longest)
        samples = padded(ragged, fitted)
        self._test = take(samples, test) if given is None else padded(given, fitted)
        return take(samples, train)

    def outside(self, path: Path) -> Source:
        """Sequences of the same features, padded or cut to the length of the training data; labels may lack."""
        self._opened("train")
        assert self._fitted is not None
        names, label, length, *_ = self._fitted
        if label is not None and label not in arrays_in(path):
            label = None
        ragged = self._like_training(read_sequences(path, names, label))
        if (cut := int((ragged.lengths > length).sum())) and self.max_length is None:
            warnings.warn(f"{path}: {cut:,} sequences are cut to {length:,} steps, the most in training.", stacklevel=2)
        return self.held(padded(ragged, self._fitted))

    def arrays(self, x: Tensor) -> np.ndarray:
        """In the units of the file, (B, F, T)."""
        self._opened("train")
        return (x.float().cpu() * self.std + self.mean).numpy()

    def _read_test(self, path: Path, train: Ragged) -> Ragged:
        return self._like_training(read_sequences(path, train.names, train.label), train.values.shape[1])

    def _like_training(self, ragged: Ragged, features: int | None = None) -> Ragged:
        if features is None:
            assert self._fitted is not None
            features = len(self._fitted.x.mean)
        if ragged.values.shape[1] != features:
            raise DataError(
                f"{ragged.table.path} has sequences of {ragged.values.shape[1]} features, but {self.path} of "
                f"{features}: make them agree."
            )
        return ragged

    def _fit(self, ragged: Ragged, rows: np.ndarray, length: int) -> Fitted:
        features = ragged.values.shape[1]
        x = Standardizer(np.zeros(features), np.ones(features))
        if self.standardize:
            position, seen = steps(ragged.lengths, length)
            x = standardizer(ragged.values, position[rows][seen[rows]])
            self.mean, self.std = (torch.from_numpy(part).float()[:, None] for part in x)
        y = None if ragged.y is None or not has_classes(ragged.y) else categories(ragged.y.reshape(-1))
        self.column_names, self.class_names = ragged.names, None if y is None else y.names
        return Fitted(ragged.names, ragged.label, length, x, y)


def steps(lengths: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Position of each step among all steps of all sequences, and whether there is one: both (N, length)."""
    step = np.arange(length)
    return (lengths.cumsum() - lengths)[:, None] + step, step < lengths[:, None]


def padded(ragged: Ragged, fitted: Fitted) -> Samples:
    """Sequences of one length, (N, F, T), with a mask of the same shape."""
    position, seen = steps(ragged.lengths, fitted.length)
    x = np.zeros((*seen.shape, ragged.values.shape[1]), dtype=np.float32)
    x[seen] = fitted.x(ragged.values[position[seen]])
    x = np.ascontiguousarray(x.swapaxes(1, 2))
    mask = torch.from_numpy(seen)[:, None].expand(x.shape)  # one copy for all features
    y = None if ragged.y is None else labels(ragged.table, str(ragged.label), ragged.y, fitted.y)
    return Samples(torch.from_numpy(x), y, None, mask)
