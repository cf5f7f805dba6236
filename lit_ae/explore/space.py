"""What the page shows, computed: where the data lie, and what a point of latent space is decoded to."""

from __future__ import annotations

import base64
import io
from itertools import pairwise
from typing import Any, Literal

import matplotlib
import numpy as np
import torch
from matplotlib.colors import to_hex
from PIL import Image, ImageOps
from torch import Tensor

from datamodules.decoding import flatten
from datamodules.sequences import Sequences
from datamodules.tabular import Tabular
from lit_ae.batch import Batch
from lit_ae.errors import ConfigError
from lit_ae.jobs.measured import inputs
from lit_ae.jobs.opening import Opened, Split
from lit_ae.jobs.walks import arc, line
from lit_ae.plots.latent import Plane, is_classes, label
from lit_ae.plots.style import ACCENT, array, colour
from lit_ae.plots.tiles import is_picture, limits

CHUNK = 256  # samples at once
SLIDERS = 32  # more are of no use to a hand
BINS = 12  # colours of a label that is a scale
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
PIXELS = 50_000_000  # of an upload


class NoPictureError(ValueError):
    """An upload is no picture that we open."""


class Space:
    """A run's latent space.

    Args:
        run: The run.
        split: Which of its samples lie on the map.
        n: How many of them at most.

    Raises:
        ConfigError: The samples can be shown neither as pictures nor as numbers.
    """

    def __init__(self, run: Opened, split: Split = "test", n: int = 2000) -> None:
        self.run, self.model, self.split = run, run.model, split
        if len(self.model.input_shape) > 3 or len(self.model.input_shape) < 1:
            raise ConfigError(f"Samples of shape {self.model.input_shape} have no picture: use lit_ae embed.")
        self.data: Batch = run.first(n, split)
        self.conditioned = self.model.spec.condition_shape is not None
        parts = []
        for start in range(0, len(self.data.x), CHUNK):
            part = (None if each is None else each[start : start + CHUNK] for each in inputs(self.data))
            parts.append(self.model.embed(*part))  # type: ignore[arg-type]
        z = torch.cat(parts).float()
        self.latent_shape = tuple(z.shape[1:])
        self.z = array(z.flatten(1))
        self.plane = Plane.fit(self.z)
        self.points = self.project(self.z)
        self.spread = self.z.std(0)
        self.span = self.model.spec.value_range or limits(array(self.data.x))
        self.picture = is_picture(self.model.input_shape)

    @property
    def dim(self) -> int:
        """Number of latents."""
        return self.z.shape[1]

    def project(self, z: np.ndarray) -> np.ndarray:
        """Places on the map, (N, 2), of latents, (N, D)."""
        found = self.plane.project(z)
        return found if found.shape[1] == 2 else np.concatenate([found, np.zeros_like(found)], 1)

    def describe(self) -> dict[str, Any]:
        """Everything that the page must know before anybody moves."""
        middle, most = self.z.mean(0), np.argsort(-self.spread, kind="stable")[:SLIDERS]
        axes = self.plane.axes
        if len(axes) == 1:  # a single latent has no second direction
            axes = np.concatenate([axes, np.zeros_like(axes)])
        groups, classes = self.groups()
        reach = np.maximum(np.abs(self.z - middle).max(0), 3 * self.spread)
        reach = np.where(reach > 1e-6, reach, 1.0)
        return {
            "title": self.run.name,
            "variant": self.run.variant,
            "split": self.split,
            "kind": "picture" if self.picture else "lines" if len(self.model.input_shape) == 2 else "bars",
            "shape": list(self.model.input_shape),
            "dim": self.dim,
            "labels": [*self.plane.labels, ""][:2],
            "points": np.round(self.points, 5).tolist(),
            "groups": groups,
            "classes": classes,
            "mean": np.asarray(self.plane.mean, dtype=float).tolist(),
            "axes": axes.tolist(),
            "start": middle.tolist(),
            "sliders": [
                {"dim": int(i), "low": float(middle[i] - reach[i]), "high": float(middle[i] + reach[i])}
                for i in sorted(most.tolist())
            ],
            "conditions": self.conditions(),
            **self.units(),
        }

    def groups(self) -> tuple[list[int], list[dict[str, str]]]:
        """The colour of each point by number, and what these colours mean."""
        if self.data.y is None:
            return [0] * len(self.z), [{"name": "data", "colour": ACCENT}]
        y = array(self.data.y).reshape(len(self.z), -1)[:, 0]
        if is_classes(y):
            values, numbers = np.unique(y, return_inverse=True)
            names = [label(value, self.run.class_names) for value in values]
            colours = [to_hex(colour(i, len(values))) for i in range(len(values))]
        else:
            edges = np.linspace(np.nanmin(y), np.nanmax(y), BINS + 1)
            numbers = np.clip(np.searchsorted(edges, y, side="right") - 1, 0, BINS - 1)
            names = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges)]
            colours = [to_hex(matplotlib.colormaps["viridis"](i / (BINS - 1))) for i in range(BINS)]
        return numbers.tolist(), [{"name": n, "colour": c} for n, c in zip(names, colours, strict=True)]

    def conditions(self) -> list[str]:
        """Names of the classes that a picture can be asked to be of; none where the condition is no class."""
        if self.model.spec.condition_shape != ():
            return []
        count = self.model.spec.num_classes
        return self.run.class_names or [str(i) for i in range(count)]

    def units(self) -> dict[str, Any]:
        """Names of columns where samples are numbers, and the least and the greatest value of each in the data."""
        if self.picture or len(self.model.input_shape) > 1:
            ranges = []
        else:
            x = self.unscaled(array(self.data.x))
            if self.data.mask is not None:
                x = np.where(array(self.data.mask), x, np.nan)
            ranges = np.nan_to_num([np.nanmin(x, 0, initial=np.inf), np.nanmax(x, 0, initial=-np.inf)]).T.tolist()
        named = isinstance(self.run.data, Tabular | Sequences)
        return {"columns": self.run.data.column_names if named else [], "ranges": ranges}  # type: ignore[attr-defined]

    def condition(self, n: int, number: int | None = None) -> Tensor | None:
        """The condition of n pictures: a class, else that of one of the samples."""
        if not self.conditioned:
            return None
        assert self.data.c is not None
        if self.model.spec.condition_shape == ():
            return torch.full((n,), number or 0, device=self.run.device)
        return self.data.c[:1].expand(n, *self.data.c.shape[1:])

    @torch.inference_mode()
    def decode(self, z: np.ndarray, number: int | None = None) -> np.ndarray:
        """E[x|z], (N, *E), of latents (N, D)."""
        given = torch.from_numpy(z).float().to(self.run.device).reshape(len(z), *self.latent_shape)
        return array(self.model.decode(given, self.condition(len(z), number)).mean)

    @torch.inference_mode()
    def encode(self, picture: bytes, number: int | None = None, invert: bool = False) -> tuple[np.ndarray, ...]:
        """Latents, (D,), of a picture in a file, the picture as the model sees it, (*E), and its reconstruction."""
        x = torch.from_numpy(self.opened(picture, invert))[None].to(self.run.device)
        c = self.condition(1, number)
        z = self.model.embed(x, c)
        return array(z.flatten()), array(x[0]), array(self.model.decode(z, c).mean[0])

    def opened(self, picture: bytes, invert: bool) -> np.ndarray:
        """The pixels of a file, (*E), at the model's size and in its range of values.

        Raises:
            NoPictureError: It is no picture, or a huge one.
        """
        channels, height, width = self.model.input_shape
        try:
            with Image.open(io.BytesIO(picture), formats=FORMATS) as file:
                if file.width * file.height > PIXELS:
                    raise NoPictureError(f"The picture has {file.width} by {file.height} pixels: make it smaller.")
                file.verify()
            with Image.open(io.BytesIO(picture), formats=FORMATS) as file:
                image = flatten(ImageOps.exif_transpose(file), 3 if channels == 3 else 1)
        except NoPictureError:
            raise
        except Image.DecompressionBombError as error:
            raise NoPictureError("The picture has too many pixels: make it smaller.") from error
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise NoPictureError("That is no picture: choose a PNG, JPEG, WebP, BMP or GIF file.") from error
        image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
        pixels = np.asarray(image, dtype=np.float32).reshape(height, width, -1).transpose(2, 0, 1) / 255
        pixels = np.broadcast_to(1 - pixels if invert else pixels, (channels, height, width))
        low, high = self.span
        return np.ascontiguousarray(low + (high - low) * pixels, dtype=np.float32)

    def png(self, x: np.ndarray) -> bytes:
        """A sample, (C, H, W), as a PNG of its own size; other channels than three are averaged to grey."""
        low, high = self.span
        scaled = np.nan_to_num((x - low) / (high - low or 1.0)).clip(0, 1)
        pixels = np.rint(255 * (scaled if len(x) == 3 else scaled.mean(0, keepdims=True))).astype(np.uint8)
        sink = io.BytesIO()
        Image.fromarray(pixels.transpose(1, 2, 0) if len(x) == 3 else pixels[0]).save(sink, "png", compress_level=1)
        return sink.getvalue()

    def link(self, x: np.ndarray) -> str:
        """A picture as the address that holds it."""
        return "data:image/png;base64," + base64.b64encode(self.png(x)).decode()

    def unscaled(self, x: np.ndarray) -> np.ndarray:
        """Samples of numbers in the units of the data."""
        data = self.run.data
        return data.arrays(torch.from_numpy(x)) if isinstance(data, Tabular | Sequences) else x

    def values(self, x: np.ndarray, mask: np.ndarray | None = None) -> list[Any]:
        """A sample of numbers in the units of the data, (D,) or (F, T); None where it is not observed."""
        found = np.round(np.nan_to_num(self.unscaled(x).astype(np.float64)), 5).astype(object)
        if mask is not None:
            found[~np.broadcast_to(mask, x.shape)] = None
        return list(found.tolist())

    def sample(self, number: int) -> tuple[np.ndarray, np.ndarray | None]:
        """A sample of the map, (*E), and what of it is observed."""
        mask = self.data.mask
        return array(self.data.x[number]), None if mask is None else array(mask[number])

    def walk(self, a: np.ndarray, b: np.ndarray, steps: int, way: Literal["linear", "spherical"]) -> np.ndarray:
        """Latents, (steps, D), from one to another: those of `lit_ae interpolate`."""
        start, stop = torch.from_numpy(a), torch.from_numpy(b)
        return array((line if way == "linear" else arc)(start, stop, steps))
