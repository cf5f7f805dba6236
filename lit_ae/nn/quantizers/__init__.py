"""What turns vectors into codes: learned codebooks, and fixed grids of numbers."""

from lit_ae.nn.quantizers.base import Quantizer
from lit_ae.nn.quantizers.codebook import EMAVectorQuantizer, VectorQuantizer
from lit_ae.nn.quantizers.fixed import FSQ, LFQ
from lit_ae.nn.quantizers.residual import ResidualVQ

__all__ = ["FSQ", "LFQ", "EMAVectorQuantizer", "Quantizer", "ResidualVQ", "VectorQuantizer"]
