"""Readers of files that hold numbers: each gives arrays by name, samples first."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lit_ae.batch import ConfigError, DataError

__all__ = ["Table", "column", "damaged", "is_missing", "is_text", "opened", "parses", "plain", "read"]

T = TypeVar("T")

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "<na>", "#n/a"})


@dataclass(frozen=True)
class Table:
    """What a file holds.

    Args:
        path: The file.
        arrays: Name → (N, *E): numbers, NaN where a cell is empty, or text (N,), "" where a cell is empty.
        tabular: Whether the arrays are columns (N,) of a table.
        lines: Line of each row where the file is text.
        label: The column that is the label where the user names none.
        first: Number of the first row, where the arrays are a part of the file.
    """

    path: Path
    arrays: dict[str, np.ndarray]
    tabular: bool
    lines: list[int] | None = None
    label: str | None = None
    first: int = 0

    def get(self, name: str, wanted_by: str) -> np.ndarray:
        """The array of this name.

        Raises:
            ConfigError: There is none; the message names the nearest one.
        """
        if name in self.arrays:
            return self.arrays[name]
        near = get_close_matches(name, self.arrays, n=1, cutoff=0.5)
        known = ", ".join(map(repr, self.arrays))
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {known[:300]}."
        raise ConfigError(f"{self.path} has no {self.what} {name!r}, which {wanted_by} names: {hint}")

    def place(self, row: int) -> str:
        """Where a row is in the file."""
        return f"row {self.first + row} (counted from 0)" if self.lines is None else f"line {self.lines[row]}"

    @property
    def what(self) -> str:
        """What an entry is called."""
        return "column" if self.tabular else "array"


def read(path: Path) -> Table:
    """Open a file by its suffix.

    Raises:
        ConfigError: The suffix is unknown, or a package is missing that reads it.
        DataError: The file is missing, empty or damaged.
    """
    table = opened(path, {".npy": read_npy, ".npz": read_npz, ".csv": read_csv, ".parquet": read_parquet})
    if not table.arrays or any(array.size == 0 for array in table.arrays.values()):
        raise DataError(f"{path} holds no samples: write it anew.")
    return table


def opened(path: Path, readers: Mapping[str, Callable[[Path], T]]) -> T:
    """What the reader of the file's suffix makes of it.

    Raises:
        ConfigError: The suffix is unknown, or a package is missing that reads it.
        DataError: The file is missing, empty or damaged.
    """
    if path.suffix.lower() not in readers:
        raise ConfigError(f"{path} is of no known format: give a file that ends in {', '.join(readers)}.")
    if not path.is_file():
        raise DataError(f"There is no file {path}: give the path of one that exists.")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty: write it anew.")
    try:
        return readers[path.suffix.lower()](path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}): look at its permissions.") from error


def read_npy(path: Path) -> Table:
    """One array, named x."""
    return Table(path, {"x": checked(path, "x", load_array(path))}, tabular=False)


def read_npz(path: Path) -> Table:
    """The arrays of an archive."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise damaged(path, error) from error
    return Table(path, {name: checked(path, name, array) for name, array in arrays.items()}, tabular=False)


def load_array(path: Path) -> np.ndarray:
    """The array of a .npy file, never unpickled."""
    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> DataError:
    """Says what numpy found."""
    reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    if "Object arrays" in reason or "Python objects" in reason:
        return DataError(
            f"{path} holds Python objects, which are never unpickled: save arrays of numbers, and sequences of "
            "differing length one after another, with an array 'lengths'."
        )
    if "allow_pickle" in reason:  # numpy's advice for any file that is not its own
        reason = "numpy does not know it"
    return DataError(f"{path} is no whole {path.suffix} file ({reason}): write it anew with numpy.")


def checked(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """The array itself, where it is of numbers or text with the samples first."""
    if array.ndim == 0 or array.dtype.kind not in "biufUS":
        raise DataError(
            f"{path} holds {array.dtype} of shape {array.shape} as {name!r}: save numbers or text, samples first."
        )
    return array.astype(str) if array.dtype.kind == "S" else array


def read_csv(path: Path) -> Table:
    """Columns of a table with commas, semicolons or tabs; without a header they are named 0, 1, ..."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t", key=first.count))
            rows, lines = [], []
            for row in reader:
                if row:
                    rows.append(row)
                    lines.append(reader.line_num)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8 (byte {error.start}): save it as UTF-8.") from error
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}, is no CSV ({error}): mend it.") from error
    if not rows:
        raise DataError(f"{path} holds no samples: write it anew.")
    header = [cell.strip() for cell in rows[0]]
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(header):
            raise DataError(
                f"{path}, line {line}, has {len(row)} cells where line {lines[0]} has {len(header)}: mend it."
            )
    positions = [str(position) for position in range(len(header))]
    names = [cell for cell in header if cell]
    if all(map(parses, names)) and names != positions[: len(names)]:  # 0, 1, ... is how pandas names columns
        header = positions
    else:
        rows, lines = rows[1:], lines[1:]
    return Table(path, named(path, header, [column(cells) for cells in zip(*rows, strict=True)]), True, lines)


def read_parquet(path: Path) -> Table:
    """Columns of a table."""
    table = arrow_table(path)
    columns = []
    for name, values in zip(table.column_names, table.columns, strict=True):
        if values.type.num_fields:
            raise DataError(
                f"{path} holds lists in column {name!r}: save numbers, or arrays as .npz, or read sequences with "
                "--data Sequences."
            )
        columns.append(plain(values))
    return Table(path, named(path, table.column_names, columns), tabular=True)


def arrow_table(path: Path) -> Any:
    """What pyarrow reads.

    Raises:
        ConfigError: There is no pyarrow.
        DataError: The file is damaged.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError(f'{path} needs pyarrow to be read: pip install "lit_ae[parquet]".') from error
    try:
        return parquet.read_table(path)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{path} is no whole parquet file ({str(error).splitlines()[0]}): write it anew.") from error


def plain(values: Any) -> np.ndarray:
    """A column of pyarrow: numbers (N,), NaN where a cell is empty, or text (N,)."""
    import pyarrow as pa

    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return values.cast(pa.float64(), safe=False).to_numpy()
    if pa.types.is_boolean(kind):
        return values.cast(pa.int8()).cast(pa.float64()).to_numpy()
    return column(["" if value is None else str(value) for value in values.to_pylist()])


def named(path: Path, names: Sequence[str], columns: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Columns by name."""
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path} has more than one column {twice!r}: rename them.")
    return dict(zip(names, columns, strict=False))


def column(cells: Sequence[str]) -> np.ndarray:
    """Numbers (N,) where every cell is one or is missing, else text (N,)."""
    try:
        return np.array(["nan" if is_missing(cell) else cell for cell in cells], dtype=np.float64)
    except ValueError:
        return np.array([cell.strip() for cell in cells], dtype=object)


def is_text(array: np.ndarray) -> bool:
    """Whether an array is of text."""
    return array.dtype.kind in "OU"


def is_missing(cell: str) -> bool:
    """Whether a cell says that nothing is known."""
    return cell.strip().lower() in MISSING


def parses(cell: str) -> bool:
    """Whether a cell is a number."""
    try:
        return not is_missing(cell) and float(cell) is not None
    except ValueError:
        return False
