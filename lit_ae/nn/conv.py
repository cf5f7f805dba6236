"""Convolutional networks for pictures of any size."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Literal

from torch import Tensor, nn

from lit_ae.batch import Shape
from lit_ae.nn.base import Decoder, Encoder, check_sizes
from lit_ae.nn.blocks import ChannelsLast, check_choice, check_picture, down, group_norm, keep_scale, pyramid, up
from lit_ae.nn.mlp import mlp

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda channels: nn.Identity(),
    "group": group_norm,
    "batch": nn.BatchNorm2d,
}


class ConvEncoder(Encoder):
    """Convolutional encoder of pictures of any size: each stage halves the picture, rounding up.

    Convolutions start as He et al. (2015) say, so that five stages pass on as much as two; the fully connected layers
    start as torch's do, so that first codes are small.

    Args:
        input_shape: Shape of one picture, (C, H, W).
        out_features: Number of raw posterior parameters.
        channels: Width of each stage, one halving each; a side of one pixel stays.
        kernel: Side of the convolutions' kernels in pixels.
        dense: Widths of the fully connected layers between the last stage and the output.
        norm: What normalises each stage; `batch` makes a sample's code depend on its batch in training.
        activation: Builds the activation after each stage and dense layer.

    Raises:
        ConfigError: The samples are not pictures, a size is not positive, or there is no stage.
    """

    def __init__(
        self,
        input_shape: Shape,
        out_features: int,
        channels: tuple[int, ...] = (32, 64),
        kernel: int = 4,
        dense: tuple[int, ...] = (),
        norm: Literal["none", "group", "batch"] = "none",
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        check_picture(self, input_shape, channels)
        check_sizes(self, input_shape=input_shape, out_features=out_features)
        check_sizes(self, channels=channels, kernel=kernel, dense=dense)
        check_choice(self, "norm", norm, NORMS)
        *sizes, smallest = pyramid(input_shape, len(channels))
        layers: list[nn.Module] = []
        for n_in, n_out, size in zip((input_shape[0], *channels[:-1]), channels, sizes, strict=True):
            layers += [ChannelsLast(), down(n_in, n_out, size, kernel), NORMS[norm](n_out), activation()]
        self.trunk = nn.Sequential(*layers)
        keep_scale(self.trunk)
        self.head = mlp((channels[-1] * prod(smallest), *dense, out_features), activation)

    def forward(self, x: Tensor) -> Tensor:
        """Map x, (B, C, H, W), to raw parameters, (B, out_features)."""
        return self.head(self.trunk(x).flatten(1))


class ConvDecoder(Decoder):
    """Convolutional decoder to pictures of any size, the mirror image of `ConvEncoder`.

    Convolutions start as He et al. (2015) say, but the last, which starts as torch's do: first pictures are faint.

    Args:
        in_features: Number of latent dimensions.
        output_shape: Shape of the raw likelihood parameters of one picture, (C, H, W).
        channels: Width of each stage, from the latent outwards, one doubling each.
        kernel: Side of the convolutions' kernels in pixels.
        dense: Widths of the fully connected layers before the first stage.
        norm: What normalises each stage; `batch` makes a picture depend on its batch in training.
        activation: Builds the activation before each doubling and after each dense layer.
        upsample: How a stage doubles the picture. `transposed` is fast, and free of a checkerboard where the kernel
            is a multiple of 2; `resize` repeats pixels, then convolves (Odena et al. 2016).

    Raises:
        ConfigError: The samples are not pictures, a size is not positive, or there is no stage.
    """

    def __init__(
        self,
        in_features: int,
        output_shape: Shape,
        channels: tuple[int, ...] = (64, 32),
        kernel: int = 4,
        dense: tuple[int, ...] = (),
        norm: Literal["none", "group", "batch"] = "none",
        activation: Callable[[], nn.Module] = nn.ReLU,
        upsample: Literal["transposed", "resize"] = "transposed",
    ) -> None:
        super().__init__()
        check_picture(self, output_shape, channels)
        check_sizes(self, in_features=in_features, output_shape=output_shape)
        check_sizes(self, channels=channels, kernel=kernel, dense=dense)
        check_choice(self, "norm", norm, NORMS)
        check_choice(self, "upsample", upsample, ("transposed", "resize"))
        *sizes, smallest = pyramid(output_shape, len(channels))
        self.start = (channels[0], *smallest)
        self.head = mlp((in_features, *dense, prod(self.start)), activation)
        layers: list[nn.Module] = []
        for n_in, n_out, size in zip(channels, (*channels[1:], output_shape[0]), reversed(sizes), strict=True):
            layers += [NORMS[norm](n_in), activation(), ChannelsLast(), up(n_in, n_out, size, kernel, upsample)]
        self.trunk = nn.Sequential(*layers)
        keep_scale(self.trunk[:-1])

    def forward(self, z: Tensor) -> Tensor:
        """Map z, (B, in_features), to raw parameters, (B, C, H, W)."""
        return self.trunk(self.head(z).unflatten(1, self.start))
