"""A causal transformer over the sequence of codes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lit_ae.batch import Shape
from lit_ae.errors import ConfigError
from lit_ae.samplers.codes import CodeSampler, check


class TransformerSampler(CodeSampler):
    """Causal transformer: each code given all before it, row by row.

    A step sees the code before it, a learned vector of its own place, and through attention all earlier steps. The
    first sees a start token, to which the condition is added.

    Args:
        num_codes: Number of values that one code takes, K.
        code_shape: Shape of the codes of one sample: (h, w), or (depth, h, w).
        condition_shape: Shape of one condition; () is the number of a class, None is no condition.
        num_classes: Number of classes where the condition is one.
        width: Number of features.
        layers: Number of layers.
        heads: Number of attention heads, which share the width.
        dropout: Share of features that a training step leaves out.

    Raises:
        ConfigError: A size is not positive, or the width is no multiple of the heads.

    Reference:
        Esser, Rombach & Ommer, "Taming Transformers for High-Resolution Image Synthesis", CVPR 2021. https://arxiv.org/abs/2012.09841
    """

    def __init__(
        self,
        num_codes: int,
        code_shape: Shape,
        condition_shape: Shape | None = None,
        num_classes: int = 0,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.2,
    ) -> None:
        check(width=width, layers=layers, heads=heads, dropout=dropout)
        if width % heads:
            raise ConfigError(f"heads is {heads}, which does not divide the width, {width}: set --sampler.heads.")
        super().__init__(num_codes, code_shape, condition_shape, num_classes, width)
        self.start = nn.Parameter(torch.randn(width) / width**0.5)
        self.places = nn.Parameter(torch.randn(self.length, width) / width**0.5)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def features(self, sequence: Tensor, c: Tensor | None) -> Tensor:
        """Features, (B, t, width), of each step of the first t codes, (B, t)."""
        steps = sequence.shape[1]
        start = self.start.expand(len(sequence), self.width)
        if self.condition is not None:
            start = start + self.condition(c)
        h = torch.cat([start[:, None], self.embed(sequence[:, :-1])], 1) + self.places[:steps]
        later = nn.Transformer.generate_square_subsequent_mask(steps, h.device, h.dtype)
        for layer in self.layers:
            h = layer(h, later, is_causal=True)
        return self.norm(h)
