"""What `lit_ae embed` computes, batch by batch, and how parts of several processes become one file."""

from __future__ import annotations

import shutil
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from math import log2, prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datamodules.base import DataModule
from datamodules.mapped import layout_of
from datamodules.sequences import Sequences
from lit_ae.batch import Batch, key
from lit_ae.errors import ConfigError, NonFiniteError
from lit_ae.jobs.opening import Opened, Split, opened
from lit_ae.jobs.rows import Columns, Growing, write_rows
from lit_ae.jobs.shards import Shard, folder, here, part, wait
from lit_ae.jobs.tracking import track
from lit_ae.models.base import Autoencoder
from lit_ae.models.coded import Coded
from lit_ae.models.grid import GridLatent
from lit_ae.models.hierarchy import Hierarchical
from lit_ae.models.joint import flat
from lit_ae.models.latent import VectorDecoding
from lit_ae.models.masked_autoencoder import MaskedAutoencoder
from lit_ae.models.randomness import reseed
from lit_ae.posteriors import DiagonalGaussian

LATENTS = ("z", "log_variance", "codes")


def embed(asked: Namespace, flags: Sequence[str]) -> list[str]:
    """Embed what a command line asks for, and say in lines what was written.

    Raises:
        ConfigError: An argument does not fit.
        RunError: The run cannot be opened, or another process died.
        NonFiniteError: A latent is not finite.
    """
    out, shard = Path(asked.out), here()
    run = opened(asked.run, flags, asked.data, device_of(asked.device, shard))
    called = names_of(run, asked.split)

    def chunks() -> Iterator[Columns]:
        return embedded(run, asked.split, asked.batch_size, shard, np.dtype(asked.dtype), asked.seed, called)

    if shard.world == 1:
        rows = save(run, out, chunks(), asked.split, called)
    else:
        if not isinstance(run.data, DataModule):
            raise ConfigError(f"{type(run.data).__name__} cannot share its samples: run one process.")
        parts, batch_size = folder(out), asked.batch_size or run.data.eval_batch_size
        try:
            with part(parts, shard.rank) as own:
                leave(own, chunks())
            if shard.rank:
                return []
            wait(parts, shard.world)
            found = taken(parts, shard.world, batch_size, run.count(asked.split) or 0)
            rows = save(run, out, found, asked.split, called)
        finally:
            if not shard.rank:
                shutil.rmtree(parts, ignore_errors=True)
    what = "codes" if isinstance(run.model, Coded) else "latents"
    return [f"{what:8} {out}", f"size     {size(run, out.stat().st_size, rows, asked.dtype, asked.split)}"]


def device_of(asked: str, shard: Shard) -> str:
    """The device of this process: each its own where there are several accelerators."""
    if asked in ("auto", "cuda") and shard.world > 1 and torch.cuda.is_available():
        return f"cuda:{shard.rank % torch.cuda.device_count()}"
    return asked


def names_of(run: Opened, split: Split) -> Callable[[int], str | None]:
    """What the sample at a position of a split is called."""
    if not isinstance(run.data, DataModule):
        return lambda _: None
    source, index = run.data.split(split)
    names = source.names
    return lambda position: None if names is None else names[int(index[position])]


@torch.no_grad()
def embedded(
    run: Opened,
    split: Split,
    batch_size: int | None,
    shard: Shard,
    dtype: np.dtype,
    seed: int,
    called: Callable[[int], str | None],
) -> Iterator[Columns]:
    """Latents or codes of this process's batches, each with its labels and conditions.

    Raises:
        NonFiniteError: A latent is not finite.
    """
    assert shard.world == 1 or isinstance(run.data, DataModule)
    size = batch_size or (run.data.eval_batch_size if isinstance(run.data, DataModule) else 1)
    samples, start = run.count(split), 0
    batches = None if samples is None else max(0, -(-samples // size) - shard.rank + shard.world - 1) // shard.world
    conditioned = run.model.spec.condition_shape is not None
    found = run.ordered(split, batch_size, shard)
    for number, batch in zip(count(shard.rank, shard.world), track(found, batches, "embed"), strict=False):
        reseed(key(seed, number), run.device)
        start = number * size if shard.world > 1 else start
        chunk = {name: values.cpu().numpy() for name, values in latents(run.model, batch).items()}
        for name in ("z", "log_variance"):
            if name in chunk:
                chunk[name] = finite(chunk[name].astype(dtype, copy=False), start, called)
        if batch.y is not None:
            chunk["label"] = batch.y.cpu().numpy()
        if conditioned and batch.c is not None:
            chunk["condition"] = batch.c.cpu().numpy()
        if isinstance(run.data, Sequences) and batch.mask is not None:
            chunk["length"] = batch.mask[:, 0].sum(-1).cpu().numpy()
        start += len(batch.x)
        yield chunk


def latents(model: Autoencoder, batch: Batch) -> dict[str, Tensor]:
    """`codes`, (B, *S), or the posterior's mode `z`, (B, *D), and `log_variance` where it has one."""
    x, _, c, mask = batch[:4]
    if isinstance(model, Coded):
        kind = torch.uint8 if model.num_codes <= 2**8 else torch.int16 if model.num_codes <= 2**15 else torch.int32
        return {"codes": model.codes(x, c, mask).to(kind)}
    if isinstance(model, Hierarchical):
        levels = [q for q in model.conditionals(x, c, mask)[0] if isinstance(q, DiagonalGaussian)]
        return {
            "z": flat([q.mode for q in levels]).float(),
            "log_variance": flat([2 * q.scale.log() for q in levels]).float(),
        }
    q = model.encode(x, c, mask)
    found = {"z": q.mode.float()}
    return found | {"log_variance": 2 * q.scale.float().log()} if isinstance(q, DiagonalGaussian) else found


def finite(values: np.ndarray, start: int, called: Callable[[int], str | None]) -> np.ndarray:
    """The values themselves.

    Raises:
        NonFiniteError: One is not finite; the message names the sample.
    """
    if not np.isfinite(values).all():
        row = start + int(np.argwhere(~np.isfinite(values))[0, 0])
        name = called(row)
        named = "" if name is None else f" ({name})"
        hint = ", or write --dtype float32" if values.dtype == np.float16 else ""
        raise NonFiniteError(
            f"Sample {row}{named} has a latent that is no finite number in {values.dtype}: look at that sample and at "
            f"the run's losses{hint}. Nothing was written."
        )
    return values


def leave(own: Path, chunks: Iterator[Columns]) -> None:
    """Write this process's part: a .npy file per column."""
    files: dict[str, Growing] = {}
    try:
        for chunk in chunks:
            for name, values in chunk.items():
                if name not in files:
                    files[name] = Growing((own / f"{name}.npy").open("wb+"))
                files[name].add(values)
        for file in files.values():
            file.close()
    finally:
        for file in files.values():
            file.sink.close()


def taken(parts: Path, world: int, batch_size: int, samples: int) -> Iterator[Columns]:
    """Batches of all parts in the order of the data: process r has the batches r, r + w, ..."""
    files = [{path.stem: layout_of(path) for path in sorted((parts / str(rank)).iterdir())} for rank in range(world)]
    order = [name for name in (*LATENTS, "label", "condition", "length") if name in files[0]]
    for number in range(-(-samples // batch_size)):
        first = number // world * batch_size
        rows = np.arange(first, first + min(batch_size, samples - number * batch_size))
        yield {name: files[number % world][name].rows(rows) for name in order}


def save(run: Opened, out: Path, chunks: Iterator[Columns], split: Split, called: Callable[[int], str | None]) -> int:
    """Write all chunks with their index and names, and return the number of samples."""
    index = run.data.split(split)[1].numpy() if isinstance(run.data, DataModule) else None
    named = called(0) is not None

    def complete() -> Iterator[Columns]:
        start = 0
        for chunk in chunks:
            latent: Columns = {name: chunk.pop(name) for name in LATENTS if name in chunk}
            n = len(next(iter(latent.values())))
            rows: Columns = {"index": np.arange(start, start + n) if index is None else index[start : start + n]}
            if named:
                rows["name"] = np.array([called(row) for row in range(start, start + n)], dtype=object)
            start += n
            if out.suffix.lower() == ".parquet":
                yield {**rows, **chunk, **latent}
            else:
                mean = {"mean" if name == "z" else name: values for name, values in latent.items()}
                yield {**mean, **rows, **chunk}

    return write_rows(out, complete(), columns(run.model))


def columns(model: Autoencoder) -> dict[str, list[str]]:
    """Names of columns of a table: a hierarchy's say their level."""
    if isinstance(model, Coded):
        return {"codes": [f"code{place}" for place in range(prod(model.code_shape))]}
    if not isinstance(model, Hierarchical):
        return {}
    levels = [(level, at) for level, shape in enumerate(model.latent_shapes) for at in range(prod(shape))]
    return {name: [f"level{level}_{name}{at}" for level, at in levels] for name in ("z", "log_variance")}


def width(model: Autoencoder, dtype: str = "float32") -> tuple[int, float]:
    """How many latents or codes a sample has, and bits of each."""
    if isinstance(model, Coded):
        return prod(model.code_shape), log2(model.num_codes)
    bits = 8.0 * np.dtype(dtype).itemsize
    if isinstance(model, Hierarchical):
        return sum(prod(shape) for shape in model.latent_shapes), bits
    return prod(shape_of(model) or (0,)), bits


def shape_of(model: Autoencoder) -> tuple[int, ...] | None:
    """Shape of the latents of one sample, None where only its own code knows."""
    if isinstance(model, Hierarchical):
        return (sum(prod(shape) for shape in model.latent_shapes),)
    return model.latent_shape if isinstance(model, (VectorDecoding, GridLatent, MaskedAutoencoder)) else None


def size(run: Opened, file_bytes: int, rows: int, dtype: str, split: Split | None) -> str:
    """Bits per sample as packed, in the file and in the data, and how many times as many these are."""
    number, each = width(run.model, dtype)
    wide = 4 if len(run.model.input_shape) != 3 else 1
    if split is not None and isinstance(run.data, DataModule):
        wide = run.data.split(split)[0].element_size
    raw, packed, stored = 8 * wide * prod(run.model.input_shape), number * each, 8 * file_bytes / max(rows, 1)
    ratio = f", ratio {raw / packed:.3g}" if packed else ""
    of = f"{number:,} x {each:.4g}"
    return f"{packed:,.0f} bits per sample ({of}), {stored:,.0f} in the file; {raw:,} in the data{ratio}"
