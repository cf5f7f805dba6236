"""What a model makes of the whole plane: its energy as heat maps, its pull as arrows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from torch import Tensor

from lit_ae.plots.style import INK, WIDTH, array, canvas, styled

Extent = tuple[float, float, float, float]  # left, right, bottom, top
CHUNK = 4096  # points at once: inference multiplies them by its restarts or samples


def plane_points(extent: Extent, columns: int = 100) -> Tensor:
    """Middles of square cells that fill the plane within the extent, (R, C, 2), the first row the lowest."""
    left, right, bottom, top = extent
    side = (right - left) / columns
    rows = max(1, round((top - bottom) / side))
    across = left + side * (torch.arange(columns) + 0.5)
    up = bottom + (top - bottom) / rows * (torch.arange(rows) + 0.5)
    return torch.stack(torch.meshgrid(across, up, indexing="xy"), -1)


@torch.no_grad()
def over_plane(function: Callable[[Tensor], Tensor], extent: Extent, columns: int = 100) -> Tensor:
    """Values, (R, C, *E), of a function from points (N, 2) to (N, *E) at the points of the plane.

    For a model on the CPU: `model.free_energy`, or `lambda x: (model.reconstruct(x) - x).square().sum(1)`.
    """
    points = plane_points(extent, columns)
    values = [function(part) for part in points.flatten(0, 1).split(CHUNK)]
    return torch.cat(values).unflatten(0, points.shape[:2])


def surroundings(points: Tensor | np.ndarray, margin: float = 0.2) -> Extent:
    """The box of points (N, 2), wider on each side by this part of its longer side."""
    points = array(points)
    low, high = points.min(0), points.max(0)
    more = margin * float((high - low).max())
    return (float(low[0]) - more, float(high[0]) + more, float(low[1]) - more, float(high[1]) + more)


@styled
def energy_maps(
    titles: Sequence[str],
    energies: Tensor | np.ndarray | Sequence[Tensor],
    extent: Extent,
    points: Tensor | np.ndarray,
    unit: str = "reconstruction cost ‖x̂ \N{MINUS SIGN} x‖², squared units of x",
) -> Figure:
    """Heat maps of an energy over the plane, one panel per model, in shared colours, with the data on top.

    Dark is low. Colours follow the square root of the energy above its minimum and end where the highest tenth of all
    values begins, so that the valleys keep some.

    Args:
        titles: Name of each model, P in all.
        energies: Energy of each, (P, R, C), the first row the lowest.
        extent: Left, right, bottom and top of the plane.
        points: Data, (N, 2).
        unit: What the energy is, with its unit.
    """
    values = np.stack([array(energy) for energy in energies])
    norm = PowerNorm(0.5, float(values.min()), float(np.quantile(values, 0.9)))
    columns = len(titles) if len(titles) <= 3 else -(-len(titles) // 2)
    rows = -(-len(titles) // columns)
    width = (WIDTH - 1.6) / columns
    figure = canvas(WIDTH, rows * (width * (extent[3] - extent[2]) / (extent[1] - extent[0]) + 0.4) + 0.45)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, title, energy in zip(grid.ravel(), titles, values, strict=False):
        shades = axes.imshow(energy, cmap="viridis", norm=norm, extent=extent, origin="lower", interpolation="bilinear")
        scatter(axes, points, "white")
        axes.set_title(title)
    for axes in grid.ravel()[len(titles) :]:
        axes.set_visible(False)
    for axes in grid[-1]:
        axes.set_xlabel("x₁")
    for axes in grid[:, 0]:
        axes.set_ylabel("x₂")
    figure.colorbar(shades, ax=grid, label=unit, extend="max", aspect=30, shrink=0.95)
    return figure


@styled
def vector_field(
    x: Tensor | np.ndarray,
    delta: Tensor | np.ndarray,
    points: Tensor | np.ndarray,
    title: str = "Where reconstruction moves each point of the plane",
) -> Figure:
    """Arrows from points of the plane along reconstruction minus input, with the data below.

    Colours show how long an arrow is, its drawn length the square root of that. For small noise of variance σ² a
    denoising autoencoder's arrow is σ² ∇ log p(x) (Alain & Bengio, "What Regularized Auto-Encoders Learn from the
    Data-Generating Distribution", JMLR 2014).

    Args:
        x: Points of the plane, (N, 2).
        delta: Reconstruction minus input there, (N, 2).
        points: Data, (M, 2).
        title: Title of the figure.
    """
    x, delta = array(x).reshape(-1, 2), array(delta).reshape(-1, 2)
    length = np.linalg.norm(delta, axis=1)
    span = np.ptp(x, axis=0)
    spacing = float(np.sqrt(max(span.prod(), 1e-12) / len(x)))
    longest = max(float(np.quantile(length, 0.95)), 1e-12)
    drawn = 1.1 * spacing * np.sqrt(np.minimum(length / longest, 1))  # roots, so that the short ones near the data show
    figure = canvas(WIDTH, (WIDTH - 1.6) * float(span[1] / max(span[0], 1e-12)) + 1.0)
    axes = figure.add_subplot()
    scatter(axes, points, "#BBBBBB")
    arrows = axes.quiver(
        *x.T,
        *(delta * (drawn / np.maximum(length, 1e-12))[:, None]).T,
        np.minimum(length, longest),
        cmap="viridis",
        angles="xy",
        scale_units="xy",
        scale=1.0,
        width=0.003,
    )
    axes.set_title(title)
    axes.set(xlabel="x₁", ylabel="x₂")
    axes.set_aspect("equal")
    figure.colorbar(
        arrows, ax=axes, label="length ‖x̂ \N{MINUS SIGN} x‖, units of x", extend="max", aspect=30, shrink=0.95
    )
    return figure


def scatter(axes: Axes, points: Tensor | np.ndarray, colour: str) -> None:
    """The data as small dots, at most 200 of them."""
    kept = array(points)
    kept = kept[np.unique(np.linspace(0, len(kept) - 1, min(200, len(kept))).astype(int))]
    axes.scatter(kept[:, 0], kept[:, 1], s=5, color=colour, edgecolors=INK, linewidths=0.2)
