"""What the lectures draw to tell the ideas apart: several models, or several inputs, on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter
from torch import Tensor

from lit_ae.plots.latent import Plane, dots
from lit_ae.plots.style import INK, MARKERS, WIDTH, array, bare, canvas, colour, styled
from lit_ae.plots.tiles import limits, montage, sheet

Values = Tensor | np.ndarray
COST = "‖x \N{MINUS SIGN} x̂‖²"
MSE = f"{COST} per sample, squared units of x"


@dataclass(frozen=True)
class Map:
    """One model's latent space.

    Args:
        title: The model.
        z: Codes of the data, (N, D).
        random: Pictures decoded from random codes, (R, C, *E).
        drawn: What those codes are.
    """

    title: str
    z: Values
    random: Values
    drawn: str = "decoded z ~ N(0, I)"


@styled
def latent_maps(
    maps: Sequence[Map],
    y: Values | None = None,
    names: Sequence[str] | None = None,
    span: tuple[float, float] = (0.0, 1.0),
) -> Figure:
    """Latent maps side by side on the same axes, coloured by label, with decoded random codes under each.

    The circle is two standard deviations of N(0, I), where 86% of random codes lie if there are two latents.

    Args:
        maps: One per model.
        y: Labels, (N,) or (N, F), of which the first column colours.
        names: Names of the classes.
        span: Values shown as black and white.
    """
    y = None if y is None else array(y).reshape(len(y), -1)[:, 0]
    planes = [Plane.fit(each.z) for each in maps]
    points = [plane.project(each.z) for plane, each in zip(planes, maps, strict=True)]
    centres = [plane.project(np.zeros((1, plane.axes.shape[1])))[0] for plane in planes]
    corners = np.concatenate([*points, *(centre + 2 * np.array([[-1, -1], [1, 1]]) for centre in centres)])
    low, high = corners.min(0), corners.max(0)
    middle, half = (low + high) / 2, 0.53 * float((high - low).max())
    pages = [montage(array(each.random), span)[0] for each in maps]
    side = (WIDTH - 1.4) / max(len(maps), 2)
    share = pages[0].shape[0] / pages[0].shape[1]
    figure = canvas(side * len(maps) + 1.4, side * (1 + share) + 1.1)
    grid = figure.subplots(2, len(maps), squeeze=False, height_ratios=[1.0, share])
    for i, (upper, lower) in enumerate(grid.T):
        shades = dots(upper, points[i], y, names)[1]
        upper.add_patch(Circle(tuple(centres[i]), 2.0, fill=False, edgecolor=INK, linestyle="--", linewidth=1.2))
        upper.set(xlim=middle[0] + half * np.array([-1, 1]), ylim=middle[1] + half * np.array([-1, 1]))
        upper.set_aspect("equal")
        upper.set_title(maps[i].title)
        upper.set(xlabel=planes[i].labels[0], ylabel=planes[i].labels[1])
        lower.imshow(pages[i], vmin=0, vmax=1, interpolation="nearest")
        bare(lower)
        lower.set_xlabel(maps[i].drawn)
    figure.supxlabel("dashed: two std. deviations of N(0, I)", fontsize=10, color="#666666")
    if shades is not None:
        figure.colorbar(shades, ax=grid[0], label="label", shrink=0.8)
    elif y is not None:
        handles = grid[0, 0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside right upper", title="label", markerscale=1.6)
    return figure


@styled
def restorations(clean: Values, noisy: Sequence[tuple[str, Values, str, Values]]) -> Figure:
    """Clean samples over triptychs: under each the corrupted one, and what is restored from it.

    Args:
        clean: Samples, (N, *E).
        noisy: Name of the noise, corrupted samples, name of the restoration and restored samples, per kind of noise.
    """
    rows, names = [array(clean)], ["clean"]
    for noise, corrupted, restoration, restored in noisy:
        rows += [array(corrupted), array(restored)]
        names += [noise, restoration]
    return sheet(np.stack(rows), "Clean, corrupted and restored test samples", names, span=limits(rows[0]))


@styled
def noises(x: Values, rows: Sequence[str]) -> Figure:
    """Noise in the input against noise in the latent: one labelled row per stage, (R, 1 + N, *E), the first without."""
    title = "Noise in the input against noise in the latent"
    columns = ["no noise", *[""] * (x.shape[1] - 1)]
    return sheet(array(x), title, rows, columns, span=limits(array(x)[:, 0]), breaks=(1,))


@styled
def rebuilt(x: Values, rows: Sequence[tuple[str, Values]], title: str = "The same samples rebuilt") -> Figure:
    """Samples, (N, *E), over what each model makes of them, one labelled row per model."""
    names = ["original", *(name for name, _ in rows)]
    return sheet(np.stack([array(x), *(array(x_hat) for _, x_hat in rows)]), title, names, span=limits(array(x)))


@styled
def codes(titles: Sequence[str], z: Sequence[Values]) -> Figure:
    """Which units answer to which sample: |z| as an image per model, each in shades of its own largest value.

    Args:
        titles: One per model.
        z: Codes, (N, D) each: a row per sample, a column per unit, the most active unit on the left. Titles count
            the units in use, (Σ|z|)² / Σz².
    """
    figure = canvas(WIDTH, 0.9 + 1.9 * len(titles))
    grid = figure.subplots(len(titles), 1, squeeze=False)[:, 0]
    for axes, title, code in zip(grid, titles, z, strict=True):
        size = np.abs(array(code))
        size = size[:, np.argsort(-size.mean(0), kind="stable")] / max(float(size.max()), 1e-12)
        shades = axes.imshow(size, cmap="viridis", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        axes.set_title(f"{title}: {participation(size):.0f} of {size.shape[1]} units in use per sample")
        axes.set(ylabel="sample", xlabel="unit, the most active first", yticks=[])
    figure.colorbar(shades, ax=grid, label="|z|, largest of all = 1", aspect=30)
    return figure


def participation(z: np.ndarray) -> float:
    """Units that share each code z, (N, D), on average: (Σ|z|)² / Σz², which is k where k units are equally active."""
    total, squares = np.abs(z).sum(1), np.square(z).sum(1)
    return float((np.square(total) / np.maximum(squares, 1e-12)).mean())


@styled
def error_lines(
    lines: Mapping[str, Mapping[int, float]], reference: Mapping[int, float] | None = None, unit: str = MSE
) -> Figure:
    """Test error against latent size, one line per variant.

    Args:
        lines: Name → latent size → error.
        reference: Errors of principal components, by their number.
        unit: What the error is, with its unit.
    """
    figure = canvas(WIDTH, 4.6)
    axes = figure.add_subplot()
    sizes = sorted({size for line in lines.values() for size in line})
    if reference:
        axes.plot(*zip(*sorted(reference.items()), strict=True), color=INK, linestyle="--", linewidth=1.5, label="PCA")
    for i, (name, line) in enumerate(lines.items()):
        style = {"color": colour(i, max(len(lines), 2)), "marker": MARKERS[i % len(MARKERS)], "label": name}
        axes.plot(*zip(*sorted(line.items()), strict=True), linewidth=2, markersize=7, **style)
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    axes.set_title("Test error against latent size")
    axes.set(xlabel="latent dimensions", ylabel=unit)
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.legend()
    return figure
