"""What a model is conditioned on, as numbers beside its input and its latents."""

from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_ae.batch import DataError, Shape


class Condition(nn.Module):
    """Embeds a condition linearly and lays it beside samples and latents (Sohn et al. 2015; Mirza & Osindero 2014).

    A class becomes one of K learned vectors; a vector, or an embedding of a picture or a text, is mapped to as many
    numbers, so that conditions of any size cost a picture only a few more channels.

    Args:
        shape: Shape of one condition; () is the number of a class.
        num_classes: Number of classes where the condition is one.
        features: Number of embedded features.
    """

    def __init__(self, shape: Shape, num_classes: int, features: int) -> None:
        super().__init__()
        self.shape, self.num_classes, self.features = tuple(shape), num_classes, features
        self.embed = nn.Linear(prod(shape) if shape else num_classes, features)

    def check(self, c: Tensor | None) -> None:
        """Refuse conditions that do not fit.

        Raises:
            DataError: There is none, or it has another shape, a number that is no class, or NaN.
        """
        if c is None:
            what = f"the number of a class below {self.num_classes}" if not self.shape else f"of shape {self.shape}"
            raise DataError(f"The model was trained with a condition, {what}, per sample: give one as c.")
        if tuple(c.shape[1:]) != self.shape:
            raise DataError(
                f"The model was trained with conditions of shape {self.shape}, these have {tuple(c.shape[1:])}: "
                "give it such as it was trained with."
            )
        if not self.shape and len(c) and not 0 <= (worst := extreme(c, self.num_classes)) < self.num_classes:
            raise DataError(
                f"The condition {worst} is out of range: the model knows the classes 0 to {self.num_classes - 1}."
            )
        if c.is_floating_point() and not c.isfinite().all():
            raise DataError("A condition is NaN or infinite: fill it in or leave the sample out.")

    def forward(self, c: Tensor | None) -> Tensor:
        """Embed c, (B, *C) or (B,) class numbers, as (B, features).

        Raises:
            DataError: It does not fit.
        """
        cheap = c is None or tuple(c.shape[1:]) != self.shape or c.device.type == "cpu"
        if cheap and not torch.compiler.is_exporting():  # an accelerator would stop to show values, a program has none
            self.check(c)
        assert c is not None
        flat = c.flatten(1) if self.shape else F.one_hot(c.long(), self.num_classes)
        return self.embed(flat.to(self.embed.weight.dtype))

    def beside_sample(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Append the features as channels, the same at every place: (B, E₀ + features, E₁, ...)."""
        embedded = self(c)
        planes = embedded.reshape(*embedded.shape, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:])
        return torch.cat([x, planes.to(x.dtype)], 1)

    def beside_latent(self, z: Tensor, c: Tensor | None) -> Tensor:
        """Append the features to latents, (*K, B, D + features); the condition of one sample serves for all."""
        embedded = self(c).to(z.dtype)
        return torch.cat([z, embedded.expand(*z.shape[:-1], -1)], -1)


def extreme(c: Tensor, num_classes: int) -> int:
    """The class number that is furthest out of range, or any that is in it."""
    low, high = int(c.min()), int(c.max())
    return low if low < 0 else high
