"""What `lit_ae decode` reads, and how it becomes samples."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterator, Sequence
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules.base import DataModule
from datamodules.mapped import layout_of
from datamodules.tables import read
from lit_ae.errors import ConfigError, DataError
from lit_ae.jobs.embedded import shape_of, size
from lit_ae.jobs.opening import Opened, opened
from lit_ae.jobs.outputs import Written, check, default, write_samples
from lit_ae.jobs.parsing import vacant
from lit_ae.jobs.rows import Columns
from lit_ae.jobs.tracking import track
from lit_ae.models.base import Autoencoder
from lit_ae.models.coded import Coded

SIDE = ("name", "label", "condition", "length")  # what may stand beside latents


def decode(asked: Namespace, flags: Sequence[str]) -> list[str]:
    """Decode what a command line asks for, and say in lines what was written.

    Raises:
        ConfigError: An argument does not fit.
        DataError: The file is missing, damaged or of another run.
    """
    path = Path(asked.file)
    if not path.is_file():
        raise DataError(f"There is no file {path}: write it with lit_ae embed.")
    run = opened(asked.run, flags, device=asked.device, bare=True)
    out = (
        Path(asked.out) if asked.out else vacant(default(run, path.with_name(f"{path.stem}_decoded")), asked.overwrite)
    )
    check(run, out)
    batch_size = asked.batch_size or (run.data.eval_batch_size if isinstance(run.data, DataModule) else 128)
    chunks = stored(path, run.model, batch_size)
    first = next(chunks, None)
    if first is None:
        raise DataError(f"{path} holds no samples: write it anew.")
    kept = first["z"].dtype if "z" in first else np.dtype(np.float32)
    dtype = "float16" if kept.itemsize == 2 else "float32"  # finer digits are not read
    whole = track(chain([first], chunks), None, "decode")
    rows = write_samples(run, out, decoded(run, path, whole, asked.label))
    return [f"samples  {out}", f"size     {size(run, path.stat().st_size, rows, dtype, None)}"]


@torch.no_grad()
def decoded(run: Opened, path: Path, chunks: Iterator[Columns], label: int | None) -> Iterator[Written]:
    """Samples of each chunk.

    Raises:
        ConfigError: There is no condition for a model that needs one.
        DataError: Latents or codes are not those of this run.
    """
    start = 0
    for chunk in chunks:
        n = len(next(iter(chunk.values())))
        c = condition(run, path, chunk, n, label, start)
        if "codes" in chunk:
            assert isinstance(run.model, Coded)
            codes = codes_of(run.model, path, chunk["codes"], start)
            x = run.model.decode_codes(codes.to(run.device), c)
        else:
            x = run.model.decode(latents_of(run.model, path, chunk["z"], start).to(run.device), c).mean
        names = None if "name" not in chunk else [str(name) for name in chunk["name"]]
        yield Written(x, names, chunk.get("length"))
        start += n


def condition(run: Opened, path: Path, chunk: Columns, n: int, label: int | None, start: int) -> Tensor | None:
    """What the model is conditioned on, (n, *C)."""
    shape = run.model.spec.condition_shape
    if shape is None:
        if label is not None:
            raise ConfigError(f"--class is {label}, but {run.variant} knows no classes: leave it out.")
        return None
    if label is not None:
        if shape != () or label >= run.model.spec.num_classes:
            raise ConfigError(f"--class is {label}: the run has {run.model.spec.num_classes} classes, counted from 0.")
        return torch.full((n,), label, device=run.device)
    found = chunk.get("condition", chunk.get("label") if shape == () else None)
    if found is None or found.size != n * prod(shape):
        raise DataError(f"{path} has no condition of shape {shape}, which the run needs: write it with lit_ae embed.")
    checked = numeric(path, found, start, "condition")
    if not np.isfinite(checked).all() or (shape == () and (checked != np.floor(checked)).any()):
        raise DataError(f"{path} has a condition that is no {'class' if shape == () else 'finite number'}: mend it.")
    values = torch.from_numpy(checked.astype(np.float32 if shape else np.int64)).reshape(n, *shape).to(run.device)
    return values


def numeric(path: Path, values: np.ndarray, start: int, what: str) -> np.ndarray:
    """The values as numbers: a missing one is nan.

    Raises:
        DataError: Some are text.
    """
    if values.dtype.kind in "biuf":
        return values
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} has text for numbers of its {what}, from row {start} on: mend it.") from error


def codes_of(model: Coded, path: Path, values: np.ndarray, start: int) -> Tensor:
    """Codes, (B, *S), checked."""
    if values[0].size != prod(model.code_shape):
        raise misfit(path, values[0].size, "codes", prod(model.code_shape))
    values = numeric(path, values, start, "codes")
    wrong = ~((values >= 0) & (values < model.num_codes) & (values == np.floor(values)))
    if wrong.any():
        row = int(np.argwhere(wrong)[0, 0])
        raise DataError(
            f"{path}, row {start + row} (counted from 0), has the code {values[wrong][0]:g}: this run's are 0 to "
            f"{model.num_codes - 1}."
        )
    return torch.from_numpy(values.astype(np.int64)).reshape(-1, *model.code_shape)


def latents_of(model: Autoencoder, path: Path, values: np.ndarray, start: int) -> Tensor:
    """Latents, (B, *D), checked."""
    shape = shape_of(model) or values.shape[1:]
    if values[0].size != prod(shape):
        raise misfit(path, values[0].size, "latents", prod(shape))
    with np.errstate(over="ignore"):  # what single precision does not hold is refused
        values = numeric(path, values, start, "latents").astype(np.float32)
    if not np.isfinite(values).all():
        row = start + int(np.argwhere(~np.isfinite(values))[0, 0])
        raise DataError(f"{path} has no finite number in row {row} (counted from 0): mend or remove it.")
    return torch.from_numpy(values).reshape(-1, *shape)


def misfit(path: Path, found: int, what: str, wanted: int) -> DataError:
    """Says that a file is of another run."""
    return DataError(f"{path} has {found:,} {what} per sample, the run has {wanted:,}: name the run that wrote it.")


def stored(path: Path, model: Autoencoder, batch_size: int) -> Iterator[Columns]:
    """Latents, `z`, or codes, `codes`, of a file with what stands beside them, chunk by chunk.

    Raises:
        DataError: The file is damaged, or has neither.
    """
    readers = {".parquet": parquet, ".npz": arrays, ".npy": array, ".csv": table}
    return readers[path.suffix.lower()](path, model, batch_size)


def chosen(path: Path, names: Sequence[str], model: Autoencoder) -> tuple[str, list[str]]:
    """Whether a table has codes or latents, and the names of their columns in order.

    Raises:
        DataError: It has none, or codes of a model without.
    """
    of_codes = isinstance(model, Coded)
    kinds = [("codes", r"code(\d+)"), ("z", r"(?:level\d+_)?z(\d+)")]
    for kind, pattern in kinds:
        own = [name for name in names if name == kind or re.fullmatch(pattern, name)]
        if own and (kind == "z" or of_codes):
            return kind, sorted(own, key=numbers)  # whatever order other programs left them in
    raise lacking(path, of_codes)


def numbers(name: str) -> list[int]:
    """The numbers in the name of a column: its level, where it has one, and its place."""
    return [int(digits) for digits in re.findall(r"\d+", name)]


def lacking(path: Path, of_codes: bool) -> DataError:
    """Says what a file should hold."""
    what = (
        "codes (columns code0, ..., or an array codes)" if of_codes else "latents (columns z0, ..., or an array mean)"
    )
    return DataError(f"{path} holds no {what} of this run: write it with lit_ae embed.")


def parquet(path: Path, model: Autoencoder, batch_size: int) -> Iterator[Columns]:
    """Row group by row group."""
    try:
        import pyarrow as pa
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ConfigError(f'{path} needs pyarrow to be read: pip install "lit_ae[parquet]".') from error
    try:
        file = ParquetFile(path)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise DataError(f"{path} is no whole parquet file ({str(error).splitlines()[0]}): write it anew.") from error
    names = file.schema_arrow.names
    kind, own = chosen(path, names, model)
    beside = [name for name in names if name in SIDE or re.fullmatch(r"condition\d+", name)]
    with file:
        for batch in file.iter_batches(batch_size, columns=[*own, *beside]):
            held = {name: plain(batch.column(name)) for name in (*own, *beside)}
            yield gathered(held, kind, own)


def plain(values: Any) -> np.ndarray:
    """A column of pyarrow, (B,), or of lists, (B, S)."""
    import pyarrow as pa

    if pa.types.is_fixed_size_list(values.type) or pa.types.is_list(values.type):
        return values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), -1)
    return values.to_numpy(zero_copy_only=False)


def gathered(held: Columns, kind: str, own: list[str]) -> Columns:
    """Columns of latents or codes, and of conditions, joined to arrays."""
    found = {name: held[name] for name in SIDE if name in held}
    parts = [held[name] for name in own]
    found[kind] = parts[0] if len(parts) == 1 and parts[0].ndim > 1 else np.stack(parts, 1)
    if conditions := [held[name] for name in held if re.fullmatch(r"condition\d+", name)]:
        found["condition"] = np.stack(conditions, 1)
    return found


def arrays(path: Path, model: Autoencoder, batch_size: int) -> Iterator[Columns]:
    """The arrays of an archive."""
    held = read(path).arrays
    of_codes = isinstance(model, Coded)
    wanted = ["codes", "mean", "z"] if of_codes else ["mean", "z"]
    name = next((name for name in wanted if name in held), None)
    if name is None:
        raise lacking(path, of_codes)
    found = {"codes" if name == "codes" else "z": held[name]} | {name: held[name] for name in SIDE if name in held}
    n = len(held[name])
    if wrong := [side for side in SIDE if side in found and len(found[side]) != n]:
        raise DataError(f"{path} has {len(found[wrong[0]]):,} of {wrong[0]!r} for {n:,} samples: write it anew.")
    for start in range(0, n, batch_size):
        yield {name: values[start : start + batch_size] for name, values in found.items()}


def array(path: Path, model: Autoencoder, batch_size: int) -> Iterator[Columns]:
    """One array of latents, or of whole numbers, which are codes where the run has codes."""
    file = layout_of(path)
    kind = "codes" if isinstance(model, Coded) and file.dtype.kind in "iu" else "z"
    for start in range(0, file.shape[0], batch_size):
        yield {kind: file.rows(np.arange(start, min(start + batch_size, file.shape[0])))}


def table(path: Path, model: Autoencoder, batch_size: int) -> Iterator[Columns]:
    """Columns of a .csv file."""
    held = read(path).arrays
    kind, own = chosen(path, [*held], model)
    if text := [name for name in own if held[name].dtype == object]:
        raise DataError(f"{path} has text in column {text[0]!r}, where numbers belong: mend it.")
    found = gathered(held, kind, own)
    for start in range(0, len(found[kind]), batch_size):
        yield {name: values[start : start + batch_size] for name, values in found.items()}
