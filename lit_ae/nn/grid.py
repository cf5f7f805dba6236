"""Fully convolutional networks: pictures to a grid of vectors and back, for any size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from lit_ae.batch import Shape
from lit_ae.errors import ConfigError
from lit_ae.nn.base import check_sizes
from lit_ae.nn.blocks import ChannelsLast, check_choice, down, keep_scale, pyramid, up


def check_grid(net: nn.Module, shape: Shape, channels: tuple[int, ...]) -> None:
    """Refuse samples that are not pictures, and networks without a stage.

    Raises:
        ConfigError: The shape is not (C, H, W), or no width is given.
    """
    name = type(net).__name__
    if len(shape) != 3:
        raise ConfigError(
            f"{name} takes pictures of shape (C, H, W), but the samples have {shape}: "
            "use a model with one vector per sample, such as AE or VAE."
        )
    if not channels:
        raise ConfigError(f"{name} cannot be built with channels=(): give a width for each stage.")


class GridEncoder(nn.Module):
    """Convolutional encoder that keeps a grid: each stage halves the picture, rounding up.

    Args:
        input_shape: Shape of one picture, (C, H, W).
        out_channels: Number of channels of the grid.
        channels: Width of each stage, one halving each; a side of one pixel stays.
        kernel: Side of the halving convolutions' kernels in pixels.
        activation: Builds the activation after each stage.

    Attributes:
        grid: Size of the grid, (h, w).

    Raises:
        ConfigError: The samples are not pictures, a size is not positive, or there is no stage.
    """

    def __init__(
        self,
        input_shape: Shape,
        out_channels: int,
        channels: tuple[int, ...] = (32, 64),
        kernel: int = 4,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        check_grid(self, input_shape, channels)
        check_sizes(self, input_shape=input_shape, out_channels=out_channels, channels=channels, kernel=kernel)
        *sizes, self.grid = pyramid(input_shape, len(channels))
        layers: list[nn.Module] = []
        for n_in, n_out, size in zip((input_shape[0], *channels[:-1]), channels, sizes, strict=True):
            layers += [ChannelsLast(), down(n_in, n_out, size, kernel), activation()]
        layers += [ChannelsLast(), nn.Conv2d(channels[-1], channels[-1], 3, padding=1), activation()]
        self.trunk = nn.Sequential(*layers, nn.Conv2d(channels[-1], out_channels, 1))
        keep_scale(self.trunk[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Map x, (B, C, H, W), to a grid, (B, out_channels, h, w)."""
        return self.trunk(x)


class GridDecoder(nn.Module):
    """Convolutional decoder from a grid to pictures of any size, the mirror image of `GridEncoder`.

    Args:
        in_channels: Number of channels of the grid.
        output_shape: Shape of the raw likelihood parameters of one picture, (C, H, W).
        channels: Width of each stage, from the grid outwards, one doubling each.
        kernel: Side of the doubling convolutions' kernels in pixels.
        activation: Builds the activation before each doubling.
        upsample: How a stage doubles the picture. `transposed` is fast, and free of a checkerboard where the kernel
            is a multiple of 2; `resize` repeats pixels, then convolves (Odena et al. 2016).

    Attributes:
        grid: Size of the grid, (h, w).

    Raises:
        ConfigError: The samples are not pictures, a size is not positive, or there is no stage.
    """

    def __init__(
        self,
        in_channels: int,
        output_shape: Shape,
        channels: tuple[int, ...] = (64, 32),
        kernel: int = 4,
        activation: Callable[[], nn.Module] = nn.ReLU,
        upsample: Literal["transposed", "resize"] = "transposed",
    ) -> None:
        super().__init__()
        check_grid(self, output_shape, channels)
        check_sizes(self, in_channels=in_channels, output_shape=output_shape, channels=channels, kernel=kernel)
        check_choice(self, "upsample", upsample, ("transposed", "resize"))
        *sizes, self.grid = pyramid(output_shape, len(channels))
        layers: list[nn.Module] = [ChannelsLast(), nn.Conv2d(in_channels, channels[0], 3, padding=1)]
        for n_in, n_out, size in zip(channels, (*channels[1:], output_shape[0]), reversed(sizes), strict=True):
            layers += [activation(), ChannelsLast(), up(n_in, n_out, size, kernel, upsample)]
        self.trunk = nn.Sequential(*layers)
        keep_scale(self.trunk[:-1])

    def forward(self, z: Tensor) -> Tensor:
        """Map a grid, (B, in_channels, h, w), to raw parameters, (B, C, H, W)."""
        return self.trunk(z)
