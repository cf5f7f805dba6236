"""Rows and columns of samples: pictures side by side, vectors as curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lit_ae.plots.style import ACCENT, WIDTH, bare, canvas

MAX_TILE = 1.0  # inches: small pictures in few columns need not fill the width
SMALLEST = 64  # pixels


def is_picture(shape: Sequence[int]) -> bool:
    """Whether samples of this shape are shown as pictures: (C, H, W); sequences, (F, T), are shown as curves."""
    return len(shape) == 3


def limits(x: np.ndarray) -> tuple[float, float]:
    """Values shown as black and white: 0 and 1 where the data lie there, else their own range."""
    low, high = float(np.nanmin(x)), float(np.nanmax(x))
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, max(high, low + 1e-6))


def montage(
    x: np.ndarray, span: tuple[float, float], breaks: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join pictures (R, C, [channels,] H, W) to one, (height, width[, 3]) in [0, 1], white between.

    Three channels are red, green and blue; any other number is averaged to grey. A wider gap precedes the columns in
    `breaks`. Returns the picture, and the middles of its rows and columns in pixels.
    """
    if x.ndim == 4:
        x = x[:, :, None]
    if x.shape[2] != 3:
        x = x.mean(2, keepdims=True)
    x = np.clip((x - span[0]) / (span[1] - span[0]), 0, 1)
    factor = -(-SMALLEST // min(x.shape[3:]))  # so that the gap can be thin beside few large pixels
    x = x.repeat(factor, 3).repeat(factor, 4)
    rows, columns, _, height, width = x.shape
    gap = max(1, round(min(height, width) / 24))
    tops = np.arange(rows) * (height + gap)
    lefts = np.arange(columns) * (width + gap) + 4 * gap * np.array(
        [sum(at <= c for at in breaks) for c in range(columns)]
    )
    page = np.ones((tops[-1] + height, lefts[-1] + width, x.shape[2]))
    for r, top in enumerate(tops):
        for c, left in enumerate(lefts):
            page[top : top + height, left : left + width] = x[r, c].transpose(1, 2, 0)
    return (page if x.shape[2] == 3 else page[:, :, 0]), tops + (height - 1) / 2, lefts + (width - 1) / 2


def sheet(
    x: np.ndarray,
    title: str,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    ylabel: str = "",
    xlabel: str = "",
    span: tuple[float, float] | None = None,
    breaks: Sequence[int] = (),
) -> Figure:
    """One picture of pictures (R, C, [channels,] H, W), with labels for its rows and columns.

    Args:
        x: Pictures.
        title: What they are.
        rows: One label per row, or none.
        columns: One label per column, or none; an empty label leaves its column without.
        ylabel: What the row labels are.
        xlabel: What the column labels are.
        span: Values shown as black and white.
        breaks: Columns that a wider gap precedes.
    """
    page, middles, centres = montage(x, span or limits(x), breaks)
    height, width = page.shape[:2]
    breadth = min(WIDTH - 1.1, MAX_TILE * x.shape[1])
    figure = canvas(WIDTH, breadth * height / width + 0.6 + 0.35 * bool(columns) + 0.25 * bool(xlabel))
    axes = figure.add_subplot()
    axes.imshow(page, vmin=0, vmax=1, interpolation="nearest" if min(x.shape[-2:]) < SMALLEST else "antialiased")
    bare(axes)
    axes.set_title(title)
    axes.tick_params(length=0)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if rows:
        axes.set_yticks(middles, rows)
    if columns:
        axes.set_xticks(centres, columns)
    return figure


def curves(x: np.ndarray, title: str, rows: Sequence[str], values: Sequence[float], meaning: str) -> Figure:
    """One panel per row of vectors (R, C, D), with one curve per column coloured by its value.

    Args:
        x: Vectors.
        title: What they are.
        rows: One label per row.
        values: What each column stands for, rising.
        meaning: What the values are.
    """
    figure = canvas(WIDTH, min(1.0 + 1.1 * len(x), 12.0))
    panels = [axes for line in figure.subplots(len(x), 1, sharex=True, sharey=True, squeeze=False) for axes in line]
    scale = ScalarMappable(Normalize(min(values), max(values)), "viridis")
    colours = scale.to_rgba(np.asarray(values, dtype=float))
    for axes, vectors, row in zip(panels, x, rows, strict=True):
        for vector, colour in zip(vectors, colours, strict=True):
            curve(axes, vector, color=colour)
        axes.set_ylabel(row, rotation=0, ha="right", va="center")
    panels[-1].set_xlabel("element of x")
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    figure.colorbar(scale, ax=panels, label=meaning, aspect=30)
    return figure


def curve(axes: Axes, vector: np.ndarray, **style: object) -> None:
    """Draw one vector; few elements get dots, since they rarely have an order."""
    axes.plot(np.arange(1, len(vector) + 1), vector, marker="o" if len(vector) <= 32 else None, markersize=4, **style)  # type: ignore[arg-type]
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


def bundle(x: np.ndarray, title: str) -> Figure:
    """All vectors (N, D) in one panel."""
    figure = canvas(WIDTH, 4.0)
    axes = figure.add_subplot()
    for vector in x:
        curve(axes, vector, color=ACCENT, alpha=0.4, linewidth=1.2)
    axes.set_title(title)
    axes.set(xlabel="element of x", ylabel="value")
    return figure


def panels(pairs: Sequence[tuple[np.ndarray, np.ndarray]], title: str, names: tuple[str, str]) -> Figure:
    """A panel per pair of vectors (D,), both curves in it."""
    columns = min(3, len(pairs))
    lines = -(-len(pairs) // columns)
    figure = canvas(WIDTH, 1.2 + 1.5 * lines)
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (first, second) in zip(grid, pairs, strict=False):
        curve(axes, first, color="#666666", linewidth=2.5, label=names[0])
        curve(axes, second, color=ACCENT, linewidth=1.5, label=names[1])
    for axes in grid[len(pairs) :]:
        axes.set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    figure.supxlabel("element of x", fontsize=12)
    figure.supylabel("value", fontsize=12)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure
