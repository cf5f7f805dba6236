"""A decoder with two parameters: an angle becomes a point on an ellipse."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lit_ae.batch import Shape
from lit_ae.errors import ConfigError
from lit_ae.nn.base import Decoder


class EllipseDecoder(Decoder):
    """x̂ = (w₁ cos z, w₂ sin z) with learned half-axes w (LeCun & Canziani 2021, latent-variable energy-based models).

    Args:
        in_features: Number of latent dimensions, which must be 1.
        output_shape: Shape of one point, which must be (2,).

    Raises:
        ConfigError: The latent is no single angle, or the samples are no points of the plane.
    """

    def __init__(self, in_features: int, output_shape: Shape) -> None:
        super().__init__()
        if in_features != 1 or tuple(output_shape) != (2,):
            raise ConfigError(
                f"EllipseDecoder maps 1 latent to 2 numbers, but the model has {in_features} and needs "
                f"{tuple(output_shape)}: set --model.latent_dim 1, and use 2-D points without a condition."
            )
        self.axes = nn.Parameter(torch.ones(2))

    def forward(self, z: Tensor) -> Tensor:
        """Map angles z, (B, 1), in radians, to points, (B, 2)."""
        return self.axes * torch.cat([z.cos(), z.sin()], 1)
