"""Residual networks for pictures of any size."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from torch import Tensor, nn

from lit_ae.batch import Shape
from lit_ae.nn.base import Decoder, Encoder, check_sizes
from lit_ae.nn.blocks import ChannelsLast, check_picture, down, group_norm, pyramid, up


class ResBlock(nn.Module):
    """Pre-activation residual block (He et al. 2016, fig. 4e), with group instead of batch normalisation.

    Batches of one, training and evaluation are then the same. The last convolution starts at zero: a new network
    is as shallow as its stages, whatever its depth, and trains without a warm-up (Goyal et al. 2017, section 5.1).

    Args:
        channels: Width.
        activation: Builds the activation.
    """

    def __init__(self, channels: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [group_norm(channels), activation(), nn.Conv2d(channels, channels, 3, padding=1)]
        for parameter in layers[-1].parameters():
            nn.init.zeros_(parameter)
        self.branch = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map x, (B, C, H, W), to the same shape."""
        return x + self.branch(x)


class ResNetEncoder(Encoder):
    """Residual encoder of pictures of any size: every stage after the first halves the picture, rounding up.

    Args:
        input_shape: Shape of one picture, (C, H, W).
        out_features: Number of raw posterior parameters.
        channels: Width of each stage; the first is at full size, each later one halves it, down to one pixel.
        depth: Number of residual blocks in each stage.
        activation: Builds the activation.

    Raises:
        ConfigError: The samples are not pictures, a size is not positive, or there is no stage.
    """

    def __init__(
        self,
        input_shape: Shape,
        out_features: int,
        channels: tuple[int, ...] = (32, 64),
        depth: int = 2,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        check_picture(self, input_shape, channels)
        check_sizes(self, input_shape=input_shape, out_features=out_features, channels=channels, depth=depth)
        sizes = pyramid(input_shape, len(channels) - 1)
        layers = [ChannelsLast(), nn.Conv2d(input_shape[0], channels[0], 3, padding=1), ChannelsLast()]
        for i, width in enumerate(channels):
            layers += [down(channels[i - 1], width, sizes[i - 1], kernel=3)] * (i > 0)
            layers += [ResBlock(width, activation) for _ in range(depth)]
        self.trunk = nn.Sequential(*layers, group_norm(channels[-1]), activation())
        self.head = nn.Linear(channels[-1] * prod(sizes[-1]), out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Map x, (B, C, H, W), to raw parameters, (B, out_features)."""
        return self.head(self.trunk(x).flatten(1))


class ResNetDecoder(Decoder):
    """Residual decoder to pictures of any size, the mirror image of `ResNetEncoder`.

    A stage doubles the picture by repeating pixels, then convolves: no checkerboard (Odena et al. 2016).

    Args:
        in_features: Number of latent dimensions.
        output_shape: Shape of the raw likelihood parameters of one picture, (C, H, W).
        channels: Width of each stage, from the latent outwards; the last is at full size.
        depth: Number of residual blocks in each stage.
        activation: Builds the activation.

    Raises:
        ConfigError: The samples are not pictures, a size is not positive, or there is no stage.
    """

    def __init__(
        self,
        in_features: int,
        output_shape: Shape,
        channels: tuple[int, ...] = (64, 32),
        depth: int = 2,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        check_picture(self, output_shape, channels)
        check_sizes(self, in_features=in_features, output_shape=output_shape, channels=channels, depth=depth)
        sizes = pyramid(output_shape, len(channels) - 1)[::-1]
        self.start = (channels[0], *sizes[0])
        self.head = nn.Linear(in_features, prod(self.start))
        layers: list[nn.Module] = [ChannelsLast()]
        for i, width in enumerate(channels):
            layers += [up(channels[i - 1], width, sizes[i], kernel=3, how="resize")] * (i > 0)
            layers += [ResBlock(width, activation) for _ in range(depth)]
        last = nn.Conv2d(channels[-1], output_shape[0], 3, padding=1)
        self.trunk = nn.Sequential(*layers, group_norm(channels[-1]), activation(), last)

    def forward(self, z: Tensor) -> Tensor:
        """Map z, (B, in_features), to raw parameters, (B, C, H, W)."""
        return self.trunk(self.head(z).unflatten(1, self.start))
