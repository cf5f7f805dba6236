"""What one column of a table becomes in x: numbers, or a class as zeros and ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datamodules.encoding import Categories, categories
from datamodules.tables import Table, column, is_missing, is_text, parses
from lit_ae.batch import ConfigError, DataError

__all__ = ["Categorical", "Column", "arrange", "flat", "is_words", "numbers", "unarranged"]

Categorical = list[str | list[str]]  # names of columns, and groups of columns that are one-hot together
MOST = 1_000  # classes: a column of names or of remarks would fill the memory with zeros


@dataclass(frozen=True)
class Column:
    """One column of x, or one array of numbers.

    Args:
        sources: What it is called in the file: several names where several columns are one-hot together.
        classes: Its classes, None where it is of numbers.
    """

    sources: tuple[str, ...]
    classes: Categories | None = None

    @property
    def kind(self) -> int:
        """As in `DataSpec.columns`: 0 for numbers, else the number of classes."""
        return 0 if self.classes is None else len(self.classes.names)

    @property
    def elements(self) -> list[str]:
        """What each of its elements in x says; of two classes the second has the only one."""
        if self.classes is None:
            return [*self.sources]
        grouped = len(self.sources) > 1
        names = [name if grouped else f"{self.sources[0]}={name}" for name in self.classes.names]
        return names[1:] if len(names) == 2 else names

    def read(self, table: Table) -> np.ndarray:
        """Numbers, (N, *E), or zeros and ones, (N, 1) for two classes and (N, k) for more; NaN where not known.

        Raises:
            DataError: A cell holds no number or none of the classes, or a group of columns is not one-hot.
        """
        if self.classes is None:
            return numbers(table, self.sources[0], table.arrays[self.sources[0]])
        if len(self.sources) > 1:
            index = hot(table, self.sources)
        else:
            values = table.arrays[self.sources[0]]
            index = self.classes.index(values, table, self.sources[0], unknown(values))
        ones = np.eye(self.kind)[index]
        ones[index < 0] = np.nan
        return ones[:, 1:] if self.kind == 2 else ones


def arrange(table: Table, names: list[str], named: bool, categorical: Categorical) -> list[Column]:
    """The columns of x in order, a group at the place of its first member.

    Args:
        table: The training data.
        names: What is modelled.
        named: Whether the user gave the names, so that words among them are meant.
        categorical: What holds classes.

    Raises:
        ConfigError: A part of a group is not modelled.
        DataError: A column has no classes, or too many.
    """
    groups = {name: tuple(entry) for entry in categorical if not isinstance(entry, str) for name in entry}
    columns: list[Column] = []
    for name in names:
        if name in groups:
            absent = next((member for member in groups[name] if member not in names), None)
            if absent is not None:
                raise ConfigError(
                    f"--data.categorical has {name!r} and {absent!r} in one group, of which {absent!r} is not "
                    "modelled: name all of a group in --data.columns, or none."
                )
            if groups[name][0] == name:
                columns.append(Column(groups[name], Categories([*groups[name]])))
        elif name in categorical or (named and is_words(table.arrays[name])):
            columns.append(Column((name,), classes(table, name)))
        else:
            columns.append(Column((name,)))
    return columns


def flat(table: Table, categorical: Categorical) -> list[str]:
    """All names in an argument, each checked against the file.

    Raises:
        ConfigError: A name is not in the file, comes twice, or is an array of more than one value per sample.
    """
    names = [name for entry in categorical for name in ([entry] if isinstance(entry, str) else entry)]
    for name in names:
        if table.get(name, "--data.categorical").ndim != 1:
            raise ConfigError(
                f"--data.categorical names {name!r}, of shape {table.arrays[name].shape} in {table.path}: name arrays "
                "of one value per sample."
            )
        if names.count(name) > 1:
            raise ConfigError(f"--data.categorical names {name!r} more than once: name it once.")
    for entry in categorical:
        if not isinstance(entry, str) and len(entry) < 2:
            raise ConfigError(f"--data.categorical has the group {entry}: a group has two columns or more.")
    return names


def unarranged(x: np.ndarray, columns: list[Column]) -> dict[str, np.ndarray]:
    """Columns of a file by name, (B,) each, from what they became in x, (B, E), or from what a model makes of it.

    A class is the likeliest one, in words or whole numbers as it is called. Elements of one array are numbered.
    """
    widths = [len(column.elements) for column in columns]
    if sum(widths) != x.shape[1]:  # arrays, which have several elements each
        name = columns[0].sources[0] if len(columns) == 1 else "x"
        return {f"{name}{position}": x[:, position] for position in range(x.shape[1])}
    found: dict[str, np.ndarray] = {}
    start = 0
    for each, width in zip(columns, widths, strict=True):
        part = x[:, start : start + width]
        start += width
        if each.classes is None:
            found[each.sources[0]] = part[:, 0]
            continue
        index = part.argmax(1) if width > 1 else (part[:, 0] > 0.5).astype(np.int64)
        if len(each.sources) > 1:
            found |= {name: (index == number).astype(np.int64) for number, name in enumerate(each.sources)}
        else:
            names = np.array(each.classes.names, dtype=object)
            whole = all(name.lstrip("-").isdigit() for name in names)
            found[each.sources[0]] = (names.astype(np.int64) if whole else names)[index]
    return found


def classes(table: Table, name: str) -> Categories:
    """The classes of a column, text or whole numbers."""
    values = table.arrays[name]
    known = ~unknown(values)
    if not is_text(values) and (broken := known & ((values != np.floor(values)) | np.isinf(values))).any():
        row = int(np.argmax(broken))
        raise DataError(
            f"{table.path}, {table.place(row)}, has {values[row]:g} in {name!r}, which --data.categorical names: "
            "classes are text or whole numbers."
        )
    found = categories(values[known])
    if not 2 <= len(found.names) <= MOST:
        n = len(found.names)
        raise DataError(
            f"{table.path} has {n:,} class{'es' * (n != 1)} in {table.what} {name!r}, where 2 to {MOST:,} can be "
            "modelled: leave it out."
        )
    return found


def hot(table: Table, names: tuple[str, ...]) -> np.ndarray:
    """Which of the columns holds the one, (N,) int64; −1 where a cell is empty."""
    values = np.stack([numbers(table, name, table.arrays[name]).astype(np.float64) for name in names], axis=1)
    empty = np.isnan(values).any(1)
    wrong = ~empty & ~(((values == 0) | (values == 1)).all(1) & (values.sum(1) == 1))
    if wrong.any():
        row = int(np.argmax(wrong))
        shown = ", ".join(f"{value:g}" for value in values[row])
        raise DataError(
            f"{table.path}, {table.place(row)}, has {shown[:100]} in {', '.join(map(repr, names))[:200]}, which "
            "--data.categorical says are one-hot: mend it."
        )
    return np.where(empty, -1, values.argmax(1))


def unknown(values: np.ndarray) -> np.ndarray:
    """Where a column of classes is empty, (N,)."""
    if not is_text(values):
        return np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)
    unique, inverse = np.unique(values, return_inverse=True)
    # "none" is missing among numbers, and an answer among words
    return np.array([is_missing(cell) and cell.lower() != "none" for cell in unique], dtype=bool)[inverse]


def is_words(array: np.ndarray) -> bool:
    """Whether a column is of text, and none of it a number."""
    return array.ndim == 1 and is_text(array) and not any(map(parses, array))


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
