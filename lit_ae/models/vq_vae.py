"""The vector-quantised variational autoencoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lit_ae.batch import Batch, Shape
from lit_ae.functional import full_precision
from lit_ae.models.base import Coefficients
from lit_ae.models.coded import Coded
from lit_ae.models.grid import GridLatent
from lit_ae.models.output import Output
from lit_ae.nn.quantizers import EMAVectorQuantizer, Quantizer
from lit_ae.quantized import Quantized


class VQVAE(GridLatent, Coded):
    """Vector-quantised autoencoder: a grid of codes, each of which stands for a vector.

    Minimises the distortion, whose gradient passes straight through the quantizer, plus the quantizer's terms, summed
    over positions (eq. 3). In evaluation `usage` is the share of codes that occur in a batch, and `perplexity`
    exp(entropy) of their frequencies: the number of codes that it would take, were all used alike.

    Args:
        quantizer: Builds what turns vectors into codes from their number of features, which is latent_dim.

    Reference:
        van den Oord, Vinyals & Kavukcuoglu, "Neural Discrete Representation Learning", NeurIPS 2017. https://arxiv.org/abs/1711.00937
    """

    def __init__(self, *args: Any, quantizer: Callable[[int], Quantizer] = EMAVectorQuantizer, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.quantizer = quantizer(self.latent_shape[0])
        self.coefficients |= self.quantizer.coefficients

    def encode(self, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Quantized:
        """The vectors of the nearest codes, batch (B,), event (D, h, w)."""
        continuous = full_precision(self.raw(x, c))
        value, codes = self.quantizer(continuous)
        return Quantized(value, continuous, codes)

    def forward(self, batch: Batch, k: int | None = None) -> Output:
        """One pass, with the codes in `aux`: (B, h, w), or (B, depth, h, w)."""
        out = super().forward(batch, k)
        assert isinstance(out.q, Quantized)
        return replace(out, aux={**out.aux, "codes": out.q.codes})

    def loss(self, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """Distortion in nats, (B,), and what the quantizer adds."""
        assert isinstance(out.q, Quantized)
        terms = self.quantizer.terms(out.q.continuous, out.q.codes)
        return {"distortion": -out.p.log_prob(batch.x).mean(0), **terms}

    def update(self, batch: Batch, out: Output) -> None:
        """Let the quantizer learn what no gradient tells it."""
        assert isinstance(out.q, Quantized)
        self.quantizer.update(out.q.continuous, out.q.codes)

    def metrics(self, batch: Batch, out: Output) -> dict[str, Tensor]:
        """Usage and perplexity of the batch's codes, (), averaged over depths where there are several."""
        usage, perplexity = code_use(out.aux["codes"], self.quantizer.num_codes, self.quantizer.depth)
        return {"usage": usage, "perplexity": perplexity}

    @property
    def num_codes(self) -> int:
        """Number of values that one code takes."""
        return self.quantizer.num_codes

    @property
    def code_shape(self) -> Shape:
        """(h, w), or (depth, h, w): what the quantizer makes of a grid."""
        return tuple(self.quantizer.encode(torch.zeros(1, *self.latent_shape, device=self.device)).shape[1:])

    def lookup(self, codes: Tensor) -> Tensor:
        """The vectors, (B, D, h, w), that codes stand for."""
        return self.quantizer.lookup(codes)


def code_use(codes: Tensor, num_codes: int, depth: int = 1) -> tuple[Tensor, Tensor]:
    """Share of codes that occur, and exp(entropy) of their frequencies, (), averaged over depths.

    Args:
        codes: Numbers of codes, (B, *S), or (B, depth, *S) where depth is above 1.
        num_codes: How many there are.
        depth: Number of codes per vector.
    """
    rows = codes.movedim(1, 0).flatten(1) if depth > 1 else codes.reshape(1, -1)
    counts = torch.stack([row.bincount(minlength=num_codes) for row in rows])
    share = counts / counts.sum(1, keepdim=True)
    entropy = -torch.special.xlogy(share, share).sum(1)
    return counts.gt(0).to(share.dtype).mean(), entropy.exp().mean()
