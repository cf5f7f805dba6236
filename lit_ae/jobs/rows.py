"""Files of many rows, written chunk by chunk: .npy, .npz, .csv and .parquet."""

from __future__ import annotations

import csv
import io
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import numpy as np

from lit_ae.errors import ConfigError, LitAEError, StorageError

Columns = dict[str, np.ndarray]  # values by name, (B, *S) each
WIDEST = 1024  # numbers of a sample that get a column each; more are one column of lists
GROUP = 2**22  # values of a row group, at most


@contextmanager
def replacing(path: Path, sync: bool = True) -> Iterator[BinaryIO]:
    """A file to write that gets its name when it is whole; nothing is left of it where something fails.

    Args:
        path: Its name.
        sync: Force it to the disk first, which takes milliseconds.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb+") as sink:
            yield sink
            sink.flush()
            if sync:
                os.fsync(sink.fileno())
        partial.replace(path)
    except LitAEError:
        raise
    except OSError as error:
        raise StorageError(
            f"Cannot write {path} ({error.strerror or error}): free space, or name another path."
        ) from error
    finally:
        if path.parent.is_dir():
            partial.unlink(missing_ok=True)


class Growing:
    """A .npy file to which rows are added; its header is written last, in room left for it.

    Args:
        sink: Where it goes.
    """

    def __init__(self, sink: Any) -> None:
        self.sink, self.rows = sink, 0
        self.shape: tuple[int, ...] = ()
        self.dtype: np.dtype | None = None

    def add(self, rows: np.ndarray) -> None:
        """Add (B, *S); text gets the width of the first rows' type."""
        if self.dtype is None:
            self.shape, self.dtype = rows.shape[1:], rows.dtype
            self._header()
        self.sink.write(np.ascontiguousarray(rows, self.dtype).data)
        self.rows += len(rows)

    def _header(self) -> None:
        assert self.dtype is not None
        described = np.lib.format.dtype_to_descr(self.dtype)
        header = {"descr": described, "fortran_order": False, "shape": (self.rows, *self.shape)}
        np.lib.format.write_array_header_1_0(self.sink, header)  # numpy pads it: any number of rows fits

    def close(self) -> None:
        """Say how many rows there are."""
        self.sink.seek(0)
        self._header()
        self.sink.flush()


def write_rows(path: Path, chunks: Iterable[Columns], names: Mapping[str, Sequence[str]] | None = None) -> int:
    """Write chunks of rows in the format of the file's suffix, and return the number of rows.

    A .npy file holds the first column alone. In tables a column of several numbers per row becomes one column for each,
    called by `names` or numbered; more than 1024 become one column of lists.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """
    how = {".npy": write_npy, ".npz": write_npz, ".csv": write_csv, ".parquet": write_parquet}[path.suffix.lower()]
    with replacing(path) as sink:
        return how(sink, chunks, names or {})


def write_npy(sink: BinaryIO, chunks: Iterable[Columns], names: Mapping[str, Sequence[str]]) -> int:
    """The first column."""
    file = Growing(sink)
    for chunk in chunks:
        file.add(next(iter(chunk.values())))
    file.close()
    return file.rows


def write_npz(sink: BinaryIO, chunks: Iterable[Columns], names: Mapping[str, Sequence[str]]) -> int:
    """Every column as an array: each grows in a file of its own, which the archive then takes up."""
    growing: dict[str, Growing] = {}
    widths: dict[str, int] = {}
    try:
        for chunk in chunks:
            for name, values in chunk.items():
                if name not in growing:
                    growing[name] = Growing(TemporaryFile(dir=Path(sink.name).parent))  # noqa: SIM115 (closed below)
                if values.dtype == object:  # text of any length: kept as lines until the longest is known
                    lines = [str(value).encode() for value in values]
                    widths[name] = max(widths.get(name, 1), *(len(line.decode()) for line in lines))
                    growing[name].sink.write(b"".join(line.replace(b"\n", b" ") + b"\n" for line in lines))
                    growing[name].rows += len(values)
                else:
                    growing[name].add(values)
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
            for name, file in growing.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    if name in widths:
                        copy_text(file, widths[name], entry)
                        continue
                    file.close()
                    file.sink.seek(0)
                    while block := file.sink.read(2**20):
                        entry.write(block)
        return max((file.rows for file in growing.values()), default=0)
    finally:
        for file in growing.values():
            file.sink.close()


def copy_text(file: Growing, width: int, entry: Any) -> None:
    """Lines as an array of text of one width."""
    header = {"descr": f"<U{width}", "fortran_order": False, "shape": (file.rows,)}
    np.lib.format.write_array_header_1_0(entry, header)
    file.sink.seek(0)
    for line in file.sink:
        entry.write(np.array(line.decode()[:-1], dtype=f"<U{width}").tobytes())


def write_csv(sink: BinaryIO, chunks: Iterable[Columns], names: Mapping[str, Sequence[str]]) -> int:
    """A line of names, then one per row."""
    text = io.TextIOWrapper(sink, encoding="utf-8", newline="", write_through=True)
    writer, count = csv.writer(text), 0
    for chunk in chunks:
        flat = spread(chunk, names, None)
        if not count:
            writer.writerow(flat)
        count += len(next(iter(flat.values())))
        # in its own precision a number has the fewest digits; not known is an empty cell
        writer.writerows(zip(*([cell(value) for value in column] for column in flat.values()), strict=True))
    text.detach()
    return count


def cell(value: Any) -> str:
    """A number or text in a CSV file."""
    if isinstance(value, (float, np.floating)):
        if np.isnan(value):
            return ""
        return str(int(value)) if abs(float(value)) < 1e15 and value == int(value) else str(value)
    return str(value)


def write_parquet(sink: BinaryIO, chunks: Iterable[Columns], names: Mapping[str, Sequence[str]]) -> int:
    """Row group by row group."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ConfigError('.parquet needs a package: pip install "lit_ae[parquet]", or name a .npz file.') from error
    writer, count = None, 0
    try:
        for group in grouped(chunks):
            table = pa.table({name: arrow(values) for name, values in spread(group, names, WIDEST).items()})
            if writer is None:
                # floats hardly ever repeat: a dictionary of them would only cost time
                repeating = [field.name for field in table.schema if not is_float(field.type)]
                writer = parquet.ParquetWriter(sink, table.schema, compression="zstd", use_dictionary=repeating)
            writer.write_table(table)
            count += len(table)
    finally:
        if writer is not None:
            writer.close()
    return count


def arrow(values: np.ndarray) -> Any:
    """A column of pyarrow: numbers, text, or lists of numbers, (B, S)."""
    import pyarrow as pa

    if values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    return pa.array(values, pa.string() if values.dtype == object else None)


def is_float(kind: Any) -> bool:
    """Whether a type of pyarrow is of floating-point numbers, or of lists of them."""
    import pyarrow as pa

    inner = kind.value_type if pa.types.is_fixed_size_list(kind) else kind
    return bool(pa.types.is_floating(inner))


def grouped(chunks: Iterable[Columns]) -> Iterator[Columns]:
    """Chunks joined until they are worth a row group; each group lives until the next one is asked for.

    Rows are copied into one place: chunks that were kept would lie between the buffers of a network's layers, and the
    memory of a long loop would grow by these.
    """
    group: Columns = {}
    count = capacity = 0
    for chunk in chunks:
        n = len(next(iter(chunk.values())))
        if count and count + n > capacity:
            yield {name: values[:count] for name, values in group.items()}
            count = 0
        if n > capacity:
            capacity = max(n, GROUP // sum(prod(values.shape[1:]) for values in chunk.values()))
            group = {name: np.empty((capacity, *values.shape[1:]), values.dtype) for name, values in chunk.items()}
        for name, values in chunk.items():
            group[name][count : count + n] = values
        count += n
    if count:
        yield {name: values[:count] for name, values in group.items()}


def spread(chunk: Columns, names: Mapping[str, Sequence[str]], widest: int | None) -> Columns:
    """A column for each number of a row."""
    flat: Columns = {}
    for name, values in chunk.items():
        rows = values.reshape(len(values), -1) if values.ndim > 1 else values
        if rows.ndim == 1 or (widest is not None and rows.shape[1] > widest):
            flat[name] = rows
        else:
            called = names.get(name) or [f"{name}{position}" for position in range(rows.shape[1])]
            flat |= dict(zip(called, np.ascontiguousarray(rows.T), strict=True))
    return flat
