"""Several models side by side: rate against distortion, latent maps, samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from lit_ae.plots.latent import Plane, dots
from lit_ae.plots.samples import shown
from lit_ae.plots.style import ACCENT, INK, MARKERS, WIDTH, array, bare, canvas, colour, styled
from lit_ae.plots.tiles import curve, montage

ACROSS = 4  # models in a row
Values = Tensor | np.ndarray


@styled
def rate_distortion(labels: Sequence[str], points: Sequence[Sequence[tuple[float, float]]]) -> Figure:
    """One point per run, one colour per model; on each dashed line the ELBO is the same (Alemi et al. 2018).

    Args:
        labels: Name of each model.
        points: Rate and distortion, in nats, of each of its runs.
    """
    figure = canvas(WIDTH, 4.8)
    axes = figure.add_subplot()
    for i, (label, runs) in enumerate(zip(labels, points, strict=True)):
        across, down = zip(*runs, strict=True)
        look = {"color": colour(i, max(len(labels), 2)), "marker": MARKERS[i % len(MARKERS)], "label": label}
        axes.scatter(across, down, s=90, linewidths=0.8, edgecolors="white", zorder=3, **look)
    every = np.array([point for runs in points for point in runs])
    low, high = every.min(0), every.max(0)
    room = 0.15 * (high - low) + 0.02 * np.abs(high) + 1e-6
    low, high = np.maximum(low - room, 0), high + room
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    totals = MaxNLocator(8).tick_values(low.sum(), high.sum())
    for total in totals:
        ends = np.array([low[0], high[0]])
        axes.plot(ends, total - ends, color="#BBBBBB", linestyle="--", linewidth=1, zorder=1)
        x = min(high[0], total - low[1])
        if low[0] < x and low[1] <= total - x <= high[1]:
            text = f"{-total:.4g}".replace("-", "\N{MINUS SIGN}")
            axes.annotate(
                text, (x, total - x), (-4, 4), textcoords="offset points", ha="right", fontsize=9, color="#777777"
            )
    axes.set_title("Rate and distortion, dashed: equal ELBO")
    axes.set(xlabel="rate KL(q(z|x)‖p(z)), nats", ylabel="distortion \N{MINUS SIGN}E log p(x|z), nats")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure


@styled
def maps(
    labels: Sequence[str], z: Sequence[Values], y: Sequence[Values | None], names: Sequence[str] | None = None
) -> Figure:
    """Latent maps, each on axes of its own, coloured by label.

    Args:
        labels: Name of each model.
        z: Codes of the same data, (N, D) each; of more than two dimensions the first two principal components.
        y: Labels of the data, (N,) or (N, F), of which the first column colours.
        names: Names of the classes.
    """
    across = min(ACROSS, len(labels))
    lines = -(-len(labels) // across)
    side = (WIDTH - 1.0) / max(across, 2)
    figure = canvas(side * across + 1.0, (side + 0.75) * lines)
    grid = figure.subplots(lines, across, squeeze=False).ravel()
    for axes, label, codes, classes in zip(grid, labels, z, y, strict=False):
        plane = Plane.fit(array(codes))
        points = plane.project(codes)
        if points.shape[1] == 1:  # a line: spread out of its way, so that points do not hide each other
            points = np.concatenate([points, np.random.default_rng(0).normal(size=points.shape)], 1)
        kinds = None if classes is None else array(classes).reshape(len(points), -1)[:, 0]
        shades = dots(axes, points, kinds, names)[1]
        axes.set_title(wrapped(label), fontsize=11)
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel(plane.labels[0].replace(" of variance", ""), fontsize=9)
        axes.set_ylabel(plane.labels[1].replace(" of variance", "") if len(plane.labels) > 1 else "", fontsize=9)
    for axes in grid[len(labels) :]:
        axes.set_visible(False)
    if shades is not None:
        figure.colorbar(shades, ax=grid.tolist(), label="label", shrink=0.8)
    elif y[0] is not None:
        handles = grid[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside right upper", title="label", markerscale=1.6, fontsize=10)
    return figure


@styled
def side_by_side(labels: Sequence[str], x: Sequence[Values], span: tuple[float, float]) -> Figure:
    """Samples of each model, (N, *E), in a square of its own.

    Args:
        labels: Name of each model.
        x: Its samples, (N, *E).
        span: Values shown as black and white.
    """
    across = min(ACROSS, len(labels))
    lines = -(-len(labels) // across)
    side = WIDTH / max(across, 2)
    figure = canvas(side * across, (side + 0.4) * lines)
    if isinstance(engine := figure.get_layout_engine(), ConstrainedLayoutEngine):
        engine.set(w_pad=0.12, h_pad=0.08)
    grid = figure.subplots(lines, across, squeeze=False).ravel()
    for axes, label, values in zip(grid, labels, x, strict=False):
        axes.set_title(wrapped(label), fontsize=11)
        samples = shown(values, 1)
        if samples.ndim == 2:
            for vector in samples:
                curve(axes, vector, color=ACCENT, alpha=0.4, linewidth=1.0)
            axes.tick_params(labelsize=9, colors=INK)
            continue
        columns = int(np.ceil(len(samples) ** 0.5))
        blank = np.full((-len(samples) % columns, *samples.shape[1:]), span[1])
        page = montage(np.concatenate([samples, blank]).reshape(-1, columns, *samples.shape[1:]), span)[0]
        axes.imshow(page, vmin=0, vmax=1, interpolation="nearest")
        bare(axes)
    for axes in grid[len(labels) :]:
        axes.set_visible(False)
    return figure


def wrapped(label: str) -> str:
    """A name of a model in two lines where it is long."""
    return label.replace(" (", "\n(", 1) if len(label) > 18 else label
