"""Which arrays of a table are x, y, c and the mask."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np

from datamodules.columns import Categorical, Column, arrange, flat, is_words
from datamodules.tables import Table, is_text
from lit_ae.batch import ConfigError, DataError

__all__ = ["Names", "Roles", "assign", "choose", "complete", "is_categorical"]


@dataclass(frozen=True)
class Names:
    """Names of the arrays in each role.

    Args:
        x: What is modelled, side by side.
        y: The label.
        c: The condition.
        mask: True where x is observed.
    """

    x: list[Column]
    y: str | None = None
    c: tuple[str, ...] = ()
    mask: str | None = None

    @property
    def sources(self) -> list[str]:
        """Names of all that x is made of."""
        return [name for column in self.x for name in column.sources]


@dataclass(frozen=True)
class Roles:
    """Arrays of a table by role, as they are in the file.

    Args:
        table: Where they come from.
        names: What they are called there.
        x: (N, *E): uint8 (pictures channel first; True is 255) or numbers, NaN only where not observed.
        observed: (N, *E), None where nothing is missing.
        y: (N,) or (N, F).
        c: One per name, (N,) numbers or text, or (N, *C).
        kinds: One per column of x as in `DataSpec.columns`; None where x is not of vectors of numbers.
    """

    table: Table
    names: Names
    x: np.ndarray
    observed: np.ndarray | None
    y: np.ndarray | None
    c: list[np.ndarray]
    kinds: list[int] | None = None


def choose(
    table: Table, columns: list[str] | None, label: str | None, condition: list[str], categorical: Categorical
) -> Names:
    """Fill in what the user did not name.

    An archive's arrays x, y, c and mask play these roles; of a table every column of numbers or of declared classes is
    x that is not the label or the condition, and has a name. A condition of classes is the label too where none is
    named.

    Raises:
        ConfigError: A name is not in the file, or none can be chosen for x.
    """
    arrays = table.arrays
    if not table.tabular:
        label = "y" if label is None and "y" in arrays else label
        condition = ["c"] if not condition and "c" in arrays else condition
    if condition == ["label"] and "label" not in arrays:
        if label is None and table.label is None:
            raise ConfigError(f"--data.condition is label, but no label of {table.path} is named: give --data.label.")
        condition = [label or str(table.label)]
    c = {name: table.get(name, "--data.condition") for name in condition}
    declared = flat(table, categorical)
    if label is None and len(condition) == 1 and is_categorical(table, c[condition[0]], condition[0] in declared):
        label = condition[0]
    if label is not None:
        table.get(label, "--data.label")
    mask = None if table.tabular or "mask" not in arrays else "mask"
    taken = {label, mask, *condition}
    if label is None and table.label is not None:
        label = table.label
        taken |= {label} - {*declared}
    names = candidates(table, [name for name in arrays if name not in taken], declared) if columns is None else columns
    for name in names:
        table.get(name, "--data.columns")
    idle = next((name for name in declared if name not in (*names, label, *condition)), None)
    if idle is not None:
        raise ConfigError(f"--data.categorical names {idle!r}, which is not modelled: add it to --data.columns.")
    return Names(arrange(table, names, columns is not None, categorical), label, tuple(condition), mask)


def candidates(table: Table, names: list[str], declared: list[str]) -> list[str]:
    """What x is made of where the user does not say."""
    if not table.tabular:
        if "x" in names or len(names) == 1:
            return ["x"] if "x" in names else names
        shown = ", ".join(map(repr, names)) or "only the label, condition and mask"
        raise ConfigError(f"{table.path} has no array 'x' but {shown}: name what is modelled with --data.columns.")
    named = [name for name in names if name and not name.startswith("__index_level_")]  # pandas' unnamed indices
    words = [name for name in named if name not in declared and is_words(table.arrays[name])]
    if words:
        shown = ", ".join(map(repr, words))
        warnings.warn(
            f"{table.path}: columns of text are left out: {shown[:300]} (--data.categorical models them as classes).",
            stacklevel=2,
        )
    chosen = [name for name in named if name not in words]
    if not chosen:
        raise ConfigError(f"{table.path} has no column of numbers to model: name some with --data.columns.")
    return chosen


def assign(table: Table, names: Names, missing: Literal["error", "mask"]) -> Roles:
    """The arrays in their roles, checked against each other.

    Raises:
        DataError: A name is not in the file, or arrays do not fit each other, or hold what they must not.
    """
    arrays = table.arrays
    wanted = [*names.sources, *names.c, *([] if names.y is None else [names.y])]
    absent = next((name for name in wanted if name not in arrays), None)
    if absent is not None:
        raise DataError(f"{table.path} has no {table.what} {absent!r}, which the training data have: make them agree.")
    parts = [column.read(table) for column in names.x]
    y = None if names.y is None else arrays[names.y]
    c = [arrays[name] for name in names.c]
    mask = None if names.mask is None else arrays.get(names.mask)
    lengths = {name: len(arrays[name]) for name in [*wanted, *([] if mask is None else [str(names.mask)])]}
    first, *others = lengths.items()
    for name, length in others:
        if length != first[1]:
            raise DataError(
                f"{table.path} has {first[1]:,} samples in {first[0]!r} but {length:,} in {name!r}: make them agree."
            )
    x = side_by_side(table, names.x, parts)
    if mask is not None:
        mask = layout(mask.astype(bool))
        if mask.shape != x.shape:
            raise DataError(f"{table.path} has x of shape {x.shape} but a mask of {mask.shape}: make them agree.")
    for key, array in [*zip(names.c, c, strict=True), *([] if y is None else [(str(names.y), y)])]:
        complete(table, key, array)
    vectors = x.ndim == 2 and x.dtype != np.uint8
    kinds = [kind for column, part in zip(names.x, parts, strict=True) for kind in each(column, part)]
    known = observed(table, names, x, mask, missing)
    return Roles(table, names, x, known, y, c, kinds if vectors else None)


def each(column: Column, part: np.ndarray) -> list[int]:
    """Kinds of the columns in one array: a vector is as many of numbers."""
    return [column.kind] if column.kind else [0] * (part.shape[1] if part.ndim == 2 else 1)


def side_by_side(table: Table, columns: list[Column], parts: list[np.ndarray]) -> np.ndarray:
    """One array (N, *E): several are joined to vectors."""
    if len(parts) == 1:
        x = layout(parts[0].astype(np.uint8) * 255 if parts[0].dtype == bool else parts[0])
        return x[:, None] if x.ndim == 1 else x
    for column, part in zip(columns, parts, strict=True):
        if part.ndim > 2:
            raise DataError(
                f"{table.path} has {column.sources[0]!r} of shape {part.shape}, and only vectors can be joined: name "
                "one array with --data.columns."
            )
    return np.concatenate([part[:, None] if part.ndim == 1 else part for part in parts], axis=1, dtype=np.float64)


def layout(x: np.ndarray) -> np.ndarray:
    """Pictures of bytes (N, H, W) or (N, H, W, C) as (N, C, H, W); everything else unchanged."""
    if x.dtype not in (np.uint8, bool):
        return x
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and x.shape[-1] in (1, 3, 4) and x.shape[1] not in (1, 3, 4):
        return np.ascontiguousarray(np.moveaxis(x, -1, 1))
    return x


def observed(
    table: Table, names: Names, x: np.ndarray, mask: np.ndarray | None, missing: Literal["error", "mask"]
) -> np.ndarray | None:
    """Where x is known; None where it is everywhere."""
    if x.dtype.kind != "f":
        return mask
    unknown = np.isnan(x) if mask is None else np.isnan(x) & mask
    infinite = np.isinf(x) if mask is None else np.isinf(x) & mask
    if infinite.any():
        raise DataError(f"{table.path} has an infinite value in {cell(table, names, infinite)}: mend it.")
    if not unknown.any():
        return mask
    if missing == "error":
        n = int(unknown[:, first_elements(names)].sum()) if table.tabular else int(unknown.sum())
        raise DataError(
            f"{table.path} has {n:,} missing value{'s' if n > 1 else ''}, the first in {cell(table, names, unknown)}: "
            "fill in, or let --data.missing mask leave such cells out of the loss."
        )
    return ~unknown if mask is None else mask & ~unknown


def complete(table: Table, name: str, array: np.ndarray) -> None:
    """Labels and conditions have no mask: none may be missing."""
    absent = array == "" if is_text(array) else ~np.isfinite(array)
    if absent.any():
        row = int(np.argwhere(absent)[0, 0])
        raise DataError(
            f"{table.path} has no value in {table.place(row)}, {table.what} {name!r}: only what is modelled may be "
            "missing, fill it in or remove the row."
        )


def cell(table: Table, names: Names, marked: np.ndarray) -> str:
    """Where the first marked cell is."""
    row, *inner = (int(position) for position in np.argwhere(marked)[0])
    if table.tabular:
        column = [column for column in names.x for _ in column.elements][inner[0]]
        return f"{table.place(row)}, column {column.sources[0]!r}"
    where = ", ".join(map(repr, names.sources))
    return f"{table.place(row)}, element ({', '.join(map(str, inner))}) of {where}"


def first_elements(names: Names) -> list[int]:
    """Where each column of a table begins in x: a class is missing once, however many elements it has."""
    widths = [len(column.elements) for column in names.x]
    return [sum(widths[:position]) for position in range(len(widths))]


def is_categorical(table: Table, array: np.ndarray, declared: bool) -> bool:
    """Whether an array is of classes: declared so, text, or whole numbers stored as such."""
    return declared or (array.ndim == 1 and (is_text(array) or (not table.tabular and array.dtype.kind in "biu")))
