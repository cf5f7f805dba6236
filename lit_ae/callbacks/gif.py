"""Figures one after the other, as an animated GIF."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from lit_ae.callbacks.figures import MAX_BYTES

RESOLUTIONS = (80, 70, 60, 50, 40)  # dots per inch, the first that fits
COLOURS = 64


def gif(figures: Sequence[Figure], per_second: float = 6.0, hold: float = 2.0) -> bytes:
    """Draw figures of one size as an endless animation, with few enough pixels for the web.

    Args:
        figures: The frames.
        per_second: Frames in a second.
        hold: How long the last frame stays, in seconds.
    """
    duration = [round(1000 / per_second)] * (len(figures) - 1) + [round(1000 * hold)]
    for resolution in RESOLUTIONS:
        pages = [page(figure, resolution) for figure in figures]
        palette = pages[-1].quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in pages]
        buffer = io.BytesIO()
        frames[0].save(
            buffer, format="gif", save_all=True, append_images=frames[1:], duration=duration, loop=0, optimize=False
        )
        if buffer.tell() <= MAX_BYTES:
            break
    return buffer.getvalue()


def page(figure: Figure, resolution: int) -> Image.Image:
    """A figure in pixels."""
    figure.set_dpi(resolution)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba()).convert("RGB")
