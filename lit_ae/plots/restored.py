"""Originals beside what a model makes of them, from the worst to the best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from lit_ae.plots.style import ACCENT, INK, WIDTH, bare, canvas, styled
from lit_ae.plots.tiles import SMALLEST, curve, is_picture, limits, montage


class Shown(NamedTuple):
    """One sample.

    Args:
        x: The original, (*E).
        seen: What the model saw of it, NaN where that is nothing; None for all.
        restored: What it made of that.
        error: Its error.
        name: What it is called.
    """

    x: np.ndarray
    seen: np.ndarray | None
    restored: np.ndarray
    error: float
    name: str


@styled
def restored(
    bands: Sequence[tuple[str, Sequence[Shown]]], title: str, span: tuple[float, float] | None = None
) -> Figure:
    """A band of columns for each kind of sample, with the errors under them.

    Args:
        bands: What the samples of a band are, and these.
        title: What all of them are.
        span: Values shown as black and white.
    """
    first = bands[0][1][0]
    draw = pictures if is_picture(first.x.shape) else vectors
    return draw(bands, title, span)


def pictures(bands: Sequence[tuple[str, Sequence[Shown]]], title: str, span: tuple[float, float] | None) -> Figure:
    """Rows of pictures: the original, what was seen where that is not all, and what was restored."""
    masked = any(shown.seen is not None for _, band in bands for shown in band)
    rows = ["original", "seen", "restored"] if masked else ["original", "reconstruction"]
    most = max(len(band) for _, band in bands)
    span = span or limits(np.stack([shown.x for _, band in bands for shown in band]))
    breadth = min((WIDTH - 1.6) / most, 1.0)
    figure = canvas(WIDTH, 0.5 + len(bands) * (breadth * len(rows) + 0.62))
    panels = figure.subplots(len(bands), 1, squeeze=False)[:, 0]
    for axes, (name, band) in zip(panels, bands, strict=True):
        grey = (span[0] + span[1]) / 2
        parts = [[shown.x for shown in band]]
        if masked:
            parts.append([np.nan_to_num(shown.x if shown.seen is None else shown.seen, nan=grey) for shown in band])
        parts.append([shown.restored for shown in band])
        filler = [np.full_like(band[0].x, span[1])] * (most - len(band))
        page, middles, centres = montage(np.array([[*part, *filler] for part in parts]), span)
        small = min(band[0].x.shape[-2:]) < SMALLEST
        axes.imshow(page, vmin=0, vmax=1, interpolation="nearest" if small else "antialiased")
        bare(axes)
        axes.tick_params(length=0)
        axes.set_yticks(middles, rows)
        axes.set_xticks(centres[: len(band)], [f"{shown.error:.2g}" for shown in band])
        axes.set_title(name, fontsize=12)
    panels[-1].set_xlabel("mean squared error")
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    return figure


def vectors(bands: Sequence[tuple[str, Sequence[Shown]]], title: str, span: tuple[float, float] | None) -> Figure:
    """A panel for each of four samples of a band: the original as a thick curve, what was restored as a thin one."""
    across = min(4, max(len(band) for _, band in bands))
    figure = canvas(WIDTH, 1.0 + 1.9 * len(bands))
    panels = figure.subplots(len(bands), across, squeeze=False, sharex=True, sharey=True)
    for line, (name, band) in zip(panels, bands, strict=True):
        chosen = list(band)[:across]
        for axes, shown in zip(line, chosen, strict=False):
            original = shown.x if shown.seen is None else shown.seen
            curve(axes, original.ravel(), color="#999999", linewidth=2.5, label="original")
            curve(axes, shown.restored.ravel(), color=ACCENT, linewidth=1.3, label="restored")
            axes.set_title(f"{name}: {shown.error:.2g}", fontsize=10, color=INK, fontweight="normal")
        for axes in line[len(chosen) :]:
            axes.set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    figure.supxlabel("element of x", fontsize=12)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower right", ncols=2)
    return figure
