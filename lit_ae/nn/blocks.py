"""What convolutional networks are built of: exact halving and doubling of any size, layout, normalisation."""

from __future__ import annotations

from collections.abc import Iterable
from math import gcd, prod
from typing import Literal

import torch
from torch import Tensor, nn

from lit_ae.batch import Shape
from lit_ae.errors import ConfigError
from lit_ae.nn.base import Encoder

Size = tuple[int, int]


def check_picture(net: nn.Module, shape: Shape, channels: tuple[int, ...]) -> None:
    """Refuse samples that are not pictures, and networks without a stage.

    Raises:
        ConfigError: The shape is not (C, H, W), or no width is given.
    """
    name, instead = type(net).__name__, "MLPEncoder" if isinstance(net, Encoder) else "MLPDecoder"
    if len(shape) != 3:
        raise ConfigError(f"{name} takes pictures of shape (C, H, W), but the samples have {shape}: use {instead}.")
    if not channels:
        raise ConfigError(f"{name} cannot be built with channels=(): give a width for each stage, or use {instead}.")


def check_choice(net: nn.Module, name: str, value: str, choices: Iterable[str]) -> None:
    """Refuse a word that is none of the choices.

    Raises:
        ConfigError: The value is not among them.
    """
    if value not in choices:
        raise ConfigError(f"{type(net).__name__} cannot be built with {name}={value!r}: use {', '.join(choices)}.")


def pyramid(shape: Shape, stages: int) -> list[Size]:
    """List the sizes of a picture (C, H, W) from full size down, each ⌈n/2⌉ of the last: a side of one pixel stays."""
    _, height, width = shape
    sizes = [(height, width)]
    for _ in range(stages):
        height, width = (height + 1) // 2, (width + 1) // 2
        sizes.append((height, width))
    return sizes


def padding(size: Size, kernel: int) -> Size:
    """Padding with which a convolution of stride 2 takes n pixels to ⌈n/2⌉: one more at odd n under an even kernel."""
    height, width = ((kernel - 1) // 2 + (kernel % 2 == 0 and n % 2 == 1) for n in size)
    return height, width


def down(n_in: int, n_out: int, size: Size, kernel: int) -> nn.Conv2d:
    """Halve a picture of the given size, rounding up."""
    return nn.Conv2d(n_in, n_out, kernel, stride=2, padding=padding(size, kernel))


def up(n_in: int, n_out: int, size: Size, kernel: int, how: Literal["transposed", "resize"]) -> nn.Module:
    """Double a picture to exactly the given size: the way back of `down` from that size."""
    if how == "resize":
        even = [nn.ZeroPad2d((0, 1, 0, 1))] * (kernel % 2 == 0)
        conv = nn.Conv2d(n_in, n_out, kernel, padding=(kernel - 1) // 2)
        return nn.Sequential(nn.Upsample(size=size), *even, conv)
    pad = padding(size, kernel)
    height, width = (n - 2 * ((n + 1) // 2 - 1) + 2 * p - kernel for n, p in zip(size, pad, strict=True))
    return nn.ConvTranspose2d(n_in, n_out, kernel, stride=2, padding=pad, output_padding=(height, width))


def keep_scale(net: nn.Module) -> None:
    """Initialise convolutions so that a ReLU keeps the scale of what passes through (He et al. 2015, eq. 10).

    Torch's own default shrinks it by √6 a layer: after five stages, codes of different pictures differ by 4e-4.
    """
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            # a transposed convolution's weight is (in, out, k, k), and of its k² taps one in stride² meets a pixel
            transposed = isinstance(layer, nn.ConvTranspose2d)
            fan_in = layer.weight[:, 0].numel() / prod(layer.stride) if transposed else layer.weight[0].numel()
            nn.init.normal_(layer.weight, std=(2 / fan_in) ** 0.5)


class ChannelsLast(nn.Module):
    """Lays feature maps out channels last, which convolutions keep: on CPU up to 25% faster in bf16, 10% in fp32.

    The weights keep torch's layout, so that checkpoints, safetensors and gradient buckets see nothing unusual.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the same values; one channel fits either layout and is left alone."""
        return x.contiguous(memory_format=torch.channels_last)


def group_norm(channels: int) -> nn.GroupNorm:
    """Normalise groups of about 16 channels (Wu & He 2018, table 3)."""
    return nn.GroupNorm(gcd(channels, max(1, channels // 16)), channels)
