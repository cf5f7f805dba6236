"""Pictures of unusual modes, drawn at random, with what numpy makes of them."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reliability.drawn import FORMATS, Drawn, noise, png

Made = tuple[bytes, str, np.ndarray | None, float]  # content, suffix, pixels, tolerance


def odd(draw: random.Random, path: Path, size: tuple[int, int], family: str) -> Drawn:
    """A picture of an unusual mode; all but one can be converted."""
    kinds = {
        "mode": [
            "1",
            "P",
            "P, transparent",
            "LA",
            "RGBA",
            "RGB, one colour transparent",
            "YCbCr",
            "LAB",
            "I, too deep",
        ],
        "deep": ["I;16 png", "I;16 tif", "I;16B tif", "I tif", "pgm", "RGB png", "RGBA png", "LA png"],
        "cmyk": ["CMYK tif", "CMYK jpg", "CMYK tiff"],
    }
    what = draw.choice(kinds[family])
    made = {"mode": plain, "deep": deep, "cmyk": cmyk}[family](draw, what, size)
    content, suffix, pixels, tolerance = made
    path = path.with_suffix(f".{suffix}")
    path.write_bytes(content)
    return Drawn(path, pixels, tolerance, what)


def saved(picture: Image.Image, suffix: str, **kwargs: Any) -> bytes:
    """A picture file in memory."""
    sink = io.BytesIO()
    picture.save(sink, **(FORMATS[suffix] | kwargs))
    return sink.getvalue()


def on_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours (H, W, C) and opacity (H, W, 1), all in 0..255, laid on white."""
    share = alpha.astype(float) / 255
    laid: np.ndarray = colour * share + 255 * (1 - share)
    return laid


def lab(rgb: np.ndarray) -> np.ndarray:
    """Colours of sRGB, (H, W, 3), in CIE L*a*b* under D50, as bytes."""
    share = rgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    to_d50 = [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
    x, y, z = np.moveaxis(np.cbrt(linear @ np.transpose(to_d50) / [0.96422, 1.0, 0.82521]), -1, 0)
    made = np.stack([(116 * y - 16) * 2.55, 500 * (x - y), 200 * (y - z)], -1)
    return made.round().astype(np.int16).astype(np.uint8)  # a and b have a sign


def plain(draw: random.Random, what: str, size: tuple[int, int]) -> Made:
    """A mode of 8 bits or less, and one with values that nobody can convert."""
    height, width = size
    grey, rgb, alpha = noise(draw, height, width), noise(draw, height, width, 3), noise(draw, height, width, 1)
    if what == "1":
        picture = Image.fromarray(grey > 127)
        return saved(picture, "png"), "png", np.where(grey > 127, 255.0, 0.0)[..., None], 0
    if what.startswith("P"):
        palette, codes = noise(draw, 16, 3), grey % 16
        picture = Image.frombytes("P", (width, height), codes.tobytes())
        picture.putpalette(palette.tobytes())
        shown = palette[codes].astype(float)
        if what == "P":
            return saved(picture, "gif"), "gif", shown, 1
        return saved(picture, "png", transparency=3), "png", np.where(codes[..., None] == 3, 255.0, shown), 1
    if what == "LA":
        return saved(Image.fromarray(np.dstack([grey, alpha])), "png"), "png", on_white(grey[..., None], alpha), 2
    if what == "RGBA":
        return saved(Image.fromarray(np.dstack([rgb, alpha])), "png"), "png", on_white(rgb, alpha), 2
    if what.startswith("RGB,"):
        rgb[grey < 99] = (1, 2, 3)
        content = saved(Image.fromarray(rgb), "png", transparency=(1, 2, 3))
        return content, "png", np.where((rgb == (1, 2, 3)).all(-1, keepdims=True), 255.0, rgb), 1
    if what == "YCbCr":
        mixing = [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
        mixed = (rgb @ np.transpose(mixing) + [0, 128, 128]).round().clip(0, 255).astype(np.uint8)
        picture = Image.frombytes("YCbCr", (width, height), mixed.tobytes())
        return saved(picture, "tif"), "tif", rgb.astype(float), 3
    if what == "LAB":
        rgb = rgb // 2 + 64  # far from colours that only one of the two can hold
        return saved(Image.frombytes("LAB", (width, height), lab(rgb).tobytes()), "tif"), "tif", rgb.astype(float), 6
    values = noise(draw, height, width, top=2**31, dtype=np.int32)
    return saved(Image.fromarray(values), "tif"), "tif", None, 0


def deep(draw: random.Random, what: str, size: tuple[int, int]) -> Made:
    """16 bits in each channel."""
    height, width = size
    mode, suffix = what.split()[0], what.split()[-1]
    if mode in ("RGB", "RGBA", "LA"):  # which Pillow reads and does not write
        channels, colour = {"RGB": (3, 2), "RGBA": (4, 6), "LA": (2, 4)}[mode]
        values = noise(draw, height, width, channels, top=2**16, dtype=np.uint16)
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
        shown = values / 257
        shown = shown if mode == "RGB" else on_white(shown[..., :-1], shown[..., -1:])
        return png(width, height, 16, colour, rows), "png", shown, 2.5
    values = noise(draw, height, width, top=2**16, dtype=np.uint16)
    shown = (values / 257)[..., None]
    if what == "pgm":
        return f"P5 {width} {height} 65535\n".encode() + values.astype(">u2").tobytes(), "pgm", shown, 1
    if mode == "I":
        return saved(Image.fromarray(values.astype(np.int32)), "tif"), "tif", shown, 1
    picture = Image.frombytes(mode, (width, height), values.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    return saved(picture, suffix), suffix, shown, 1


def cmyk(draw: random.Random, what: str, size: tuple[int, int]) -> Made:
    """Four inks."""
    height, width = size
    suffix = what.split()[-1]
    inks = noise(draw, height, width, 4)
    if suffix == "jpg":
        inks[:] = inks[0, 0]  # one colour, which survives the compression
    picture = Image.frombytes("CMYK", (width, height), inks.tobytes())
    light = 255.0 - inks
    more = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
    return saved(picture, suffix, **more), suffix, light[..., :3] * light[..., 3:] / 255, 4 if suffix == "jpg" else 2
