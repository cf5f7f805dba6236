"""What is done to a whole batch on the device, after scaling to [0, 1]."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Generator, Tensor
from torch.nn import functional

from lit_ae.batch import ConfigError, Shape

__all__ = ["Dequantize", "DynamicBinarize", "Flip", "Pad", "Resize", "Scale", "StaticBinarize", "Transform"]

Size = int | tuple[int, int]


class Transform(ABC):
    """A map of float32 batches (B, *E), the same for every sample but for its own random numbers.

    Attributes:
        training_only: Skipped in evaluation (augmentation).
        random: Draws from the generator, which is seeded only for batches that need it.
        geometric: Moves pixels, so that a mask would no longer fit.
    """

    training_only: bool = False
    random: bool = False
    geometric: bool = False

    @abstractmethod
    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """The transformed batch, on the device of x, as is the generator."""

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of one sample after the transform.

        Raises:
            ConfigError: The transform does not apply to samples of this shape.
        """
        return shape

    def value_range(self, low: float, high: float) -> tuple[float, float]:
        """Range of the values after the transform.

        Raises:
            ConfigError: The transform does not apply to values in [low, high].
        """
        return low, high


class Pad(Transform):
    """Surround pictures with zeros.

    Args:
        size: Height and width afterwards in pixels; one number for both. 28 → 32 adds 2 on each side.
    """

    geometric = True

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.size = pair(size, "Pad")

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """(B, C, H, W) → (B, C, *size); the odd pixel goes right and below."""
        rows, columns = self.size[0] - x.shape[-2], self.size[1] - x.shape[-1]
        return functional.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))

    def output_shape(self, shape: Shape) -> Shape:
        """(C, *size)."""
        channels, height, width = picture(shape, "Pad")
        if height > self.size[0] or width > self.size[1]:
            raise ConfigError(f"Pad to {self.size} cannot hold pictures of {height} by {width}: give a larger size.")
        return (channels, *self.size)

    def value_range(self, low: float, high: float) -> tuple[float, float]:
        """The same, with 0."""
        return min(low, 0.0), max(high, 0.0)


class Resize(Transform):
    """Resample pictures bilinearly, with antialiasing.

    Args:
        size: Height and width afterwards in pixels; one number for both.
    """

    geometric = True

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.size = pair(size, "Resize")

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """(B, C, H, W) → (B, C, *size)."""
        return functional.interpolate(x, self.size, mode="bilinear", antialias=True)

    def output_shape(self, shape: Shape) -> Shape:
        """(C, *size)."""
        return (picture(shape, "Resize")[0], *self.size)


class Flip(Transform):
    """Mirror pictures left to right at random, in training only.

    Args:
        p: Probability of a mirrored picture.
    """

    training_only = True
    random = True
    geometric = True

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ConfigError(f"Flip's p is a probability, not {p}: give a number in [0, 1].")
        self.p = p

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """(B, C, H, W) → the same shape."""
        mirrored = torch.rand(x.shape[0], 1, 1, 1, device=x.device, generator=generator) < self.p
        return torch.where(mirrored, x.flip(-1), x)

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged."""
        return picture(shape, "Flip")


class StaticBinarize(Transform):
    """1 where a value in [0, 1] is above a threshold, else 0.

    Args:
        threshold: The largest value that becomes 0.
    """

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = threshold

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """x → {0, 1}, the same shape."""
        return (x > self.threshold).to(x.dtype)

    def value_range(self, low: float, high: float) -> tuple[float, float]:
        """[0, 1]."""
        return unit(low, high, "StaticBinarize")


class DynamicBinarize(Transform):
    """Draw each pixel from a Bernoulli with the grey value as its probability, anew in every epoch.

    Salakhutdinov & Murray, "On the quantitative analysis of deep belief networks", ICML 2008. In
    evaluation the draw depends only on the batch's number.
    """

    random = True

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """x → {0, 1}, the same shape."""
        # a third of the time of torch.bernoulli
        return (torch.rand(x.shape, device=x.device, generator=generator) < x).to(x.dtype)

    def value_range(self, low: float, high: float) -> tuple[float, float]:
        """[0, 1]."""
        return unit(low, high, "DynamicBinarize")


class Dequantize(Transform):
    """Spread k/(levels − 1) evenly over [k/levels, (k + 1)/levels): a density bound on discrete data.

    Theis, van den Oord & Bethge, "A note on the evaluation of generative models", ICLR 2016, section 3.1.

    Args:
        levels: Number of grey levels in the source: 256 for pictures, 17 for `Digits`.
    """

    random = True

    def __init__(self, levels: int = 256) -> None:
        if levels < 2:
            raise ConfigError(f"Dequantize needs at least 2 levels, not {levels}: 256 for pictures.")
        self.levels = levels

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """((levels − 1)·x + u) / levels with u uniform in [0, 1), the same shape."""
        noise = torch.rand(x.shape, device=x.device, generator=generator)
        return noise.add_(x, alpha=self.levels - 1).div_(self.levels)

    def value_range(self, low: float, high: float) -> tuple[float, float]:
        """[0, 1]."""
        return unit(low, high, "Dequantize")


class Scale(Transform):
    """Map [0, 1] linearly to another range.

    Args:
        low: What 0 becomes.
        high: What 1 becomes.
    """

    def __init__(self, low: float = -1.0, high: float = 1.0) -> None:
        if low >= high:
            raise ConfigError(f"Scale to [{low}, {high}] is empty: low must be below high.")
        self.low, self.high = low, high

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """low + (high − low)·x, the same shape."""
        return x * (self.high - self.low) + self.low

    def value_range(self, low: float, high: float) -> tuple[float, float]:
        """[low, high] of the transform."""
        unit(low, high, "Scale")
        return self.low, self.high


def pair(size: Size, name: str) -> tuple[int, int]:
    """Height and width from one number or two."""
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ConfigError(f"{name}'s size is {size}: give whole pixels, at least 1.")
    return height, width


def picture(shape: Shape, name: str) -> tuple[int, int, int]:
    """The shape itself where it is a picture's (C, H, W)."""
    if len(shape) != 3:
        raise ConfigError(f"{name} needs pictures (C, H, W), not samples of shape {shape}: leave it out.")
    return shape[0], shape[1], shape[2]


def unit(low: float, high: float, name: str) -> tuple[float, float]:
    """(0, 1) where [low, high] lies in it."""
    if low < 0 or high > 1:
        raise ConfigError(f"{name} needs values in [0, 1], the data reach from {low:g} to {high:g}: leave it out.")
    return 0.0, 1.0
