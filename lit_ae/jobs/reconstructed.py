"""What `lit_ae reconstruct` computes in one pass over the samples, and what it keeps of them."""

from __future__ import annotations

import heapq
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from datamodules.base import DataModule
from datamodules.sequences import Sequences
from datamodules.tables import Table, is_missing, is_text, read
from datamodules.tabular import Tabular
from lit_ae.batch import Batch, key
from lit_ae.callbacks.figures import png
from lit_ae.callbacks.figures import write as write_bytes
from lit_ae.errors import ConfigError, DataError, NonFiniteError
from lit_ae.jobs.embedded import names_of
from lit_ae.jobs.opening import Opened, opened
from lit_ae.jobs.outputs import Written, check, default, named, pictured, write_samples
from lit_ae.jobs.parsing import vacant
from lit_ae.jobs.rows import Columns, write_rows
from lit_ae.jobs.tracking import track
from lit_ae.models.masked_autoencoder import MaskedAutoencoder
from lit_ae.models.randomness import reseed
from lit_ae.plots.restored import Shown, restored

SHOWN, RESERVOIR = 8, 128
Name = Callable[[int], str | None]


@dataclass
class Kept:
    """The worst and the best samples so far, and a random few, whose median is a typical one.

    Args:
        random: Draws the few.
    """

    random: Random
    worst: list[tuple[float, int, Shown]] = field(default_factory=list)
    best: list[tuple[float, int, Shown]] = field(default_factory=list)
    some: list[tuple[float, int, Shown]] = field(default_factory=list)

    def add(self, error: float, row: int, shown: Callable[[], Shown]) -> None:
        """Take a sample in, where it belongs to them; `shown` copies it."""
        for heap, rank in ((self.worst, error), (self.best, -error)):
            if len(heap) < SHOWN:
                heapq.heappush(heap, (rank, -row, shown()))
            elif rank > heap[0][0]:
                heapq.heapreplace(heap, (rank, -row, shown()))
        if len(self.some) < RESERVOIR:
            self.some.append((error, row, shown()))
        elif (place := self.random.randrange(row + 1)) < RESERVOIR:
            self.some[place] = (error, row, shown())

    def bands(self) -> list[tuple[str, list[Shown]]]:
        """The worst, typical and best ones, from worse to better; each sample once."""
        worst, best = ([each[2] for each in sorted(heap, reverse=True)] for heap in (self.worst, self.best))
        ranked = sorted(self.some, reverse=True)
        middle = max(0, len(ranked) // 2 - SHOWN // 2)
        taken = {-row for _, row, _ in [*self.worst, *self.best]}
        typical = [shown for _, row, shown in ranked[middle : middle + SHOWN] if row not in taken]
        if len(worst) < SHOWN:  # there are no more
            return [("worst first", worst)]
        found = {"worst": worst, "typical": typical, "best": best[::-1]}
        return [(name, shown) for name, shown in found.items() if shown]


def reconstruct(asked: Namespace, flags: Sequence[str]) -> list[str]:
    """Reconstruct what a command line asks for, and say in lines what was written.

    Raises:
        ConfigError: An argument does not fit.
        DataError: Samples do not fit the run.
        NonFiniteError: A reconstruction is not finite.
    """
    run = opened(asked.run, flags, asked.data, asked.device)
    given = None if asked.mask is None else mask_of(Path(asked.mask), run)
    out = None if asked.out is None else target(run, Path(asked.out), asked.data)
    path = vacant(asked.errors or run.run.folder / "reconstruct.csv", asked.overwrite)
    called, kept = names_of(run, asked.split), Kept(Random(asked.seed))
    errors: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    chunks = passed(run, asked, given, called, kept, errors, labels)
    if out is None:
        for _ in chunks:
            pass
    else:
        write_samples(run, out, chunks)
    found = np.concatenate(errors)
    write_rows(path, sorted_rows(run, asked, found, np.concatenate(labels) if labels else None, called))
    picture = run.run.figures / "reconstruct.png"
    what = f"{run.name}: reconstructions of {len(found):,} samples"
    write_bytes(picture, png(restored(kept.bands(), what, run.model.spec.value_range)))
    low, middle, high = np.quantile(found, [0, 0.5, 1])
    said = f"{found.mean():.4g} mean, {high:.4g} worst, {middle:.4g} median, {low:.4g} best"
    lines = [f"picture  {picture}", f"errors   {path}", *([] if out is None else [f"restored {out}"])]
    return [*lines, f"error    {said}, squared per element"]


def target(run: Opened, out: Path, data: str | None) -> Path:
    """The folder or file that is written: a folder for what has no pictures gets one file, called like the data."""
    if not out.suffix and not pictured(run.model.input_shape):
        out = out / default(run, Path(Path(data).stem if data else "restored")).name
    check(run, out)
    return out


@torch.no_grad()
def passed(
    run: Opened,
    asked: Namespace,
    given: Tensor | None,
    called: Name,
    kept: Kept,
    errors: list[np.ndarray],
    labels: list[np.ndarray],
) -> Iterator[Written]:
    """What is restored, batch by batch; errors and labels are added to the lists, what is to be shown is kept."""
    table, start = original(run, asked.data), 0
    total = run.count(asked.split)
    size = asked.batch_size or (run.data.eval_batch_size if isinstance(run.data, DataModule) else 1)
    batches = None if total is None else -(-total // size)
    found = run.ordered(asked.split, asked.batch_size)
    for number, batch in enumerate(track(found, batches, "reconstruct")):
        reseed(key(asked.seed, number), run.device)
        mask, counted = hidden(run, batch, given)
        seen = batch.x if given is None else batch.x.where(given, blank(run))
        x = run.model.reconstruct(seen, batch.c, mask).float()
        error = per_element(batch.x - x, counted).cpu().numpy()
        n = len(error)
        if not np.isfinite(error).all():
            row = start + int(np.argmax(~np.isfinite(error)))
            name = called(row)
            raise NonFiniteError(
                f"Sample {row}{'' if name is None else f' ({name})'} has no finite reconstruction: look at that sample "
                "and at the run's losses."
            )
        errors.append(error)
        if batch.y is not None:
            labels.append(batch.y.cpu().numpy())
        filled = x if mask is None or isinstance(run.data, Sequences) else batch.x.where(mask, x)
        observed = None if mask is None else mask.expand_as(batch.x)
        # where data lack cells, a picture of those that are kept would hide the error
        drawn = filled if given is not None or isinstance(run.model, MaskedAutoencoder) else x
        for row in range(n):
            own = float(error[row])
            kept.add(own, start + row, partial(shown, batch, observed, drawn, row, own, start, called))
        names = None if called(start) is None else [str(called(start + row)) for row in range(n)]
        length = None
        if isinstance(run.data, Sequences) and batch.mask is not None:
            length = batch.mask[:, 0].sum(-1).cpu().numpy()
        columns = None if table is None else merged(run, table, start, filled, mask is not None)
        yield Written(filled, names, length, columns)
        start += n


def shown(
    batch: Batch, observed: Tensor | None, x_hat: Tensor, row: int, error: float, start: int, called: Name
) -> Shown:
    """A copy of one sample for the picture."""
    x = batch.x[row].float().cpu().numpy()
    seen = None if observed is None else np.where(observed[row].cpu().numpy(), x, np.nan)
    return Shown(x.copy(), seen, x_hat[row].cpu().numpy().copy(), error, called(start + row) or str(start + row))


def hidden(run: Opened, batch: Batch, given: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """What the model may see of a batch, (B, *E), and what of it counts in the error; None for all."""
    if given is not None:
        mask = given.expand_as(batch.x)
        mask = mask if batch.mask is None else mask & batch.mask
        return mask, mask
    if isinstance(run.model, MaskedAutoencoder):
        left = run.model.corrupt(batch)[0].mask
        assert left is not None
        counted = ~left if batch.mask is None else ~left & batch.mask
        return left, counted if bool(counted.any()) else batch.mask
    return batch.mask, batch.mask


def blank(run: Opened) -> Tensor:
    """What stands in hidden cells: 0, or the smallest value where 0 is out of the data's range."""
    low, high = run.model.spec.value_range or (0.0, 1.0)
    return torch.tensor(min(max(0.0, low), high), device=run.device)


def per_element(difference: Tensor, counted: Tensor | None) -> Tensor:
    """Mean square over what counts, (B,), 0 where nothing does."""
    squares = difference.flatten(1).square()
    if counted is None:
        return squares.mean(1)
    counted = counted.expand_as(difference).flatten(1)
    return squares.where(counted, 0.0).sum(1) / counted.sum(1).clamp(min=1)


def mask_of(path: Path, run: Opened) -> Tensor:
    """True where a picture is not black, (H, W).

    Raises:
        ConfigError: The run's samples are no pictures.
        DataError: It is missing, damaged, or of another size.
    """
    shape = run.model.input_shape
    if len(shape) != 3:
        raise ConfigError(f"--mask is for pictures, but samples have the shape {shape}: leave it out.")
    try:
        with Image.open(path) as picture:
            values = np.asarray(picture.convert("L")) > 127
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}: give --mask a picture.") from error
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"{path} is not a whole picture: give --mask another one.") from error
    if values.shape != shape[1:]:
        raise DataError(f"{path} has {values.shape} pixels, the model's pictures {shape[1:]}: give --mask that size.")
    if not values.any():
        raise DataError(f"{path} is black all over, and nothing is left to fill in from: give --mask another one.")
    return torch.from_numpy(values).to(run.device)


def original(run: Opened, data: str | None) -> Table | None:
    """The table that the samples came from, where it has columns that the restored one should keep."""
    if data is None or not isinstance(run.data, Tabular) or Path(data).suffix.lower() not in (".csv", ".parquet"):
        return None
    return read(Path(data))


def merged(run: Opened, table: Table, start: int, x: Tensor, masked: bool) -> Columns | None:
    """Rows of a table with its modelled columns restored; where cells are missing, these alone."""
    columns = named(run, x)
    if columns is None:
        return None
    found: Columns = {}
    for name, values in table.arrays.items():
        rows = values[start : start + len(x)]
        if name not in columns:
            found[name] = rows
        elif not masked:
            found[name] = columns[name]
        elif is_text(rows):
            missing = np.array([is_missing(cell) and cell.lower() != "none" for cell in rows], dtype=bool)
            found[name] = np.where(missing, columns[name].astype(str), rows).astype(object)
        else:
            found[name] = np.where(np.isnan(rows), columns[name], rows)
    return found


def sorted_rows(
    run: Opened, asked: Namespace, errors: np.ndarray, labels: np.ndarray | None, called: Name
) -> Iterator[Columns]:
    """Index, name, label and error of each sample, the worst first."""
    index = run.data.split(asked.split)[1].numpy() if isinstance(run.data, DataModule) else np.arange(len(errors))
    order = np.argsort(-errors, kind="stable")
    for start in range(0, len(order), 4096):
        rows = order[start : start + 4096]
        found: Columns = {"index": index[rows]}
        if called(0) is not None:
            found["name"] = np.array([called(int(row)) for row in rows], dtype=object)
        if labels is not None:
            found["label"] = labels[rows]
        yield found | {"error": errors[rows]}
