"""The abstract networks that a model asks for, and how samples are folded into their batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor, nn

from lit_ae.errors import ConfigError


class Encoder(nn.Module, ABC):
    """Maps samples to raw posterior parameters.

    A subclass's constructor takes `(input_shape: Shape, out_features: int, ...)`; a model calls it with these two.
    """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Map x, (B, *E), to raw parameters, (B, out_features)."""


class MaskedEncoder(Encoder, ABC):
    """An encoder that leaves out what was not observed: padding, patches."""

    @abstractmethod
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map x, (B, *E), to raw parameters, (B, out_features); mask, (B, *E), is True where x is observed."""


class Decoder(nn.Module, ABC):
    """Maps latents to raw likelihood parameters.

    A subclass's constructor takes `(in_features: int, output_shape: Shape, ...)`; a model calls it with these two.
    """

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """Map z, (B, in_features), to raw parameters, (B, *output_shape)."""


def fold(net: Callable[..., Tensor], z: Tensor, c: Tensor | None = None, event_ndim: int = 1) -> Tensor:
    """Call a network on every sample at once: leading dimensions join the batch, and part again after.

    Args:
        net: Maps (N, *D), and a condition (N, *C) where there is one, to (N, *E).
        z: Latents, (*K, B, *D) with any number of sample dimensions K.
        c: Conditions, (B, *C), repeated over K and passed as the second argument.
        event_ndim: Number of dimensions of D.

    Returns:
        The network's output, (*K, B, *E).
    """
    lead, event = z.shape[: z.ndim - event_ndim], z.shape[z.ndim - event_ndim :]
    count = prod(lead)  # torch.Size.numel would fix the batch of an exported program
    flat = z.reshape(count, *event)
    if isinstance(net, nn.Module) and not torch.is_autocast_enabled(flat.device.type):
        # latents come in float32; a network of bf16-true or 64-true has other parameters
        flat = flat.to(next((parameter.dtype for parameter in net.parameters()), flat.dtype))
    given = () if c is None else (c.expand(*lead[:-1], *c.shape).reshape(count, *c.shape[1:]),)
    out = net(flat, *given)
    return out.reshape(*lead, *out.shape[1:])


def check_sizes(net: nn.Module, **sizes: int | Sequence[int]) -> None:
    """Refuse arguments below 1.

    Raises:
        ConfigError: A size, or a member of a tuple of sizes, is not positive.
    """
    for name, value in sizes.items():
        if min([value] if isinstance(value, int) else value, default=1) < 1:
            raise ConfigError(f"{type(net).__name__} cannot be built with {name}={value}: sizes must be 1 or more.")
