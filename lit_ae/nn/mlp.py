"""Fully connected networks for vectors, and for anything else flattened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from lit_ae.batch import Shape
from lit_ae.nn.base import Decoder, Encoder, check_sizes


def mlp(widths: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Stack affine layers of the given widths with the activation between them, none after the last."""
    layers: list[nn.Module] = []
    for i, (n_in, n_out) in enumerate(pairwise(widths)):
        layers += [activation()] * (i > 0) + [nn.Linear(n_in, n_out)]
    return nn.Sequential(*layers)


class MLPEncoder(Encoder):
    """Fully connected encoder of samples of any shape, flattened.

    Args:
        input_shape: Shape of one sample, E.
        out_features: Number of raw posterior parameters.
        hidden: Widths of the hidden layers; () gives one affine map.
        activation: Builds the activation after each hidden layer.
        output: Builds the activation of the output: `torch.nn.Sigmoid` for codes in (0, 1).

    Raises:
        ConfigError: A size is not positive.
    """

    def __init__(
        self,
        input_shape: Shape,
        out_features: int,
        hidden: tuple[int, ...] = (512,),
        activation: Callable[[], nn.Module] = nn.ReLU,
        output: Callable[[], nn.Module] = nn.Identity,
    ) -> None:
        super().__init__()
        check_sizes(self, input_shape=input_shape, out_features=out_features, hidden=hidden)
        self.layers = mlp((prod(input_shape), *hidden, out_features), activation)
        self.output = output()

    def forward(self, x: Tensor) -> Tensor:
        """Map x, (B, *E), to raw parameters, (B, out_features)."""
        return self.output(self.layers(x.flatten(1)))


class MLPDecoder(Decoder):
    """Fully connected decoder to samples of any shape.

    Args:
        in_features: Number of latent dimensions.
        output_shape: Shape of the raw likelihood parameters of one sample.
        hidden: Widths of the hidden layers, from the latent outwards; () gives one affine map.
        activation: Builds the activation after each hidden layer.

    Raises:
        ConfigError: A size is not positive.
    """

    def __init__(
        self,
        in_features: int,
        output_shape: Shape,
        hidden: tuple[int, ...] = (512,),
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        check_sizes(self, in_features=in_features, output_shape=output_shape, hidden=hidden)
        self.output_shape = tuple(output_shape)
        self.layers = mlp((in_features, *hidden, prod(output_shape)), activation)

    def forward(self, z: Tensor) -> Tensor:
        """Map z, (B, in_features), to raw parameters, (B, *output_shape)."""
        return self.layers(z).unflatten(1, self.output_shape)
