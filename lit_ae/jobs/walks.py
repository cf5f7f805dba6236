"""Ways through the latents of a run: where they start, how they go, and what they are decoded to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lit_ae.batch import Batch
from lit_ae.errors import ConfigError, DataError
from lit_ae.jobs.opening import Opened, Split, bring
from lit_ae.models.base import Autoencoder
from lit_ae.models.grid import GridLatent
from lit_ae.models.hierarchy import Hierarchical
from lit_ae.models.latent import VectorDecoding

AT_ONCE = 256  # latents decoded at once
Walkable = (VectorDecoding, GridLatent, Hierarchical)


def need(run: Opened, what: str) -> Autoencoder:
    """The run's model, where its latents are places to walk through.

    Raises:
        ConfigError: They are not; names what can.
    """
    if not isinstance(run.model, Walkable):
        raise ConfigError(
            f"{what} needs a vector of latents (as AE or VAE has), a ladder (HierarchicalVAE) or a grid "
            f"(AutoencoderKL), and {run.run.folder} is a run of {run.variant}."
        )
    return run.model


def elsewhere(names: Sequence[str]) -> str | None:
    """The first file where every sample is one, so that the run can be opened without its own data."""
    return names[0] if names and not any(name.isdecimal() for name in names) else None


def samples(run: Opened, names: Sequence[str], split: Split) -> list[Batch]:
    """Samples by their number in a split, or by a file with one sample: a batch of one each.

    Raises:
        ConfigError: There is no such sample.
        DataError: The file holds several, or does not fit.
    """
    found = {name: by_number(run, int(name), split) for name in names if name.isdecimal()}
    for name in names:
        if name not in found:
            found[name] = by_file(run, name)
    return [found[name] for name in names]


def by_number(run: Opened, number: int, split: Split) -> Batch:
    """The sample of a number, from 0, in the order of the data."""
    seen = 0
    for batch in run.ordered(split):
        if number < seen + len(batch.x):
            return one(batch, number - seen)
        seen += len(batch.x)
    raise ConfigError(f"There is no sample {number}: the {split} data have {seen:,}, the first is 0.")


def by_file(run: Opened, name: str) -> Batch:
    """The sample that a file holds."""
    if not Path(name).exists():
        raise ConfigError(f"There is no file {name}: name one, or give the number of a sample.")
    bring(run.data, Path(name))
    if (count := run.count("test")) != 1:
        raise DataError(f"{name} holds {count:,} samples: name a file with one, or give --data {name} and a number.")
    return one(next(run.ordered("test")), 0)


def one(batch: Batch, place: int) -> Batch:
    """One sample of a batch as a batch."""
    return Batch(*(None if part is None else part[place : place + 1] for part in batch[:4]))  # type: ignore[arg-type]


def pair(run: Opened, split: Split) -> list[str]:
    """Numbers of the first sample and of the next one of another class; without classes, of the first two.

    Raises:
        DataError: There is but one sample.
    """
    first: Tensor | None = None
    seen = 0
    for batch in run.ordered(split):
        if batch.y is None or batch.y.ndim > 1:
            break
        first = batch.y[0] if first is None else first
        if (other := (batch.y != first).nonzero()).numel():
            return ["0", str(seen + int(other[0]))]
        seen += len(batch.x)
    if run.count(split) == 1:
        raise DataError("The data have one sample, and a walk needs two: name files, or another --split.")
    return ["0", "1"]


def name_of(name: str, split: Split) -> str:
    """What a sample is called in a picture."""
    return f"{split} sample {name}" if name.isdecimal() else Path(name).name


def line(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Points on the line from a to b, (*D) each: (steps, *D)."""
    t = torch.linspace(0, 1, steps, dtype=torch.float64, device=a.device).reshape(-1, *[1] * a.ndim)
    return ((1 - t) * a.double() + t * b.double()).to(a)


def arc(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Points on the arc from a to b, (*D) each: (steps, *D).

    Directions go along the great circle (White 2016, arXiv:1609.04468), lengths evenly from |a| to |b|. Where the two
    are parallel, or one of them is zero, no circle is greatest, and it is the line.
    """
    start, stop = a.double().flatten(), b.double().flatten()
    lengths = start.norm(), stop.norm()
    if min(lengths) == 0:
        return line(a, b, steps)
    start, stop = start / lengths[0], stop / lengths[1]
    angle = (start @ stop).clamp(-1, 1).arccos()
    if angle.sin() < 1e-6:
        return line(a, b, steps)
    t = torch.linspace(0, 1, steps, dtype=torch.float64, device=a.device)[:, None]
    directions = (((1 - t) * angle).sin() * start + (t * angle).sin() * stop) / angle.sin()
    return (directions * torch.lerp(lengths[0], lengths[1], t)).to(a).reshape(-1, *a.shape)


def conditions(a: Tensor | None, b: Tensor | None, steps: int) -> Tensor | None:
    """Conditions on the way from a to b, (*C) each: (steps, *C); a class changes in the middle."""
    if a is None or b is None:
        return None
    if a.is_floating_point():
        return line(a, b, steps)
    return torch.stack([a if 2 * step < steps else b for step in range(steps)])


@torch.no_grad()
def decoded(model: Autoencoder, z: Tensor, c: Tensor | None = None) -> Tensor:
    """E[x|z, c] on the CPU, (N, *E), of latents (N, *D); one condition, (1, *C), or one for each."""
    parts = []
    for start in range(0, len(z), AT_ONCE):
        part = z[start : start + AT_ONCE]
        given = None if c is None else c.expand(len(z), *c.shape[1:])[start : start + AT_ONCE]
        parts.append(model.decode(part, given).mean.float().cpu())
    return torch.cat(parts)
