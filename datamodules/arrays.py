"""A user's own numbers: arrays and tables in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.base import InMemory
from datamodules.encoding import Categories, Standardizer, categories, standardizer
from datamodules.holdout import without_test
from datamodules.roles import Names, Roles, assign, choose, is_categorical, numbers
from datamodules.samples import Samples, take
from datamodules.tables import is_text, read
from lit_ae.batch import ConfigError, DataError, Shape

__all__ = ["Arrays"]


class Fitted(NamedTuple):
    """What the training data fix for all.

    Args:
        names: Names of the arrays in each role.
        shape: Shape of one x.
        x: Standardisation of x, fitted on the training split; None for pictures of bytes.
        y: Classes of the label, None where it has values.
        c: One per condition: its classes, or its standardisation.
    """

    names: Names
    shape: Shape
    x: Standardizer | None
    y: Categories | None
    c: list[Categories | Standardizer]


class Arrays(InMemory):
    """Numbers from a `.npy`, `.npz`, `.csv` or `.parquet` file, held in memory.

    A table's columns of numbers are x, (N, D); text columns are left out. An `.npz` file holds x and, where wanted, y,
    c and a mask (True where x is observed), a `.npy` file x alone, samples first and of any shape. Arrays of bytes are
    pictures, (N, H, W), (N, H, W, C) or (N, C, H, W), scaled from 0..255 to [0, 1]; arrays of booleans are 0 and 1.

    Args:
        path: File with the training data, validation included.
        test_path: File with the test data, of the same columns or arrays; without one, `test_fraction` is used.
        test_fraction: Part of the samples in `path` that is held out as test data, whatever the seed.
        columns: What is modelled, by name: columns of a table, arrays of an `.npz` file.
        label: Column or array with a class (text or whole numbers, numbered in order) or a value per sample.
        condition: What the model is conditioned on, by name, one or several. The label gives its class, other text
            one indicator per class, numbers are standardised like x. Text alone is the label too where none is named.
        missing: What an empty cell or NaN in x does: stop the run with its place, or be marked as not observed and
            replaced by the mean.
        standardize: Shift and scale each element of x to mean 0 and variance 1 over the training split. Pictures of
            bytes and booleans are left in [0, 1].

    Attributes:
        mean: Training mean of each element, (*E): x · std + mean is in the file's units. 0 where not standardised.
        std: Training standard deviation of each element, (*E). 1 where not standardised.
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
        condition: str | list[str] | None = None,
        missing: Literal["error", "mask"] = "error",
        standardize: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 < test_fraction < 1:
            raise ConfigError(f"--data.test_fraction is {test_fraction}: give a number between 0 and 1.")
        if columns is not None and not columns:
            raise ConfigError("--data.columns is empty: name at least one, or leave it out.")
        self.path, self.test_path = Path(path), None if test_path is None else Path(test_path)
        self.test_fraction, self.selected, self.label = test_fraction, columns, label
        self.condition_names = [condition] if isinstance(condition, str) else condition or []
        self.missing, self.standardize = missing, standardize
        self._fitted: Fitted | None = None
        self._test: Samples | None = None
        self.mean, self.std = torch.zeros(()), torch.ones(())
        self.column_names: list[str] = []
        self.class_names: list[str] | None = None

    @property
    def columns(self) -> list[int] | None:
        """All numeric, where x is of vectors of numbers."""
        self._opened("train")
        assert self._fitted is not None
        _, shape, x, *_ = self._fitted
        return [0] * shape[0] if len(shape) == 1 and x is not None else None

    def load(self, split: Literal["train", "test"]) -> Samples:
        """x (N, *E) float32, or uint8 for pictures; y, c and mask where there are any."""
        if split == "train":
            return self._load_train()
        self._opened("train")  # fits what is applied to the test data
        if self.test_path is None:
            assert self._test is not None
            return self._test
        assert self._fitted is not None
        names, shape, x, *_ = self._fitted
        roles = assign(read(self.test_path), names, self.missing)
        if (roles.x.shape[1:], roles.x.dtype == np.uint8) != (shape, x is None):
            kind = "bytes" if x is None else "numbers"
            raise DataError(
                f"{self.test_path} has samples of shape {roles.x.shape[1:]} ({roles.x.dtype}), but {self.path} has "
                f"{kind} of shape {shape}: make them agree."
            )
        return self._samples(roles, self._fitted)

    def _load_train(self) -> Samples:
        table = read(self.path)
        roles = assign(table, choose(table, self.selected, self.label, self.condition_names), self.missing)
        n = len(roles.x)
        train, test = (torch.arange(n), None) if self.test_path else without_test(n, self.test_fraction)
        rows = train[self.partition(len(train))[0]].numpy()
        self._fitted = fitted = self._fit(roles, rows)
        samples = self._samples(roles, fitted)
        if test is not None:
            self._test = take(samples, test)
        return samples if test is None else take(samples, train)

    def _fit(self, roles: Roles, rows: np.ndarray) -> Fitted:
        x = None if roles.x.dtype == np.uint8 else standardizer(roles.x, rows, roles.observed)
        y = None if roles.y is None or not has_classes(roles.y) else categories(roles.y.reshape(-1))
        c: list[Categories | Standardizer] = []
        for name, values in zip(roles.names.c, roles.c, strict=True):
            if name == roles.names.y and y is not None:
                c.append(y)
            else:
                c.append(categories(values) if is_categorical(roles.table, values) else standardizer(values, rows))
        self.column_names, self.class_names = roles.names.x, None if y is None else y.names
        if x is not None and self.standardize:
            self.mean, self.std = torch.from_numpy(x.mean).float(), torch.from_numpy(x.std).float()
        return Fitted(roles.names, roles.x.shape[1:], x, y, c)

    def _samples(self, roles: Roles, fitted: Fitted) -> Samples:
        table, names, observed = roles.table, roles.names, roles.observed
        if fitted.x is None:
            x = roles.x if observed is None else np.where(observed, roles.x, np.uint8(0))
        elif self.standardize:
            x = fitted.x(roles.x, observed)
        else:
            x = (roles.x if observed is None else np.where(observed, roles.x, fitted.x.mean)).astype(np.float32)
        y = None
        if roles.y is not None and fitted.y is not None:
            y = torch.from_numpy(fitted.y.index(roles.y.reshape(-1), table, str(names.y)))
        elif roles.y is not None:
            y = torch.from_numpy(numbers(table, str(names.y), roles.y).astype(np.float32))
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


def has_classes(y: np.ndarray) -> bool:
    """Whether labels are classes: one per sample, of text or whole numbers."""
    if is_text(y) or y.size > len(y):
        return y.size == len(y)
    return bool((y == np.floor(y)).all())
