"""Readers of sequences of differing length: each gives all steps one after another, and the lengths."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.roles import complete
from datamodules.tables import Table, arrow_table, is_text, opened, plain, read_npz
from lit_ae.batch import DataError

__all__ = ["Ragged", "arrays_in", "read_sequences"]


@dataclass(frozen=True)
class Ragged:
    """Sequences of differing length.

    Args:
        table: Where they come from.
        names: Names of the arrays or columns of the features.
        values: All steps, one sequence after another, (ΣT, F).
        lengths: Steps of each sequence, (N,) int64.
        label: Name of the label, None where there is none.
        y: The label, (N,) or (N, F), None where there is none.
    """

    table: Table
    names: list[str]
    values: np.ndarray
    lengths: np.ndarray
    label: str | None
    y: np.ndarray | None


def read_sequences(path: Path, columns: list[str] | None, label: str | None) -> Ragged:
    """Open a .npz or .parquet file.

    Args:
        path: The file.
        columns: Names of the arrays or list columns that are the features; None for `values`, or for all lists.
        label: Name of the label; None for the y of an archive.

    Raises:
        ConfigError: The suffix is unknown, or a name is not in the file.
        DataError: The file is missing or damaged, or does not hold whole sequences of numbers.
    """
    readers = {".npz": from_npz, ".parquet": from_parquet}
    ragged = opened(path, {suffix: partial(how, columns=columns, label=label) for suffix, how in readers.items()})
    place, broken = ragged.table.place, ~np.isfinite(ragged.values)
    if broken.any():
        position, feature = (int(index) for index in np.argwhere(broken)[0])
        ends = ragged.lengths.cumsum()
        row = int(np.searchsorted(ends, position, side="right"))
        step = position - int(ends[row] - ragged.lengths[row])
        raise DataError(
            f"{path}, {place(row)}, has an empty cell, NaN or infinity within its sequence, at step {step} of feature "
            f"{feature}: fill it in or remove the sequence."
        )
    if ragged.y is not None:
        if len(ragged.y) != len(ragged.lengths):
            raise DataError(
                f"{path} has {len(ragged.lengths):,} sequences but {len(ragged.y):,} entries in {ragged.label!r}: make "
                "them agree."
            )
        complete(ragged.table, str(ragged.label), ragged.y)
    return ragged


def arrays_in(path: Path) -> list[str]:
    """Names of the arrays or columns of a .npz or .parquet file.

    Raises:
        ConfigError: The suffix is unknown.
        DataError: The file is missing or damaged.
    """
    readers = {".npz": lambda path: [*read_npz(path).arrays], ".parquet": lambda path: arrow_table(path).column_names}
    return [*opened(path, readers)]


def from_npz(path: Path, columns: list[str] | None, label: str | None) -> Ragged:
    """Arrays of an archive: padded, (N, T, F) or (N, T), or one sequence after another, (ΣT, F) or (ΣT,)."""
    table = read_npz(path)
    names = columns or ["values"]
    arrays = [table.get(name, "--data.columns ('values' where left out)") for name in names]
    label = "y" if label is None and "y" in table.arrays else label
    y = None if label is None else table.get(label, "--data.label")
    first = arrays[0]
    if "lengths" in table.arrays:
        lengths = whole(table, table.arrays["lengths"])
    elif first.ndim == 3:
        lengths = np.full(len(first), first.shape[1])
    else:
        raise DataError(
            f"{path} has {names[0]!r} of shape {first.shape} but no 'lengths': save the number of steps of each "
            "sequence in an array of this name."
        )
    nonempty(table, lengths)
    parts = [steps_of_array(table, name, array, lengths) for name, array in zip(names, arrays, strict=True)]
    return Ragged(table, names, np.concatenate(parts, axis=1, dtype=np.float64), lengths, label, y)


def whole(table: Table, lengths: np.ndarray) -> np.ndarray:
    """Lengths as int64, (N,)."""
    if lengths.ndim != 1 or is_text(lengths) or not len(lengths):
        raise DataError(
            f"{table.path} has 'lengths' of shape {lengths.shape} ({lengths.dtype}): save a whole number per sequence."
        )
    odd = ~np.isfinite(lengths) | (lengths != np.floor(lengths))
    if odd.any():
        row = int(np.argmax(odd))
        raise DataError(f"{table.path}, {table.place(row)}, has the length {lengths[row]:g}: save whole numbers.")
    return lengths.astype(np.int64)


def nonempty(table: Table, lengths: np.ndarray) -> None:
    """Refuse sequences without a step."""
    if (lengths < 1).any():
        row = int(np.argmax(lengths < 1))
        raise DataError(
            f"{table.path}, {table.place(row)}, has a sequence of length {lengths[row]}: it needs 1 step or more, so "
            "remove it or mend its length."
        )


def steps_of_array(table: Table, name: str, array: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The steps of all sequences without the padding, (ΣT, F)."""
    n, total = len(lengths), int(lengths.sum())
    if array.ndim > 3 or array.size == 0 or is_text(array):
        raise DataError(
            f"{table.path} has {name!r} of shape {array.shape} ({array.dtype}): save numbers, (N, T, F), (N, T) or, "
            "one sequence after another, (ΣT, F)."
        )
    if array.ndim < 3 and len(array) == total:
        return array.reshape(total, -1)
    if array.ndim == 1 or len(array) != n:
        raise DataError(
            f"{table.path} has {name!r} of shape {array.shape}, but {n:,} lengths that sum to {total:,}: give as many "
            "padded sequences as lengths, or as many steps as their sum."
        )
    if (lengths > array.shape[1]).any():
        row = int(np.argmax(lengths > array.shape[1]))
        raise DataError(
            f"{table.path}, {table.place(row)}, has the length {lengths[row]:,}, but {name!r} has room for "
            f"{array.shape[1]:,} steps: mend one of them."
        )
    steps = array[np.arange(array.shape[1]) < lengths[:, None]]
    return steps.reshape(total, -1)


def from_parquet(path: Path, columns: list[str] | None, label: str | None) -> Ragged:
    """Columns of lists of numbers, each a feature, or of lists of lists, each a step of all features."""
    arrow = arrow_table(path)
    table = Table(path, {name: np.empty(0) for name in arrow.column_names}, tabular=True)
    lists = [name for name in arrow.column_names if is_list(arrow[name].type)]
    for name in columns or []:
        table.get(name, "--data.columns")
    flat = next((name for name in columns or [] if name not in lists), None)
    names = columns or [name for name in lists if name != label]
    if flat is not None or not names:
        what = "no column of lists" if flat is None else f"no lists in column {flat!r}"
        raise DataError(f"{path} has {what}: a sequence is a list of numbers in one cell, one list per feature.")
    y = None
    if label is not None:
        table.get(label, "--data.label")
        if arrow[label].type.num_fields:
            raise DataError(f"{path} holds lists in column {label!r}, which --data.label names: name another.")
        y = plain(arrow[label])
    parts, lengths = [], None
    for name in names:
        part, found = steps_of_lists(table, name, arrow[name])
        lengths = found if lengths is None else lengths
        if (found != lengths).any():
            row = int(np.argmax(found != lengths))
            raise DataError(
                f"{path}, {table.place(row)}, has {lengths[row]:,} steps in {names[0]!r} but {found[row]:,} in "
                f"{name!r}: make them agree."
            )
        parts.append(part)
    assert lengths is not None
    return Ragged(table, names, np.concatenate(parts, axis=1), lengths, label, y)


def is_list(kind: Any) -> bool:
    """Whether a type of pyarrow is of lists."""
    import pyarrow as pa

    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def steps_of_lists(table: Table, name: str, column: Any) -> tuple[np.ndarray, np.ndarray]:
    """All steps, (ΣT, F), and the lengths, (N,)."""
    import pyarrow.compute as pc

    lengths = pc.list_value_length(column).fill_null(0).to_numpy().astype(np.int64)
    if not len(lengths):
        raise DataError(f"{table.path} holds no samples: write it anew.")
    nonempty(table, lengths)
    steps, features = pc.list_flatten(column), 1
    if is_list(steps.type):
        widths = pc.list_value_length(steps).fill_null(0).to_numpy()
        features = int(widths[0])
        if (widths != features).any() or features == 0:
            position = int(np.argmax(widths != features))
            row = int(np.searchsorted(lengths.cumsum(), position, side="right"))
            raise DataError(
                f"{table.path}, {table.place(row)}, has a step of {int(widths[position])} features in {name!r}, where "
                f"the first has {features}: make them agree."
            )
        steps = pc.list_flatten(steps)
    values = np.empty(0) if steps.type.num_fields else plain(steps)
    if values.dtype.kind != "f" or len(values) != lengths.sum() * features:
        raise DataError(f"{table.path} holds lists of {steps.type} in column {name!r}: save lists of numbers.")
    return values.reshape(-1, features), lengths
