"""A gated PixelCNN over the grid of codes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_ae.batch import Shape
from lit_ae.errors import ConfigError
from lit_ae.samplers.codes import CodeSampler, check


class Gated(nn.Module):
    """One layer of both stacks (van den Oord et al. 2016, figure 2 and eq. 4).

    Convolutions are masked by shifting: the vertical one ends in its own row, which the horizontal stack sees only one
    row later; the horizontal one ends in its own place, in the first layer one before it (masks B and A).

    Args:
        width: Number of features.
        kernel: Side of the unmasked kernel.
        dropout: Share of features that a training step leaves out.
        first: Whether the place itself must not be seen.
        conditional: Whether there is a condition.
    """

    def __init__(self, width: int, kernel: int, dropout: float, first: bool, conditional: bool) -> None:
        super().__init__()
        self.reach, self.first = kernel // 2, first
        self.vertical = nn.Conv2d(width, 2 * width, (self.reach + 1, kernel))
        self.horizontal = nn.Conv2d(width, 2 * width, (1, self.reach + 1))
        self.down = nn.Conv2d(2 * width, 2 * width, 1)
        self.out = nn.Conv2d(width, width, 1)
        self.condition = nn.Linear(width, 4 * width, bias=False) if conditional else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, v: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        """Features of all above and beside, and of all before: (B, width, rows, columns) each; c is (B, width)."""
        reach = self.reach
        seen = F.pad(h, (reach + 1, -1)) if self.first else F.pad(h, (reach, 0))
        v = self.vertical(F.pad(v, (reach, reach, reach, 0)))
        beside = self.horizontal(seen) + self.down(F.pad(v, (0, 0, 1, -1)))
        if self.condition is not None:
            of_v, of_h = self.condition(c)[:, :, None, None].chunk(2, 1)
            v, beside = v + of_v, beside + of_h
        out = self.out(self.dropout(gated(beside)))
        return gated(v), out if self.first else h + out


def gated(x: Tensor) -> Tensor:
    """tanh of one half of the channels times sigmoid of the other."""
    signal, gate = x.chunk(2, 1)
    return signal.tanh() * gate.sigmoid()


class PixelCNNSampler(CodeSampler):
    """Gated PixelCNN: each code given those above it and to its left, by convolutions without a blind spot.

    Where a place has several codes, each also sees those before it at its own place.

    Args:
        num_codes: Number of values that one code takes, K.
        code_shape: Shape of the codes of one sample: (h, w), or (depth, h, w).
        condition_shape: Shape of one condition; () is the number of a class, None is no condition.
        num_classes: Number of classes where the condition is one.
        width: Number of features.
        layers: Number of layers.
        kernel: Side of the kernels in places, odd, 3 or more.
        dropout: Share of features that a training step leaves out.

    Raises:
        ConfigError: A size is out of range.

    Reference:
        van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", NeurIPS 2016. https://arxiv.org/abs/1606.05328
    """

    def __init__(
        self,
        num_codes: int,
        code_shape: Shape,
        condition_shape: Shape | None = None,
        num_classes: int = 0,
        width: int = 64,
        layers: int = 2,
        kernel: int = 3,
        dropout: float = 0.2,
    ) -> None:
        check(width=width, layers=layers, dropout=dropout)
        if kernel < 3 or kernel % 2 == 0:
            raise ConfigError(f"kernel is {kernel}: set --sampler.kernel to an odd number of 3 or more.")
        super().__init__(num_codes, code_shape, condition_shape, num_classes, width)
        self.places = nn.Parameter(torch.zeros(width, *self.code_shape[-2:]))
        conditional = condition_shape is not None
        self.layers = nn.ModuleList(Gated(width, kernel, dropout, i == 0, conditional) for i in range(layers))
        self.mix = nn.Conv2d(width, width, 1)

    def features(self, sequence: Tensor, c: Tensor | None) -> Tensor:
        """Features, (B, t, width), of each step of the first t codes, (B, t)."""
        steps, row = sequence.shape[1], self.columns * self.depth
        codes = self.embed(F.pad(sequence, (0, -steps % row))).unflatten(1, (-1, self.columns, self.depth))
        v = h = codes.sum(3).movedim(-1, 1)  # (B, width, rows, columns)
        embedded = None if self.condition is None else self.condition(c)
        for layer in self.layers:
            v, h = layer(v, h, embedded)
        place = self.mix(F.relu(h + self.places[:, : h.shape[2]])).movedim(1, -1)[:, :, :, None]
        earlier = F.pad(codes[:, :, :, :-1].cumsum(3), (0, 0, 1, 0))  # at the same place
        return F.relu(place + earlier).flatten(1, 3)[:, :steps]
