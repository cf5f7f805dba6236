"""Networks: encoders and decoders for vectors, for pictures of any size and for sequences of any length."""

from lit_ae.nn.base import Decoder, Encoder, MaskedEncoder, fold
from lit_ae.nn.condition import Condition
from lit_ae.nn.conv import ConvDecoder, ConvEncoder
from lit_ae.nn.ellipse import EllipseDecoder
from lit_ae.nn.grid import GridDecoder, GridEncoder
from lit_ae.nn.ladder import BottomUp, TopDown
from lit_ae.nn.mlp import MLPDecoder, MLPEncoder
from lit_ae.nn.resnet import ResNetDecoder, ResNetEncoder
from lit_ae.nn.rnn import RecurrentDecoder, RecurrentEncoder
from lit_ae.nn.vit import ViTDecoder, ViTEncoder

__all__ = [
    "BottomUp",
    "Condition",
    "ConvDecoder",
    "ConvEncoder",
    "Decoder",
    "EllipseDecoder",
    "Encoder",
    "GridDecoder",
    "GridEncoder",
    "MLPDecoder",
    "MLPEncoder",
    "MaskedEncoder",
    "RecurrentDecoder",
    "RecurrentEncoder",
    "ResNetDecoder",
    "ResNetEncoder",
    "TopDown",
    "ViTDecoder",
    "ViTEncoder",
    "fold",
]
