"""Priors over latents, given to a generative model by class."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lit_ae.batch import Shape
from lit_ae.posteriors import DiagonalGaussian


class Prior(nn.Module, ABC):
    """p(z) over latents of a given shape, or p(z|c) under a condition.

    Args:
        shape: Shape of one latent, D.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    @abstractmethod
    def forward(self, c: Tensor | None = None) -> Distribution:
        """Build the prior: batch () or (B,), event D."""


class StandardNormal(Prior):
    """N(0, I) (Kingma & Welling 2014, section 3)."""

    zero: Tensor
    one: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.register_buffer("zero", torch.zeros(shape), persistent=False)
        self.register_buffer("one", torch.ones(shape), persistent=False)

    def forward(self, c: Tensor | None = None) -> DiagonalGaussian:
        """Build the prior, batch ()."""
        return DiagonalGaussian(self.zero, self.one, len(self.shape))
