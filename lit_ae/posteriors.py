"""What `encode` returns: distributions over latents, and the heads that build them from a network's output."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, constraints

from lit_ae.batch import Shape

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

    def rsample(self, sample_shape: torch.Size | Shape = ()) -> Tensor:
        """Repeat the point, (*sample_shape, *B, *D)."""
        return self.value.expand(*sample_shape, *self.value.shape)


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
        """Build the posterior, batch (B,) and event D, from raw, (B, *raw_shape), in float32."""


class DeltaHead(PosteriorHead):
    """The encoder's output is the latent."""

    def raw_shape(self) -> Shape:
        """D."""
        return self.shape

    def forward(self, raw: Tensor) -> Delta:
        """Build the posterior."""
        return Delta(raw.float(), len(self.shape))


class DiagonalGaussianHead(PosteriorHead):
    """The encoder yields mean and log variance (Kingma & Welling 2014, appendix C.2).

    Args:
        shape: Shape of one latent, D.
        max_log_variance: Bound on |log σ²|, which keeps exp finite in float32.
    """

    def __init__(self, shape: Shape, max_log_variance: float = 30.0) -> None:
        super().__init__(shape)
        self.max_log_variance = max_log_variance

    def raw_shape(self) -> Shape:
        """(2 · D₀, D₁, ...): means, then log variances."""
        return (2 * self.shape[0], *self.shape[1:])

    def forward(self, raw: Tensor) -> DiagonalGaussian:
        """Build the posterior."""
        loc, log_variance = raw.float().chunk(2, dim=-len(self.shape))
        scale = log_variance.clamp(-self.max_log_variance, self.max_log_variance).mul(0.5).exp()
        return DiagonalGaussian(loc, scale, len(self.shape))
