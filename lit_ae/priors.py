"""Priors over latents, given to a generative model by class."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal
from torch.distributions.kl import register_kl

from lit_ae.batch import Shape
from lit_ae.errors import ConfigError


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


class UnitNormal(Normal):
    """Elements of N(0, 1): a type of its own, because its KL takes half of the operations that a general one takes."""


@register_kl(Normal, UnitNormal)
def _kl_normal_unit_normal(q: Normal, p: UnitNormal) -> Tensor:
    """½ (μ² + σ² − 1) − log σ of each element (Kingma & Welling 2014, appendix B)."""
    return 0.5 * (q.loc.square() + q.scale.square() - 1) - q.scale.log()


class StandardNormal(Prior):
    """N(0, I) (Kingma & Welling 2014, section 3)."""

    zero: Tensor
    one: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.register_buffer("zero", torch.zeros(shape), persistent=False)
        self.register_buffer("one", torch.ones(shape), persistent=False)

    def forward(self, c: Tensor | None = None) -> Independent:
        """Build the prior, batch ()."""
        unit = UnitNormal(self.zero, self.one, validate_args=False)
        return Independent(unit, len(self.shape), validate_args=False)


def cooled(prior: Distribution, temperature: float) -> Distribution:
    """A Gaussian with its standard deviation times a temperature, 0 or more: 0 leaves its mean.

    Raises:
        ConfigError: The temperature is negative, or the prior has no standard deviation to multiply.
    """
    if not temperature >= 0:
        raise ConfigError(f"temperature is {temperature:g}: give 0 or more.")
    if temperature == 1:
        return prior
    normal = prior.base_dist if isinstance(prior, Independent) else None
    if not isinstance(normal, Normal):
        raise ConfigError(f"temperature is {temperature:g}, but the prior is no Gaussian to cool: leave it at 1.")
    scaled = Normal(normal.loc, temperature * normal.scale, validate_args=False)
    return Independent(scaled, len(prior.event_shape), validate_args=False)
