"""How every figure looks: fonts that stay legible 800 pixels wide, colours that the colour-blind can tell apart."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

P = ParamSpec("P")

WIDTH = 8.0  # inches
INK = "#333333"
ACCENT = "#0072B2"
# Okabe & Ito (2008), without black and with the pale yellow darkened; then Tol's muted wine, sand and olive
PALETTE = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#C9B400", "#882255", "#666666", "#44AA99"]
MARKERS = "os^Dv"
STYLE: Any = {  # matplotlib types its own keys, version by version
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 12.0,
    "axes.titlesize": 13.0,
    "axes.titleweight": "bold",
    "axes.titlepad": 10.0,
    "axes.titlelocation": "left",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.handlelength": 1.0,
    "legend.handletextpad": 0.5,
    "image.cmap": "gray",
    "image.interpolation": "nearest",
}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw under our style, whatever the process's own is."""

    @wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapped


def canvas(width: float = WIDTH, height: float = 6.0) -> Figure:
    """An empty figure, outside pyplot's global state."""
    return Figure(figsize=(width, height), layout="constrained")


def bare(axes: Axes) -> None:
    """Take ticks and frame away, as a picture wants."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def colour(i: int, n: int) -> Any:
    """Colour of class i of n: from the palette, or along viridis where it is too short."""
    if n <= len(PALETTE):
        return PALETTE[i]
    return matplotlib.colormaps["viridis"](i / (n - 1))


def array(x: Tensor | np.ndarray) -> np.ndarray:
    """A tensor of any device and precision as a NumPy array; integers stay integers."""
    if isinstance(x, np.ndarray):
        return x
    return (x.float() if x.is_floating_point() else x).detach().cpu().numpy()
