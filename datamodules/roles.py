"""Which arrays of a table are x, y, c and the mask."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np

from datamodules.tables import Table, column, is_missing, is_text, parses
from lit_ae.batch import ConfigError, DataError

__all__ = ["Names", "Roles", "assign", "choose", "is_categorical", "numbers"]


@dataclass(frozen=True)
class Names:
    """Names of the arrays in each role.

    Args:
        x: What is modelled, side by side.
        y: The label.
        c: The condition.
        mask: True where x is observed.
    """

    x: list[str]
    y: str | None = None
    c: tuple[str, ...] = ()
    mask: str | None = None


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
    """

    table: Table
    names: Names
    x: np.ndarray
    observed: np.ndarray | None
    y: np.ndarray | None
    c: list[np.ndarray]


def choose(table: Table, columns: list[str] | None, label: str | None, condition: list[str]) -> Names:
    """Fill in what the user did not name.

    An archive's arrays x, y, c and mask play these roles; of a table every column of numbers is x that is not the
    label or the condition, and has a name. A condition of classes is the label too where none is named.

    Raises:
        ConfigError: A name is not in the file, or none can be chosen for x.
    """
    arrays = table.arrays
    if not table.tabular:
        label = "y" if label is None and "y" in arrays else label
        condition = ["c"] if not condition and "c" in arrays else condition
    if condition == ["label"] and "label" not in arrays:
        if label is None:
            raise ConfigError(f"--data.condition is label, but no label of {table.path} is named: give --data.label.")
        condition = [label]
    c = {name: table.get(name, "--data.condition") for name in condition}
    if label is None and len(condition) == 1 and is_categorical(table, c[condition[0]]):
        label = condition[0]
    if label is not None:
        table.get(label, "--data.label")
    mask = None if table.tabular or "mask" not in arrays else "mask"
    taken = {label, mask, *condition}
    if columns is None:
        columns = candidates(table, [name for name in arrays if name not in taken])
    for name in columns:
        table.get(name, "--data.columns")
    return Names(columns, label, tuple(condition), mask)


def candidates(table: Table, names: list[str]) -> list[str]:
    """What x is made of where the user does not say."""
    if not table.tabular:
        if "x" in names or len(names) == 1:
            return ["x"] if "x" in names else names
        shown = ", ".join(map(repr, names)) or "only the label, condition and mask"
        raise ConfigError(f"{table.path} has no array 'x' but {shown}: name what is modelled with --data.columns.")
    named = [name for name in names if name and not name.startswith("__index_level_")]  # pandas' unnamed indices
    words = [name for name in named if is_text(table.arrays[name]) and not any(map(parses, table.arrays[name]))]
    if words:
        shown = ", ".join(map(repr, words))
        warnings.warn(f"{table.path}: columns of text are left out: {shown[:300]}.", stacklevel=2)
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
    absent = next((name for name in (*names.x, names.y, *names.c) if name is not None and name not in arrays), None)
    if absent is not None:
        raise DataError(f"{table.path} has no {table.what} {absent!r}, which the training data have: make them agree.")
    parts = [numbers(table, name, arrays[name]) for name in names.x]
    y = None if names.y is None else arrays[names.y]
    c = [arrays[name] for name in names.c]
    mask = None if names.mask is None else arrays.get(names.mask)
    lengths = dict(zip(names.x, map(len, parts), strict=True))
    lengths |= {name: len(arrays[name]) for name in (names.y, *names.c, names.mask) if name in arrays}
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
    return Roles(table, names, x, observed(table, names, x, mask, missing), y, c)


def numbers(table: Table, name: str, array: np.ndarray) -> np.ndarray:
    """The array itself, or the numbers that its text stands for."""
    if not is_text(array):
        return array
    cells = [str(cell) for cell in array.flat]
    parsed = column(cells)
    if not is_text(parsed):
        return parsed.reshape(array.shape)
    position = next(position for position, cell in enumerate(cells) if not parses(cell) and not is_missing(cell))
    row = position * len(array) // array.size
    raise DataError(
        f"{table.path}, {table.place(row)}, has the text {cells[position][:40]!r} in the numeric {table.what} "
        f"{name!r}: mend it, or list the {table.what}s that you want with --data.columns."
    )


def side_by_side(table: Table, names: list[str], parts: list[np.ndarray]) -> np.ndarray:
    """One array (N, *E): several are joined to vectors."""
    if len(parts) == 1:
        x = layout(parts[0].astype(np.uint8) * 255 if parts[0].dtype == bool else parts[0])
        return x[:, None] if x.ndim == 1 else x
    for name, part in zip(names, parts, strict=True):
        if part.ndim > 2:
            raise DataError(
                f"{table.path} has {name!r} of shape {part.shape}, and only vectors can be joined: name one array "
                "with --data.columns."
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
        n = int(unknown.sum())
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
        return f"{table.place(row)}, column {names.x[inner[0]]!r}"
    where = ", ".join(map(repr, names.x))
    return f"{table.place(row)}, element ({', '.join(map(str, inner))}) of {where}"


def is_categorical(table: Table, array: np.ndarray) -> bool:
    """Whether an array is of classes: text, or whole numbers stored as such."""
    return array.ndim == 1 and (is_text(array) or (not table.tabular and array.dtype.kind in "biu"))
