"""Points in the plane, generated: data that a picture can show whole."""

from __future__ import annotations

from math import pi
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from sklearn.datasets import make_circles, make_moons
from torch import Tensor

from datamodules.base import InMemory
from datamodules.mapped import Mapped, layout_of
from datamodules.samples import Samples, Source
from datamodules.tables import read
from lit_ae.batch import ConfigError, DataError, key

__all__ = ["Points"]

Figure = Literal["ellipse", "moons", "circles", "spiral"]


class Points(InMemory):
    """Points about a curve in the plane, generated: nothing is downloaded.

    The ellipse is (w₁ cos θ, w₂ sin θ) with θ uniform; moons and circles are scikit-learn's, moved to the origin; the
    spiral is the cross-section of its Swiss roll, a tenth of the size. Labels are the two halves of moons and circles,
    and eighths of the angle, from 0, for the others.

    Args:
        shape: The curve.
        n: Number of points for training and validation; a quarter as many more are the test split.
        noise: Standard deviation of the Gaussian noise about the curve.
        radii: Half-axes w₁ and w₂ of the ellipse.
        points_seed: Seed of the points; `seed` draws the validation split and the order.

    Raises:
        ConfigError: An argument is out of its range.
    """

    def __init__(
        self,
        *args: Any,
        shape: Figure = "ellipse",
        n: int = 1000,
        noise: float = 0.05,
        radii: tuple[float, float] = (1.1, 0.6),
        points_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if shape not in get_args(Figure):
            raise ConfigError(f"--data.shape is {shape!r}: choose {', '.join(get_args(Figure))}.")
        if n < 8:
            raise ConfigError(f"--data.n is {n}: give at least 8 points.")
        if not 0 <= noise < float("inf"):
            raise ConfigError(f"--data.noise is {noise}: give a finite standard deviation of 0 or more.")
        if not all(0 < radius < float("inf") for radius in radii):
            raise ConfigError(f"--data.radii is {list(radii)}: give two finite half-axes above 0.")
        self.shape, self.n, self.noise, self.radii, self.points_seed = shape, n, noise, radii, points_seed

    def load(self, split: Literal["train", "test"]) -> Samples:
        """n or n // 4 points: x (N, 2) float32, y (N,)."""
        count = self.n if split == "train" else self.n // 4
        draw = np.random.RandomState(key(self.points_seed, split == "test") % 2**32)
        if self.shape == "moons":
            x, y = make_moons(count, noise=None, random_state=draw)
            x = x - (0.5, 0.25)
        elif self.shape == "circles":
            x, y = make_circles(count, noise=None, factor=0.5, random_state=draw)
        else:
            turn = draw.uniform(size=count)
            y = (8 * turn).astype(int)
            angle = 2 * pi * turn if self.shape == "ellipse" else 1.5 * pi * (1 + 2 * turn)
            scale = np.array(self.radii) if self.shape == "ellipse" else angle[:, None] / 10
            x = scale * np.stack([np.cos(angle), np.sin(angle)], 1)
        x = x + self.noise * draw.normal(size=x.shape)
        return Samples(torch.from_numpy(x).float(), torch.from_numpy(y))

    def outside(self, path: Path) -> Source:
        """Points of a file: an array x, (N, 2), with labels y where there are some, or two columns of numbers."""
        if path.suffix.lower() == ".npy":
            return Mapped(layout_of(path), (2,), lambda rows, first: Samples(coordinates(path, rows, first)))
        table = read(path)
        others = ("label", "index", "name") if table.tabular else ("y", "c", "mask")
        names = [name for name in table.arrays if name not in others]
        y = table.arrays.get("label" if table.tabular else "y")
        parts = [table.arrays[name] for name in (["x"] if "x" in names and not table.tabular else names)]
        x = parts[0] if len(parts) == 1 else np.stack(parts, 1) if all(part.ndim == 1 for part in parts) else parts[0]
        label = None if y is None or y.dtype.kind not in "biuf" else torch.from_numpy(y.astype(np.int64))
        return self.held(Samples(coordinates(path, x), label))

    def named(self, x: Tensor) -> dict[str, np.ndarray] | None:
        """The two coordinates, x0 and x1."""
        return None if self.transforms else {f"x{axis}": x[:, axis].float().cpu().numpy() for axis in range(2)}


def coordinates(path: Path, x: np.ndarray, first: int = 0) -> Tensor:
    """(N, 2) float32."""
    if x.ndim != 2 or x.shape[1] != 2 or x.dtype.kind not in "biuf":
        raise DataError(f"{path} holds {x.dtype} of shape {x.shape}: give points in the plane, (N, 2) numbers.")
    if not np.isfinite(x).all():
        row = int(np.argwhere(~np.isfinite(x))[0, 0])
        raise DataError(f"{path} has no number in row {first + row} (counted from 0): mend it.")
    return torch.from_numpy(x.astype(np.float32))
