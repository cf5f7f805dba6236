"""Samples as files that other programs open: pictures under their names, tables with the data's columns, arrays."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from datamodules.base import DataModule
from datamodules.sequences import Sequences
from lit_ae.batch import Shape
from lit_ae.errors import ConfigError
from lit_ae.jobs.opening import Opened
from lit_ae.jobs.rows import Columns, replacing, write_rows
from lit_ae.plots.tiles import is_picture

TABLES, ARRAYS = (".csv", ".parquet"), (".npz", ".npy")


class Written(NamedTuple):
    """Samples to be written.

    Args:
        x: Samples, (B, *E).
        names: What each is called, None where they have no names.
        length: Steps of each sequence, (B,).
        columns: Columns of a table instead of those that x has.
    """

    x: Tensor
    names: Sequence[str] | None = None
    length: np.ndarray | None = None
    columns: Columns | None = None


def pictured(shape: Shape) -> bool:
    """Whether samples are grey or coloured pictures."""
    return is_picture(shape) and shape[0] in (1, 3)


def columned(run: Opened) -> bool:
    """Whether samples have named columns."""
    shape = run.model.input_shape
    return len(shape) == 1 and named(run, torch.zeros(1, *shape)) is not None


def named(run: Opened, x: Tensor) -> Columns | None:
    """Samples as named columns in the units of the data's file, None where they have none."""
    return run.data.named(x) if isinstance(run.data, DataModule) else None


def default(run: Opened, stem: Path) -> Path:
    """Where samples go: a folder for pictures, a table for what has columns, else arrays."""
    if pictured(run.model.input_shape):
        return stem.with_name(stem.name.replace(".", "_"))  # a dot would make a file of the folder
    return stem.with_name(f"{stem.name}{'.csv' if columned(run) else '.npz'}")


def check(run: Opened, out: Path) -> None:
    """Refuse a format that the samples do not have.

    Raises:
        ConfigError: Names those that they have.
    """
    suffix, shape = out.suffix.lower(), run.model.input_shape
    if suffix in ARRAYS or (suffix in TABLES and columned(run)):
        return
    if suffix in TABLES:
        raise ConfigError(f"--out is {out}, but samples of shape {shape} have no columns: name a .npz or .npy file.")
    if not pictured(shape) or suffix:
        known = [*(TABLES if columned(run) else ()), *ARRAYS]
        more = "a folder, or " if pictured(shape) else ""
        raise ConfigError(f"--out is {out}: name {more}a file that ends in {', '.join(known)}.")


def write_samples(run: Opened, out: Path, chunks: Iterable[Written]) -> int:
    """Write samples where `check` has let them, and return their number.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """
    if not out.suffix:
        return write_pictures(out, chunks, run.model.spec.value_range or (0.0, 1.0))

    def rows() -> Iterator[Columns]:
        for chunk in chunks:
            if out.suffix.lower() in TABLES:
                columns = chunk.columns if chunk.columns is not None else named(run, chunk.x)
                assert columns is not None
                yield columns
                continue
            x = run.data.arrays(chunk.x) if isinstance(run.data, DataModule) else chunk.x.float().cpu().numpy()
            if isinstance(run.data, Sequences):
                lengths = np.full(len(x), x.shape[2]) if chunk.length is None else chunk.length
                yield {"values": x.swapaxes(1, 2), "lengths": lengths}
            else:
                names = {} if chunk.names is None else {"name": np.array(chunk.names, dtype=object)}
                yield {"x": x, **names}

    return write_rows(out, rows())


def pixels(x: Tensor, span: tuple[float, float]) -> np.ndarray:
    """Pictures (B, C, H, W) as bytes, (B, H, W) or (B, H, W, 3)."""
    scaled = ((x.float().cpu() - span[0]) / (span[1] - span[0])).clamp(0, 1).mul(255).round().byte()
    found: np.ndarray = scaled.movedim(1, -1).numpy()
    return found[..., 0] if found.shape[-1] == 1 else found


def write_pictures(folder: Path, chunks: Iterable[Written], span: tuple[float, float]) -> int:
    """Write each picture under its name, as PNG where Pillow does not write the name's format."""
    count = 0
    taken: set[str] = set()
    for chunk in chunks:
        for row, picture in enumerate(pixels(chunk.x, span)):
            name = safe(chunk.names[row]) if chunk.names is not None else Path(f"{count:06d}.png")
            if str(name) in taken:
                name = name.with_name(f"{name.name}.png")
            taken.add(str(name))
            buffer = io.BytesIO()
            kind = Image.registered_extensions().get(name.suffix.lower(), "PNG")
            lossy = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
            Image.fromarray(picture).save(buffer, format=kind, **lossy)
            with replacing(folder / name, sync=False) as sink:
                sink.write(buffer.getvalue())
            count += 1
    return count


def safe(name: str) -> Path:
    """A path below a folder, whatever the name says, in a format that Pillow writes."""
    parts = [part for part in Path(name.replace("\\", "/")).parts if part.strip("/") not in ("", "..", ".")]
    path = Path(*parts) if parts else Path("unnamed")
    Image.init()
    suffix = path.suffix.lower()
    known = Image.registered_extensions().get(suffix)
    return path if known in Image.SAVE and known not in ("PDF", "JPEG2000") else path.with_suffix(".png")
