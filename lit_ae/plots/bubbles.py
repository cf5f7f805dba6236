"""Posteriors as bubbles: where each lies, and how wide it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from torch import Tensor

from lit_ae.plots.latent import Plane, is_classes, label
from lit_ae.plots.style import ACCENT, INK, WIDTH, array, canvas, colour, styled

NOTE = "bubble: mean and one std. deviation of q(z|x)"
PRIOR = "dashed: one std. deviation of p(z)"


@dataclass(frozen=True)
class View:
    """What the panels of bubbles share, so that they compare.

    Args:
        plane: The plane that is looked at.
        extent: Left, right, bottom and top.
    """

    plane: Plane
    extent: tuple[float, float, float, float]

    @classmethod
    def of(cls, means: Tensor | np.ndarray, scales: Tensor | np.ndarray, prior: bool = True) -> View:
        """The plane of the last posteriors, and a square in which all bubbles lie, (T, N, D), and the prior's too."""
        means, scales = array(means), array(scales)
        plane = Plane.fit(means[-1])
        points = plane.project(means.reshape(-1, means.shape[-1]))
        radii = np.sqrt(np.diagonal(plane.covariance(scales.reshape(-1, scales.shape[-1])), axis1=1, axis2=2))
        low, high = (points - radii).min(0), (points + radii).max(0)
        if prior:
            centre = plane.project(np.zeros((1, means.shape[-1])))[0]
            low, high = np.minimum(low, centre - 1), np.maximum(high, centre + 1)
        middle, half = (low + high) / 2, 0.52 * float((high - low).max())
        return cls(plane, (*(middle[0] + half * np.array([-1, 1])), *(middle[1] + half * np.array([-1, 1]))))


@styled
def bubbles(
    titles: Sequence[str],
    means: Tensor | np.ndarray,
    scales: Tensor | np.ndarray,
    y: Tensor | np.ndarray | None = None,
    names: Sequence[str] | None = None,
    prior: bool = True,
    view: View | None = None,
) -> Figure:
    """The bubbles of the lectures: mean and radius of each posterior, one panel per moment, on the same axes.

    Args:
        titles: What each moment is, T in all: before training, after it.
        means: Means of the diagonal Gaussian posteriors, (T, N, D), D of 2 or more: principal components beyond 2.
        scales: Their standard deviations, (T, N, D).
        y: Labels, (N,), which colour where they are classes.
        names: Names of the classes.
        prior: Draw the standard normal prior.
        view: Plane and extent; by default those that fit.
    """
    means, scales = array(means), array(scales)
    view = view or View.of(means, scales, prior)
    labels = np.zeros(means.shape[1]) if y is None else array(y)
    classes: Sequence[Any] = np.unique(labels).tolist() if labels.ndim == 1 and is_classes(labels) else []
    shades = {value: colour(i, len(classes)) for i, value in enumerate(classes)}
    colours = [shades[value] for value in labels.tolist()] if shades else [ACCENT] * means.shape[1]
    side = (WIDTH - 1.5) / max(len(titles), 2)
    figure = canvas(side * len(titles) + 1.5, side + 1.2)
    grid = figure.subplots(1, len(titles), sharex=True, sharey=True, squeeze=False)[0]
    for axes, title, mean, scale in zip(grid, titles, means, scales, strict=True):
        panel(axes, view, mean, scale, colours, prior)
        axes.set_title(title)
        axes.set_xlabel(view.plane.labels[0])
    grid[0].set_ylabel(view.plane.labels[1])
    notes = [NOTE, PRIOR] if prior else [NOTE]
    figure.supxlabel(("\n" if len(titles) == 1 else "; ").join(notes), fontsize=10, color="#666666")
    if shades:
        handles = [Line2D([], [], marker="o", linestyle="", color=shade, markersize=7) for shade in shades.values()]
        texts = [label(value, names) for value in shades]
        figure.legend(handles, texts, loc="outside right upper", title="label")
    return figure


def panel(axes: Axes, view: View, mean: np.ndarray, scale: np.ndarray, colours: Sequence[Any], prior: bool) -> None:
    """The bubbles of one moment: ellipses of one standard deviation about dots."""
    points = view.plane.project(mean)
    variances, directions = np.linalg.eigh(view.plane.covariance(scale))
    widths, heights = 2 * np.sqrt(np.maximum(variances, 0)).T
    angles = np.degrees(np.arctan2(directions[:, 1, 0], directions[:, 0, 0]))
    shape: dict[str, Any] = {"units": "xy", "offsets": points, "offset_transform": axes.transData}
    faint = EllipseCollection(widths, heights, angles, facecolors=colours, alpha=0.12, linewidths=0, **shape)
    outline = EllipseCollection(
        widths, heights, angles, facecolors="none", edgecolors=colours, linewidths=0.8, alpha=0.7, **shape
    )
    axes.add_collection(faint)
    axes.add_collection(outline)
    axes.scatter(points[:, 0], points[:, 1], s=4, c=colours, linewidths=0)
    if prior:
        centre = view.plane.project(np.zeros((1, mean.shape[1])))[0]
        axes.add_patch(Circle(tuple(centre), 1.0, fill=False, edgecolor=INK, linestyle="--", linewidth=1.2))
    axes.set(xlim=view.extent[:2], ylim=view.extent[2:])
    axes.set_aspect("equal")
