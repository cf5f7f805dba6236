"""What `encode` returns: distributions over latents, and the heads that build them from a network's output."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, constraints
from torch.types import _size

from lit_ae.batch import Shape
from lit_ae.errors import ConfigError
from lit_ae.functional import full_precision

Posterior = Distribution  # with `mode`, reparameterised samples and explicit event dimensions


class Delta(Distribution):
    """All mass on one point: the posterior of a deterministic autoencoder. It has no density, hence no rate.

    Args:
        value: The point, (*B, *D).
        event_ndim: Number of trailing dimensions that make one event.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 (torch's own convention)
    has_rsample = True

    def __init__(self, value: Tensor, event_ndim: int = 1) -> None:
        self.value = value
        split = value.ndim - event_ndim
        super().__init__(value.shape[:split], value.shape[split:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The point itself."""
        return self.value

    @property
    def mode(self) -> Tensor:
        """The point itself."""
        return self.value

    @property
    def variance(self) -> Tensor:
        """Zero."""
        return torch.zeros_like(self.value)

    def rsample(self, sample_shape: _size = ()) -> Tensor:
        """Repeat the point, (*sample_shape, *B, *D)."""
        return self.value.expand(*sample_shape, *self.value.shape)

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Repeat the point without a gradient, (*sample_shape, *B, *D)."""
        return self.rsample(sample_shape).detach()

    def expand(self, batch_shape: _size, _instance: None = None) -> Delta:
        """The same point with a larger batch."""
        return Delta(self.value.expand(*batch_shape, *self.event_shape), len(self.event_shape))


class DiagonalGaussian(Independent):
    """A Gaussian with a diagonal covariance (Kingma & Welling 2014, eq. 9).

    Args:
        loc: Mean, (*B, *D).
        scale: Standard deviation, (*B, *D).
        event_ndim: Number of trailing dimensions that make one event.
    """

    def __init__(self, loc: Tensor, scale: Tensor, event_ndim: int = 1) -> None:
        super().__init__(Normal(loc, scale, validate_args=False), event_ndim, validate_args=False)

    @property
    def loc(self) -> Tensor:
        """Mean, (*B, *D)."""
        return self.base_dist.loc

    @property
    def scale(self) -> Tensor:
        """Standard deviation, (*B, *D)."""
        return self.base_dist.scale

    @property
    def stddev(self) -> Tensor:
        """Standard deviation, (*B, *D)."""
        return self.base_dist.scale

    def expand(self, batch_shape: _size, _instance: None = None) -> DiagonalGaussian:
        """The same Gaussian with a larger batch."""
        shape = (*batch_shape, *self.event_shape)
        return DiagonalGaussian(self.loc.expand(shape), self.scale.expand(shape), len(self.event_shape))


class PosteriorHead(nn.Module, ABC):
    """Builds a posterior over latents of a given shape from what the encoder yields.

    Args:
        shape: Shape of one latent, D.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    @abstractmethod
    def raw_shape(self) -> Shape:
        """Shape of the raw parameters that the encoder must yield per sample."""

    @abstractmethod
    def forward(self, raw: Tensor) -> Posterior:
        """Build the posterior, batch (B,) and event D, from raw, (B, *raw_shape), in float32 or better."""


class DeltaHead(PosteriorHead):
    """The encoder's output is the latent."""

    def raw_shape(self) -> Shape:
        """D."""
        return self.shape

    def forward(self, raw: Tensor) -> Delta:
        """Build the posterior."""
        return Delta(full_precision(raw), len(self.shape))


class DiagonalGaussianHead(PosteriorHead):
    """The encoder yields mean and log variance (Kingma & Welling 2014, appendix C.2).

    Args:
        shape: Shape of one latent, D.
        max_log_variance: Bound on |log σ²|, at most 60, which keeps exp finite in float32.
    """

    def __init__(self, shape: Shape, max_log_variance: float = 30.0) -> None:
        super().__init__(shape)
        if not 0 < max_log_variance <= 60:
            raise ConfigError(
                f"max_log_variance is {max_log_variance}: set --model.posterior.max_log_variance above 0 and up to 60."
            )
        self.max_log_variance = max_log_variance

    def raw_shape(self) -> Shape:
        """(2 · D₀, D₁, ...): means, then log variances."""
        return (2 * self.shape[0], *self.shape[1:])

    def forward(self, raw: Tensor) -> DiagonalGaussian:
        """Build the posterior."""
        loc, log_variance = full_precision(raw).chunk(2, dim=-len(self.shape))
        # hardtanh is clamp with one kernel in its backward pass instead of five
        log_variance = F.hardtanh(log_variance, -self.max_log_variance, self.max_log_variance)
        scale = log_variance.mul(0.5).exp()
        return DiagonalGaussian(loc, scale, len(self.shape))
