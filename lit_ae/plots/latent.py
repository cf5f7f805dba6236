"""Where the data lie in latent space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from torch import Tensor

from lit_ae.plots.style import ACCENT, MARKERS, PALETTE, array, canvas, colour, styled

MAX_CLASSES = 30  # more than these make a legend that nobody reads: a colour bar instead


@dataclass(frozen=True)
class Plane:
    """A plane in latent space: latents themselves for D = 2, else their first two principal components.

    Args:
        mean: Its origin, (D,).
        axes: Orthonormal directions, (min(D, 2), D).
        labels: Names of the directions.
    """

    mean: np.ndarray
    axes: np.ndarray
    labels: tuple[str, ...]

    @classmethod
    def fit(cls, z: Tensor | np.ndarray) -> Plane:
        """Find the plane of latents z, (N, D)."""
        z = array(z)
        n, d = z.shape
        if d <= 2 or n < 2:
            size = min(d, 2)
            return cls(np.zeros(d), np.eye(d)[:size], tuple(f"z{chr(0x2081 + i)}" for i in range(size)))
        from sklearn.decomposition import PCA  # here, since its import costs a second that no other command needs

        pca = PCA(n_components=2, svd_solver="full").fit(z.astype(np.float64))
        shares = np.nan_to_num(pca.explained_variance_ratio_)
        labels = tuple(f"PC {i + 1} ({share:.0%} of variance)" for i, share in enumerate(shares))
        return cls(pca.mean_, pca.components_, labels)

    def project(self, z: Tensor | np.ndarray) -> np.ndarray:
        """Coordinates in the plane, (N, 2), of latents (N, D)."""
        return (array(z) - self.mean) @ self.axes.T

    def lift(self, points: np.ndarray) -> np.ndarray:
        """Latents, (N, D), of points in the plane, (N, 2)."""
        return self.mean + points @ self.axes

    def covariance(self, scale: Tensor | np.ndarray) -> np.ndarray:
        """Covariances in the plane, (N, 2, 2), of diagonal Gaussians with standard deviations (N, D)."""
        return np.einsum("id,nd,jd->nij", self.axes, np.square(array(scale)), self.axes)


@styled
def latent_scatter(
    z: Tensor | np.ndarray,
    y: Tensor | np.ndarray | None = None,
    scale: Tensor | np.ndarray | None = None,
    names: Sequence[str] | None = None,
    ellipses: int = 30,
) -> Figure:
    """Scatter latents, coloured by label; ellipses show one standard deviation of some posteriors.

    Args:
        z: Posterior means, (N, D): histograms for D = 1, principal components for D > 2.
        y: Labels, (N,) or (N, F), of which the first column colours: integers are classes, floats get a colour bar.
        scale: Posterior standard deviations, (N, D), where the posterior is a diagonal Gaussian.
        names: Names of the classes.
        ellipses: Number of posteriors to draw.
    """
    z = array(z)
    z = z.reshape(len(z), -1)
    y = None if y is None else array(y).reshape(len(z), -1)[:, 0]
    figure = canvas(height=6.0 if z.shape[1] > 1 else 4.0)
    axes = figure.add_subplot()
    if z.shape[1] == 1:
        histogram(axes, z[:, 0], y, names)
        return figure
    plane = Plane.fit(z)
    points = plane.project(z)
    axes.set(xlabel=plane.labels[0], ylabel=plane.labels[1])
    axes.set_title(f"Latent codes of {len(z):,} validation samples")
    axes.set_aspect("equal", adjustable="datalim")
    colours, shades = dots(axes, points, y, names)
    if shades is not None:
        figure.colorbar(shades, ax=axes, label="label", shrink=0.7)
    elif y is not None:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", title="label", markerscale=1.6)
    if scale is not None and ellipses:
        spread(axes, points, plane.covariance(array(scale).reshape(len(z), -1)), colours, ellipses)
    return figure


def dots(
    axes: Axes, points: np.ndarray, y: np.ndarray | None, names: Sequence[str] | None
) -> tuple[list[Any], PathCollection | None]:
    """Scatter points (N, 2), coloured by label: the colour of each, and the scale behind them where it is one."""
    size = float(np.clip(14_000 / max(len(points), 1), 8, 40))
    if y is None:
        axes.scatter(points[:, 0], points[:, 1], s=size, color=ACCENT, alpha=0.6, linewidths=0)
        return [ACCENT] * len(points), None
    if not is_classes(y):
        scale = axes.scatter(points[:, 0], points[:, 1], s=size, c=y, cmap="viridis", linewidths=0)
        return list(scale.to_rgba(y)), scale
    classes = np.unique(y)
    shades = {value: colour(i, len(classes)) for i, value in enumerate(classes)}
    for i, value in enumerate(classes):
        own = points[y == value]
        marker = MARKERS[i % len(MARKERS)] if len(classes) <= len(PALETTE) else "o"
        look = {"color": shades[value], "marker": marker, "label": label(value, names)}
        axes.scatter(own[:, 0], own[:, 1], s=size, linewidths=0, **look)
    return [shades[value] for value in y], None


def spread(axes: Axes, points: np.ndarray, covariance: np.ndarray, colours: Sequence[object], count: int) -> None:
    """Draw one standard deviation of `count` posteriors, evenly chosen so that the plane stays legible."""
    for i in np.unique(np.linspace(0, len(points) - 1, min(count, len(points))).astype(int)):
        variances, directions = np.linalg.eigh(covariance[i])
        width, height = 2 * np.sqrt(np.maximum(variances, 0))
        angle = float(np.degrees(np.arctan2(directions[1, 0], directions[0, 0])))
        shape = {"xy": tuple(points[i]), "width": width, "height": height, "angle": angle}
        axes.add_patch(Ellipse(**shape, facecolor=colours[i], alpha=0.1, zorder=0.5))
        axes.add_patch(Ellipse(**shape, fill=False, edgecolor=colours[i], linewidth=1, alpha=0.6, zorder=0.6))
    note = "ellipses: one standard deviation of q(z|x)"
    axes.text(0.995, 0.01, note, transform=axes.transAxes, fontsize=10, ha="right", color="#666666")


def histogram(axes: Axes, z: np.ndarray, y: np.ndarray | None, names: Sequence[str] | None) -> None:
    """Histograms of a single latent, one per class where there are classes."""
    edges = np.histogram_bin_edges(z, bins=int(np.clip(1.5 * np.sqrt(len(z)), 5, 40))).tolist()
    axes.set(xlabel="z₁", ylabel="samples")
    axes.set_title(f"Latent codes of {len(z):,} validation samples")
    if y is None or not is_classes(y):
        axes.hist(z, edges, color=ACCENT)
        return
    classes = np.unique(y)
    parts, shades = [z[y == value] for value in classes], [colour(i, len(classes)) for i in range(len(classes))]
    axes.hist(parts, edges, stacked=True, color=shades, label=[label(value, names) for value in classes])
    axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", title="label")


def is_classes(y: np.ndarray) -> bool:
    """Whether labels are few whole numbers rather than a scale."""
    return np.issubdtype(y.dtype, np.integer) and len(np.unique(y)) <= MAX_CLASSES


def label(value: int, names: Sequence[str] | None) -> str:
    """What the legend calls a class."""
    return str(value) if names is None else names[int(value)]
