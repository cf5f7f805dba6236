"""Samples decoded along ways through the latents: all on one page, or one moment after another."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from lit_ae.plots.samples import shown
from lit_ae.plots.style import ACCENT, WIDTH, bare, canvas, styled
from lit_ae.plots.tiles import SMALLEST, curve, curves, montage, sheet

Values = Tensor | np.ndarray
ACROSS = 5  # tiles in a row of a frame
TILE = 1.35  # inches
LETTERS = 10  # of a title, in an inch


@styled
def walks(
    x: Values,
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[float],
    meaning: str,
    ends: Values | None = None,
    span: tuple[float, float] | None = None,
) -> Figure:
    """One row per way, decoded samples from its start to its end.

    Args:
        x: Decoded samples, (R, C, *E).
        title: What they are.
        rows: Name of each way.
        columns: Name of each place on the way.
        values: The places as numbers, rising.
        meaning: What these are.
        ends: The two samples that all ways lead from and to, (2, *E).
        span: Values shown as black and white.
    """
    x = shown(x, 2)
    if x.ndim == 3:
        return curves(x, title, rows, values, meaning)
    if ends is None:
        return sheet(x, title, rows, columns, xlabel=meaning, span=span)
    first, last = (np.repeat(shown(ends, 1)[None, i : i + 1], len(x), 0) for i in (0, 1))
    names = ["input", *columns, "input"]
    page = np.concatenate([first, x, last], 1)
    return sheet(page, title, rows, names, xlabel=meaning, span=span, breaks=(1, x.shape[1] + 1))


def frames(
    x: Values, title: str, names: Sequence[str], moments: Sequence[str], span: tuple[float, float] = (0.0, 1.0)
) -> list[Figure]:
    """One figure per moment: a tile for each way, or a curve where samples are no pictures.

    Args:
        x: Samples, (T, R, *E).
        title: What they are.
        names: Name of each way, (R,).
        moments: What each moment is called, (T,).
        span: Values shown as black and white.
    """
    x = shown(x, 2)
    if x.ndim == 3:
        low, high = float(np.nanmin(x)), float(np.nanmax(x))
        span = (low - 0.05 * (high - low) - 1e-6, high + 0.05 * (high - low) + 1e-6)
    return [frame(row, f"{title}\n{moment}", names, span) for row, moment in zip(x, moments, strict=True)]


@styled
def frame(x: np.ndarray, title: str, names: Sequence[str], span: tuple[float, float]) -> Figure:
    """Samples of one moment, (R, *E), a tile for each; the span of curves is that of their axis."""
    curved = x.ndim == 2
    lines, across = -(-len(names) // ACROSS), min(len(names), ACROSS)
    tile = WIDTH / across if curved else TILE
    figure = canvas(max(tile * across, 4.5), 0.75 + lines * (TILE + 0.35))
    grid = figure.subplots(lines, across, squeeze=False, sharey=curved).ravel()
    for axes, name, sample in zip(grid, names, x, strict=False):
        axes.set_title(name, fontsize=11, loc="center", pad=4)
        if curved:
            curve(axes, sample, color=ACCENT)
            axes.set_ylim(*span)
            continue
        kind = "nearest" if min(sample.shape[-2:]) < SMALLEST else "antialiased"
        axes.imshow(montage(sample[None, None], span)[0], vmin=0, vmax=1, interpolation=kind)
        bare(axes)
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    whole = "\n".join(fill(line, int(LETTERS * figure.get_figwidth())) for line in title.split("\n"))
    figure.suptitle(whole, x=0.02, ha="left", fontsize=12)
    return figure
