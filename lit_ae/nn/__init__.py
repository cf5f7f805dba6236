"""Networks: encoders and decoders for vectors and pictures of any size."""

from lit_ae.nn.base import Decoder, Encoder, MaskedEncoder, fold
from lit_ae.nn.condition import Condition
from lit_ae.nn.conv import ConvDecoder, ConvEncoder
from lit_ae.nn.mlp import MLPDecoder, MLPEncoder
from lit_ae.nn.resnet import ResNetDecoder, ResNetEncoder

__all__ = [
    "Condition",
    "ConvDecoder",
    "ConvEncoder",
    "Decoder",
    "Encoder",
    "MLPDecoder",
    "MLPEncoder",
    "MaskedEncoder",
    "ResNetDecoder",
    "ResNetEncoder",
    "fold",
]
