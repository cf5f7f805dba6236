"""What `lit_ae traverse` decodes, and the files that it writes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lit_ae import functional
from lit_ae.batch import Shape
from lit_ae.callbacks.figures import png
from lit_ae.callbacks.gif import gif
from lit_ae.errors import ConfigError
from lit_ae.jobs.interpolated import files, written
from lit_ae.jobs.measured import inputs
from lit_ae.jobs.opening import Opened, Split, opened
from lit_ae.jobs.walks import decoded, name_of, need, samples
from lit_ae.models.base import Autoencoder
from lit_ae.models.coded import Coded
from lit_ae.models.generative import Variational
from lit_ae.plots.samples import signed
from lit_ae.plots.style import array
from lit_ae.plots.tiles import limits
from lit_ae.plots.walks import frames, walks
from lit_ae.posteriors import DiagonalGaussian

MOST = 2000  # samples whose latents say where the data lie
SHOWN = 10  # dimensions, where none are named
MOMENTS = 8  # of the animation, one way
COLLAPSED = 0.01  # nats below which a dimension carries nothing
UNUSED = 1e-4  # share of the largest variance below which it does, where there is no rate
WIDEST = 13  # columns with a label each
SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


class Spread(NamedTuple):
    """Where the latents of the data lie, a channel for each dimension: (D, P), P places where latents are a grid.

    Args:
        z: Modes of q(z|x), (N, D, P).
        deviation: Standard deviation of the aggregate posterior, (D,).
        activity: Nats of each dimension, (D,), or the variance of the modes where there is no rate.
        rated: Whether these are nats.
        shape: Shape of one latent as the decoder takes it.
    """

    z: Tensor
    deviation: Tensor
    activity: Tensor
    rated: bool
    shape: Shape

    @property
    def collapsed(self) -> Tensor:
        """Which dimensions carry nothing, (D,)."""
        return self.activity < (COLLAPSED if self.rated else UNUSED * float(self.activity.max()) + 1e-12)


def traverse(asked: Namespace, flags: Sequence[str]) -> list[str]:
    """Sweep and write what a command line asks for, and say in lines what was written and found.

    Raises:
        ConfigError: There is no such sample or dimension, or the run has no latents to sweep.
        DataError: The data are missing, or do not fit.
        RunError: The run cannot be opened.
    """
    run = opened(asked.run, flags, asked.data, asked.device)
    model = need(run, "lit_ae traverse")
    if isinstance(model, Coded):
        raise ConfigError(
            f"The codes of {run.variant} have no order to sweep them in: use lit_ae interpolate, or name a run with "
            "latents that are numbers, such as VAE's."
        )
    paths = files(run.run.figures, asked.out, "traversal", asked.overwrite)
    split: Split = "test" if asked.data else asked.split
    spread = spread_of(run, split)
    first = next(run.ordered(split))
    about = samples(run, [asked.sample], split)[0] if asked.sample else None
    centre = spread.z.mean(0) if about is None else model.embed(*inputs(about)).reshape(spread.z.shape[1:])
    given = first if about is None else about
    dims = chosen(spread, asked.dims)
    c = None if given.c is None else given.c[:1]

    def swept(steps: int) -> Tensor:
        z = torch.stack([moved(centre, dim, places(spread, dim, steps, asked)) for dim in dims])
        return decoded(model, z.reshape(-1, *spread.shape), c).unflatten(0, z.shape[:2])

    shares = torch.linspace(0, 1, asked.steps).tolist()
    values, labels, meaning = scale(shares, asked)
    span = model.spec.value_range or limits(array(first.x))
    where = "the mean code" if about is None else name_of(asked.sample, split)
    title = f"{run.name}: one latent moved at a time, about {where}"
    rows = [row(spread, dim) for dim in dims]
    still = walks(swept(asked.steps), title, rows, labels, values, meaning, span=span)
    _, texts, _ = scale(torch.linspace(0, 1, MOMENTS).tolist(), asked, every=True)
    tiles = swept(MOMENTS).movedim(0, 1)
    forth = frames(tiles, title, [text.replace("\n", ", ") for text in rows], texts, span)
    lines = written(paths, png(still), gif(forth + forth[-2::-1], 5, 0.4))
    return [*lines, *verdict(spread)]


@torch.no_grad()
def spread_of(run: Opened, split: Split) -> Spread:
    """Where the latents of the first samples of a split lie, and what each of them carries."""
    model, seen = run.model, 0
    zs, noises, nats = [], [], []
    for batch in run.ordered(split):
        z = model.embed(*inputs(batch))
        zs.append(channels(z))
        q = model.encode(*inputs(batch))
        noises.append(channels(q.scale).square() if isinstance(q, DiagonalGaussian) else torch.zeros_like(zs[-1]))
        nats.append(rates(model, *inputs(batch)))
        seen += len(z)
        if seen >= MOST:
            break
    codes = torch.cat(zs)
    deviation = (codes.mean(2).var(0, correction=0) + torch.cat(noises).mean((0, 2))).sqrt()
    rated = [part for part in nats if part is not None]
    activity = torch.cat(rated).sum(2).mean(0) if rated else codes.var(0, correction=0).mean(1)
    return Spread(codes, deviation, activity, bool(rated), tuple(z.shape[1:]))


def channels(z: Tensor) -> Tensor:
    """Latents, (N, D) or (N, D, h, w), with one dimension for all places: (N, D, P)."""
    return z.float().reshape(*z.shape[:2], -1)


def rates(model: Autoencoder, x: Tensor, c: Tensor | None, mask: Tensor | None) -> Tensor | None:
    """Nats of each dimension, (N, D, P), of all levels; None where there is no rate, or no closed form of it."""
    if not isinstance(model, Variational):
        return None
    try:
        levels = [functional.kl_elements(q, p) for q, p in zip(*model.conditionals(x, c, mask), strict=True)]
    except NotImplementedError:
        return None
    return channels(levels[0] if len(levels) == 1 else torch.cat([level.flatten(1) for level in levels], 1))


def chosen(spread: Spread, asked: Sequence[int] | None) -> list[int]:
    """The dimensions that are shown, from 0: those asked for, or the most active.

    Raises:
        ConfigError: There is no such dimension.
    """
    if asked is None:
        return order(spread)[:SHOWN]
    count = len(spread.activity)
    if wrong := [dim for dim in asked if dim > count]:
        raise ConfigError(f"--dims names dimension {wrong[0]}: there are 1 to {count}.")
    return [dim - 1 for dim in asked]


def order(spread: Spread) -> list[int]:
    """All dimensions, the most active first."""
    return spread.activity.argsort(descending=True, stable=True).tolist()


def places(spread: Spread, dim: int, steps: int, asked: Namespace) -> Tensor:
    """Where a dimension goes, (steps,), rising."""
    z = spread.z[:, dim].mean(1)
    if asked.quantile is not None:
        return z.quantile(torch.linspace(asked.quantile, 1 - asked.quantile, steps, device=z.device))
    return z.mean() + torch.linspace(-asked.span, asked.span, steps, device=z.device) * spread.deviation[dim]


def moved(centre: Tensor, dim: int, places: Tensor) -> Tensor:
    """Latents, (steps, D, P), about one, (D, P), with the mean of a dimension at these places."""
    z = centre.repeat(len(places), 1, 1)
    z[:, dim] += places[:, None] - centre[dim].mean()
    return z


def scale(shares: Sequence[float], asked: Namespace, every: bool = False) -> tuple[list[float], list[str], str]:
    """Columns as numbers and in words, and what they are; `every` says in each of them what it is."""
    if asked.quantile is not None:
        values = [asked.quantile + share * (1 - 2 * asked.quantile) for share in shares]
        texts, meaning = [f"{value:.0%}" for value in values], "quantile of the data's codes"
    else:
        values = [asked.span * (2 * share - 1) for share in shares]
        texts, meaning = [signed(value, 1) for value in values], "standard deviations from the mean code"
    if every:
        texts = [f"{text} {meaning}" for text in texts]
    elif len(texts) > WIDEST:
        texts = [text if i in (0, len(texts) - 1) else "" for i, text in enumerate(texts)]
    return values, texts, meaning


def row(spread: Spread, dim: int) -> str:
    """What a dimension is called in the picture, and what it carries."""
    if spread.collapsed[dim]:
        told = "collapsed" if spread.rated else "unused"
    else:
        told = f"{spread.activity[dim]:.2f} nats" if spread.rated else f"std {spread.deviation[dim]:.2g}"
    return f"z{str(dim + 1).translate(SUBSCRIPT)}\n{told}"


def verdict(spread: Spread) -> list[str]:
    """Which dimensions carry most, and which nothing, in lines."""
    dims = order(spread)
    unit = " nats" if spread.rated else ""
    most = ", ".join(f"{dim + 1} ({spread.activity[dim]:.3g}{unit})" for dim in dims[:SHOWN])
    lines = [f"{'rates' if spread.rated else 'variances':<9} {most}{', ...' if len(dims) > SHOWN else ''}"]
    if empty := [str(dim + 1) for dim in sorted(dims) if spread.collapsed[dim]]:
        under = f"{COLLAPSED:g} nats" if spread.rated else f"{UNUSED:g} of the largest variance"
        named = ", ".join(empty[:20]) + (", ..." if len(empty) > 20 else "")
        lines.append(f"collapsed {len(empty)} of {len(dims)} dimensions carry under {under}: {named}")
    return lines
