"""How YAML names networks and activations."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import yaml
from jsonargparse import ArgumentError, ArgumentParser
from torch import nn

from lit_ae.batch import Shape
from lit_ae.nn import (
    Decoder,
    Encoder,
    MLPDecoder,
    MLPEncoder,
    ResNetDecoder,
)

LATENT, RAW = 3, 6


class Holder:
    """What a model looks like to the parser."""

    def __init__(
        self,
        encoder: Callable[[Shape, int], Encoder] = MLPEncoder,
        decoder: Callable[[int, Shape], Decoder] = MLPDecoder,
    ) -> None:
        self.encoder, self.decoder = encoder((1, 8, 8), RAW), decoder(LATENT, (1, 8, 8))


def parsed(text: str) -> Holder:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Holder, "model")
    return parser.instantiate(parser.parse_object({"model": yaml.safe_load(text)})).model


def test_yaml_names_networks_and_activations_by_class() -> None:
    holder = parsed("""
        encoder: {class_path: ConvEncoder, init_args: {channels: [5, 6], activation: Tanh, norm: group}}
        decoder: {class_path: ResNetDecoder, init_args: {channels: [4, 6], depth: 1, activation: SiLU}}
    """)
    kinds = [type(module).__name__ for module in holder.encoder.modules()]
    assert [m.out_channels for m in holder.encoder.modules() if isinstance(m, nn.Conv2d)] == [5, 6]
    assert kinds.count("Tanh") == 2
    assert kinds.count("GroupNorm") == 2
    assert "ReLU" not in kinds
    assert isinstance(holder.decoder, ResNetDecoder)
    assert {"SiLU"} <= {type(module).__name__ for module in holder.decoder.modules()}
    assert holder.decoder(torch.randn(2, LATENT)).shape == (2, 1, 8, 8)


def test_yaml_gives_activations_their_arguments() -> None:
    leaky = "{class_path: torch.nn.LeakyReLU, init_args: {negative_slope: 0.3}}"
    holder = parsed(f"encoder: {{class_path: MLPEncoder, init_args: {{hidden: [4], activation: {leaky}}}}}")
    assert [m.negative_slope for m in holder.encoder.modules() if isinstance(m, nn.LeakyReLU)] == [0.3]


def test_yaml_refuses_what_is_not_an_encoder() -> None:
    with pytest.raises(ArgumentError, match="MLPDecoder"):
        parsed("encoder: MLPDecoder")
