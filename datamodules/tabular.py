"""What sources of numbers share, whatever they are read from: roles, classes, standardisation, splits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.base import InMemory
from datamodules.columns import Categorical, numbers, unarranged
from datamodules.encoding import Categories, Standardizer, categories, standardizer
from datamodules.holdout import without_test
from datamodules.mapped import Mapped, layout_of
from datamodules.roles import Names, Roles, assign, choose, is_categorical
from datamodules.samples import Samples, Source, take
from datamodules.tables import Table, is_text, read
from lit_ae.batch import ConfigError, DataError, Shape

__all__ = ["Tabular", "check", "has_classes", "labels"]


class Fitted(NamedTuple):
    """What the training data fix for all.

    Args:
        path: Where they come from.
        names: Names of the arrays in each role.
        shape: Shape of one x.
        kinds: One per column of x as in `DataSpec.columns`; None where x is not of vectors of numbers.
        x: Standardisation of x, fitted on the training split; None for pictures of bytes.
        y: Classes of the label, None where it has values.
        c: One per condition: its classes, or its standardisation.
    """

    path: Path
    names: Names
    shape: Shape
    kinds: list[int] | None
    x: Standardizer | None
    y: Categories | None
    c: list[Categories | Standardizer]


class Tabular(InMemory, ABC):
    """Numbers and classes in named columns or arrays, held in memory.

    A subclass says in `read` where a table comes from. A column of k ≥ 3 classes becomes k elements of x, one of them
    1; a column of two classes one element, 0 or 1. A class that is not known is masked as a whole, with zeros in its
    place.

    Args:
        test_fraction: Part of the samples that is held out as test data, whatever the seed, where the source has no
            test data of its own.
        columns: What is modelled, by name: columns of a table, arrays of an `.npz` file. Text is modelled as classes.
        label: Column or array with a class (text or whole numbers, numbered in order) or a value per sample.
        condition: What the model is conditioned on, by name, one or several. The label gives its class, other text
            one indicator per class, numbers are standardised like x. Text alone is the label too where none is named.
        categorical: Columns whose text or whole numbers are classes; a list of names in it is a group of columns that
            are one-hot already. They are modelled too where `columns` is left out, and not standardised.
        missing: What an empty cell or NaN in x does: stop the run with its place, or be marked as not observed and
            replaced by the mean.
        standardize: Shift and scale each element of x to mean 0 and variance 1 over the training split. Classes,
            booleans and pictures of bytes are left in [0, 1].

    Attributes:
        mean: Training mean of each element, (*E): x · std + mean is in the file's units. 0 where not standardised.
        std: Training standard deviation of each element, (*E). 1 where not standardised.
        column_names: Names of the columns or arrays that are x; a class's elements are named "column=class".
        class_names: Names of the classes in y, in the order of their numbers; None without classes.
    """

    separate_test = False  # True where `read` gives test data, which are otherwise a part of the training data

    def __init__(
        self,
        test_fraction: float = 0.1,
        columns: list[str] | None = None,
        label: str | None = None,
        condition: str | list[str] | None = None,
        categorical: Categorical | None = None,
        missing: Literal["error", "mask"] = "error",
        standardize: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check(test_fraction, columns)
        self.test_fraction, self.selected, self.label = test_fraction, columns, label
        self.condition_names = [condition] if isinstance(condition, str) else condition or []
        self.categorical, self.missing, self.standardize = categorical or [], missing, standardize
        self._fitted: Fitted | None = None
        self._test: Samples | None = None
        self.mean, self.std = torch.zeros(()), torch.ones(())
        self.column_names: list[str] = []
        self.class_names: list[str] | None = None

    @abstractmethod
    def read(self, split: Literal["train", "test"]) -> Table:
        """The training data, validation included, or the test data where the source has some of its own.

        Raises:
            DataError: They are missing or damaged.
        """

    @property
    def columns(self) -> list[int] | None:
        """Kinds of the columns, where x is of vectors of numbers."""
        self._opened("train")
        assert self._fitted is not None
        return self._fitted.kinds

    def load(self, split: Literal["train", "test"]) -> Samples:
        """x (N, *E) float32, or uint8 for pictures; y, c and mask where there are any."""
        if split == "train":
            return self._load_train()
        self._opened("train")  # fits what is applied to the test data
        if not self.separate_test:
            assert self._test is not None
            return self._test
        assert self._fitted is not None
        return self._like_training(self.read("test"), self._fitted.names)

    def outside(self, path: Path) -> Source:
        """A file with the columns or arrays of the training data, whose standardisation it gets; labels may lack.

        A .npy file holds x alone, or the columns of a table side by side, and is read batch by batch.
        """
        self._opened("train")
        assert self._fitted is not None
        if path.suffix.lower() != ".npy":
            return self.held(self._brought(read(path)))
        file, sources = layout_of(path), self._fitted.names.sources
        if len(sources) > 1 and file.shape[1:] != (len(sources),):
            raise DataError(
                f"{path} holds samples of shape {file.shape[1:]}, but {self._fitted.path} has {len(sources)} columns: "
                "make them agree."
            )

        def prepare(rows: np.ndarray, first: int) -> Samples:
            columns = [rows] if len(sources) == 1 else list(rows.T)
            arrays = dict(zip(sources, columns, strict=True))
            samples = self._brought(Table(path, arrays, len(sources) > 1, first=first))
            if self.missing == "mask" and samples.mask is None:  # all batches alike
                samples = samples._replace(mask=torch.ones_like(samples.x, dtype=torch.bool))
            return samples

        return Mapped(file, self._fitted.shape, prepare)

    def _brought(self, table: Table) -> Samples:
        assert self._fitted is not None
        names = self._fitted.names
        if names.y not in table.arrays and names.y not in names.c:
            names = replace(names, y=None)
        return self._like_training(table, names)

    def named(self, x: Tensor) -> dict[str, np.ndarray] | None:
        """Columns by name, where samples are vectors that no transform has changed."""
        self._opened("train")
        assert self._fitted is not None
        if self._fitted.kinds is None or self.transforms:
            return None
        return unarranged(self.arrays(x), self._fitted.names.x)

    def arrays(self, x: Tensor) -> np.ndarray:
        """In the units of the file."""
        self._opened("train")
        return (x.float().cpu() * self.std + self.mean).numpy()

    def _like_training(self, table: Table, names: Names) -> Samples:
        assert self._fitted is not None
        path, _, shape, _, x, *_ = self._fitted
        roles = assign(table, names, self.missing)
        if (roles.x.shape[1:], roles.x.dtype == np.uint8) != (shape, x is None):
            kind = "bytes" if x is None else "numbers"
            raise DataError(
                f"{roles.table.path} has samples of shape {roles.x.shape[1:]} ({roles.x.dtype}), but {path} has "
                f"{kind} of shape {shape}: make them agree."
            )
        return self._samples(roles, self._fitted)

    def _load_train(self) -> Samples:
        table = self.read("train")
        names = choose(table, self.selected, self.label, self.condition_names, self.categorical)
        roles = assign(table, names, self.missing)
        n = len(roles.x)
        train, test = (torch.arange(n), None) if self.separate_test else without_test(n, self.test_fraction)
        rows = train[self.partition(len(train))[0]].numpy()
        self._fitted = fitted = self._fit(roles, rows)
        samples = self._samples(roles, fitted)
        if test is not None:
            self._test = take(samples, test)
        return samples if test is None else take(samples, train)

    def _fit(self, roles: Roles, rows: np.ndarray) -> Fitted:
        x = None if roles.x.dtype == np.uint8 else standardizer(roles.x, rows, roles.observed)
        if x is not None and roles.kinds is not None:
            x = x.leaving(roles.kinds)
        y = None if roles.y is None or not has_classes(roles.y) else categories(roles.y.reshape(-1))
        c: list[Categories | Standardizer] = []
        for name, values in zip(roles.names.c, roles.c, strict=True):
            if name == roles.names.y and y is not None:
                c.append(y)
            else:
                classes = is_categorical(roles.table, values, name in self.categorical)
                c.append(categories(values) if classes else standardizer(values, rows))
        self.column_names = [element for column in roles.names.x for element in column.elements]
        self.class_names = None if y is None else y.names
        if x is not None and self.standardize:
            self.mean, self.std = torch.from_numpy(x.mean).float(), torch.from_numpy(x.std).float()
        return Fitted(roles.table.path, roles.names, roles.x.shape[1:], roles.kinds, x, y, c)

    def _samples(self, roles: Roles, fitted: Fitted) -> Samples:
        observed = roles.observed
        if fitted.x is None:
            x = roles.x if observed is None else np.where(observed, roles.x, np.uint8(0))
        elif self.standardize:
            x = fitted.x(roles.x, observed)
        else:
            x = (roles.x if observed is None else np.where(observed, roles.x, fitted.x.mean)).astype(np.float32)
        y = None if roles.y is None else labels(roles.table, str(roles.names.y), roles.y, fitted.y)
        return Samples(
            torch.from_numpy(np.ascontiguousarray(x)),
            y,
            self._conditions(roles, fitted, y),
            None if observed is None else torch.from_numpy(observed),
        )

    def _conditions(self, roles: Roles, fitted: Fitted, y: Tensor | None) -> Tensor | None:
        """(N,) class indices where the label alone is the condition, else (N, *C) float32."""
        if not roles.c:
            return None
        if roles.names.c == (roles.names.y,) and fitted.y is not None:
            return y
        parts = []
        for name, values, how in zip(roles.names.c, roles.c, fitted.c, strict=True):
            if isinstance(how, Categories):
                parts.append(np.eye(len(how.names), dtype=np.float32)[how.index(values, roles.table, name)])
            else:
                part = how(numbers(roles.table, name, values))
                parts.append(part[:, None] if part.ndim == 1 else part)
        return torch.from_numpy(parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1))


def check(test_fraction: float, columns: list[str] | None) -> None:
    """Refuse arguments that no file could suit."""
    if not 0 < test_fraction < 1:
        raise ConfigError(f"--data.test_fraction is {test_fraction}: give a number between 0 and 1.")
    if columns is not None and not columns:
        raise ConfigError("--data.columns is empty: name at least one, or leave it out.")


def labels(table: Table, name: str, y: np.ndarray, classes: Categories | None) -> Tensor:
    """Class numbers (N,) int64, or values, (N,) or (N, F), in float32 where there are no classes."""
    if classes is None:
        return torch.from_numpy(numbers(table, name, y).astype(np.float32))
    return torch.from_numpy(classes.index(y.reshape(-1), table, name))


def has_classes(y: np.ndarray) -> bool:
    """Whether labels are classes: one per sample, of text or whole numbers."""
    if is_text(y) or y.size > len(y):
        return y.size == len(y)
    return bool((y == np.floor(y)).all())
