"""A capability as a type: latents that are codes, to which a density can be fitted afterwards."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from lit_ae.batch import Shape
from lit_ae.models.base import Autoencoder
from lit_ae.quantized import Codes, Quantized


class Coded(Autoencoder, ABC):
    """An autoencoder whose latents are a grid of codes, each a number below `num_codes`."""

    @property
    @abstractmethod
    def num_codes(self) -> int:
        """Number of values that one code takes."""

    @property
    @abstractmethod
    def code_shape(self) -> Shape:
        """Shape of the codes of one sample: (h, w), or (depth, h, w) where a place has several."""

    @abstractmethod
    def encode(self, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Quantized | Codes:
        """q(z|x), which knows its codes."""

    @abstractmethod
    def lookup(self, codes: Tensor) -> Tensor:
        """Latents, (B, D, h, w), that codes stand for."""

    @torch.no_grad()
    def codes(self, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Codes of samples, int64, (B, *code_shape): the most probable ones where the posterior is not a point."""
        return self.encode(x, c, mask).codes

    @torch.no_grad()
    def decode_codes(self, codes: Tensor, c: Tensor | None = None) -> Tensor:
        """E[x|z] of codes, (B, *code_shape): samples (B, *E)."""
        return self.decode(self.lookup(codes), c).mean
