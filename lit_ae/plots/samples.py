"""What the model makes of data: reconstructions, samples, and walks through its latents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from lit_ae.plots.style import array, styled
from lit_ae.plots.tiles import bundle, curves, is_picture, limits, panels, sheet

Values = Tensor | np.ndarray


def shown(x: Values, lead: int) -> np.ndarray:
    """Samples with `lead` leading dimensions, flattened to vectors where they are no pictures.

    A gap, nan, parts the rows of a sequence of several values: no line leads from one to the next.
    """
    x = array(x)
    event = x.shape[lead:]
    if is_picture(event):
        return x
    if len(event) != 2:
        return x.reshape(*x.shape[:lead], -1)
    gap = np.full((*x.shape[:-1], 1), np.nan, np.float32)
    return np.concatenate([x, gap], -1).reshape(*x.shape[:lead], -1)[..., :-1]


def signed(value: float, decimals: int | None = None) -> str:
    """A short number with a real minus sign, and none for zero."""
    value = round(value, 1) + 0.0
    return (f"{value:g}" if decimals is None else f"{value:.{decimals}f}").replace("-", "\N{MINUS SIGN}")


def ticks(values: Sequence[float]) -> list[str]:
    """Labels for about seven of the values, the ends and the middle among them."""
    kept = set(np.linspace(0, len(values) - 1, 7).round().astype(int).tolist())
    return [signed(value, 1) if i in kept else "" for i, value in enumerate(values)]


@styled
def reconstructions(x: Values, x_hat: Values) -> Figure:
    """Inputs over their reconstructions over the absolute difference; vectors as pairs of curves.

    Args:
        x: Inputs, (N, *E).
        x_hat: Their reconstructions, (N, *E).
    """
    x, x_hat = shown(x, 1), shown(x_hat, 1)
    if x.ndim == 2:
        return panels(list(zip(x, x_hat, strict=True)), "Validation samples", ("input", "reconstruction"))
    low, high = limits(x)
    difference = np.abs(x - x_hat) + low  # black where there is none, whatever the range
    rows = ["input", "reconstruction", "|difference|"]
    return sheet(np.stack([x, x_hat, difference]), "Reconstructions of validation samples", rows, span=(low, high))


@styled
def samples(
    x: Values,
    span: tuple[float, float] | None = None,
    title: str = "Samples from the prior",
    columns: int | None = None,
) -> Figure:
    """New samples, (N, *E).

    Args:
        x: The samples.
        span: Values shown as black and white.
        title: Where they come from.
        columns: Pictures in a row; a last row that is not full is left out.
    """
    x = shown(x, 1)
    if x.ndim == 2:
        return bundle(x, title)
    columns = columns or int(np.ceil(np.sqrt(len(x) * 1.6)))
    rows = max(len(x) // columns, 1)
    page = x[: rows * columns].reshape(rows, -1, *x.shape[1:])
    return sheet(page, title, span=span)


@styled
def decoded_grid(
    x: Values,
    across: Sequence[float],
    down: Sequence[float],
    labels: tuple[str, ...],
    span: tuple[float, float] | None = None,
) -> Figure:
    """Pictures decoded over a plane in latent space, its origin at the lower left.

    Args:
        x: Pictures, (R, C, *E), the first row the highest.
        across: Coordinate of each column, (C,).
        down: Coordinate of each row, (R,), the highest first.
        labels: Names of the plane's axes; one where the latent has one dimension.
        span: Values shown as black and white.
    """
    columns, rows = ticks(across), ticks(down)
    flat = len(labels) == 1
    return sheet(
        array(x),
        "Decoded over the latent plane" if not flat else "Decoded along the latent axis",
        [] if flat else rows,
        columns,
        "" if flat else labels[1],
        labels[0],
        span,
    )


@styled
def traversals(
    x: Values, values: Sequence[float], dims: Sequence[int], span: tuple[float, float] | None = None
) -> Figure:
    """One row per latent dimension, moved about the mean code while the others stay there.

    Args:
        x: Decoded samples, (R, C, *E).
        values: Offset of each column from the mean, in standard deviations over the data.
        dims: Latent dimension of each row, from 0.
        span: Values shown as black and white.
    """
    x = shown(x, 2)
    rows = [f"z{''.join(chr(0x2080 + int(digit)) for digit in str(dim + 1))}" for dim in dims]
    title = "One latent moved at a time, the most active first"
    meaning = "standard deviations from the mean code"
    if x.ndim == 3:
        return curves(x, title, rows, values, meaning)
    return sheet(x, title, rows, [signed(value) for value in values], "latent", meaning, span)


@styled
def interpolations(x: Values, ends: Values, span: tuple[float, float] | None = None) -> Figure:
    """Decoded ways between the codes of pairs of real samples, which stand at both ends of a row.

    Args:
        x: Decoded samples, (R, C, *E).
        ends: The real samples, (R, 2, *E).
        span: Values shown as black and white.
    """
    x, ends = shown(x, 2), shown(ends, 2)
    steps = np.linspace(0, 1, x.shape[1])
    title = "Interpolations between pairs of validation samples"
    if x.ndim == 3:
        return curves(x, title, [f"pair {i + 1}" for i in range(len(x))], list(steps), "way from first to second")
    ends_at = (1, x.shape[1] + 1)
    page = np.concatenate([ends[:, :1], x, ends[:, 1:]], 1)
    return sheet(page, title, columns=["input", *(f"{step:.0%}" for step in steps), "input"], span=span, breaks=ends_at)
