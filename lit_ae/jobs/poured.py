"""Where new samples go, chunk by chunk: a page of the first, a file of all, a picture of each."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from datamodules.base import DataModule
from lit_ae.batch import Shape
from lit_ae.callbacks.figures import write as write_bytes
from lit_ae.errors import ConfigError
from lit_ae.jobs.opening import Opened
from lit_ae.jobs.rows import Columns, write_rows
from lit_ae.plots.samples import samples as draw
from lit_ae.plots.style import array
from lit_ae.plots.tiles import is_picture, limits
from lit_ae.storage import save as save_sealed

SHOWN = 100  # samples on a page
TABLES = (".csv", ".parquet")


class Drawn(NamedTuple):
    """New samples.

    Args:
        x: Samples, (n, *E).
        c: What they were asked to be, (n, *C), where there is a condition.
        values: Codes, or latents, of a sampler, (n, *S).
    """

    x: Tensor
    c: Tensor | None = None
    values: Tensor | None = None


class Page:
    """The first samples, of those that pass by, on one page; where they do not fill its last row, white tiles do.

    Args:
        span: Values shown as black and white; those of the first chunk where they are None.
    """

    def __init__(self, span: tuple[float, float] | None) -> None:
        self._span, self.x, self.count = span, torch.empty(0), 0

    @property
    def span(self) -> tuple[float, float]:
        """Values shown as black and white."""
        return self._span or limits(array(self.x))

    def watch(self, parts: Iterable[Drawn]) -> Iterator[Drawn]:
        """Let chunks pass."""
        for part in parts:
            self._span = self._span or limits(array(part.x))
            if self.count < SHOWN:
                some = part.x[: SHOWN - self.count].clone()  # a view would keep the whole chunk
                self.x = torch.cat([self.x, some]) if self.count else some
            self.count += len(part.x)
            yield part

    def figure(self, title: str) -> Figure:
        """Draw them."""
        x, columns = self.x, across(len(self.x))
        if len(x) < self.count:
            title = f"{title}: the first {len(x)} of {self.count:,}"
        if is_picture(x.shape[1:]):
            x = torch.cat([x, torch.full((-len(x) % columns, *x.shape[1:]), self.span[1])])
        return draw(x, self.span, title, columns)


def across(n: int) -> int:
    """Columns of a page of n pictures, somewhat wider than high, with the fewest places left empty."""
    choices = range(max(1, round(n**0.5)), int(2 * n**0.5) + 1)
    return min(choices, key=lambda columns: (-n % columns, abs(columns - (1.6 * n) ** 0.5)))


def save(parts: Iterable[Drawn], path: Path, n: int, run: Opened) -> None:
    """Write n samples as `x`, conditions as `c`, codes or latents as `values`, those that there are; tables by column.

    Samples are in the units of the data's file.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """
    if path.suffix.lower() == ".pt":
        held: dict[str, Tensor] = {}
        start = 0
        for part in parts:
            for name, value in present(part, run).items():
                if name not in held:
                    held[name] = room(n, value)
                held[name][start : start + len(value)] = value
            start += len(part.x)
        save_sealed(path, held)
    elif path.suffix.lower() in TABLES:
        write_rows(path, (named(part, run) for part in parts))
    else:
        write_rows(path, ({name: value.numpy() for name, value in present(part, run).items()} for part in parts))


def room(n: int, like: Tensor) -> Tensor:
    """Place in memory for n rows like those of a tensor.

    Raises:
        ConfigError: There is not as much.
    """
    try:
        return like.new_empty(n, *like.shape[1:])
    except (RuntimeError, MemoryError) as error:
        raise ConfigError(
            f"A .pt file is written at once, and {n:,} samples do not fit into memory: --save them as .npz."
        ) from error


def present(part: Drawn, run: Opened) -> dict[str, Tensor]:
    """The parts of a chunk that there are, samples in the units of the data's file."""
    found = {name: value for name, value in part._asdict().items() if value is not None}
    return found | {"x": torch.from_numpy(run.data.arrays(part.x))} if isinstance(run.data, DataModule) else found


def named(part: Drawn, run: Opened) -> Columns:
    """A chunk as columns in the units of the data's file, and the class that was asked for.

    Raises:
        ConfigError: The samples have no columns.
    """
    columns = run.data.named(part.x) if isinstance(run.data, DataModule) else None
    if columns is None:
        raise ConfigError("--save writes rows of tables alone as .csv or .parquet: name a .npz or .pt file.")
    return ({} if part.c is None or part.c.ndim > 1 else {"class": part.c.numpy()}) | columns


def singles(parts: Iterable[Drawn], folder: Path, n: int, page: Page) -> Iterator[Drawn]:
    """Write each of n samples, (C, H, W), as a PNG of its own size while they pass, in place of those of another time.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """
    for old in folder.glob("*.png"):
        if re.fullmatch(r"\d+", old.stem):
            old.unlink()
    number, digits = 0, len(str(n - 1))
    for part in parts:
        low, high = page.span
        scaled = ((part.x - low) / (high - low)).clamp(0, 1).mul(255).round().byte().movedim(1, -1).numpy()
        for pixels in scaled:
            buffer = io.BytesIO()
            Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, format="png")
            write_bytes(folder / f"{number:0{digits}d}.png", buffer.getvalue())
            number += 1
        yield part


def check_pictures(shape: Shape) -> None:
    """Refuse to write samples of a shape, E, as pictures.

    Raises:
        ConfigError: They are no grey or coloured pictures.
    """
    if not is_picture(shape) or shape[0] not in (1, 3):
        raise ConfigError(f"--out writes pictures, but the samples have the shape {tuple(shape)}: use --save.")
