"""Likelihoods of real values, with a location from the network and a scale that is fixed or learned."""

from __future__ import annotations

from math import log, pi
from typing import Literal

import torch
from torch import Tensor, nn

from lit_ae.batch import Shape
from lit_ae.errors import ConfigError
from lit_ae.functional import full_precision
from lit_ae.likelihoods.base import Elements, Likelihood, LikelihoodHead

Learned = Literal["fixed", "scalar", "pixel"]


class Scale(nn.Module):
    """The scale of a likelihood: a constant, one parameter for all elements, or one value per element.

    A learned scale is s = min + (scale − min) · exp(r), which is `scale` at r = 0, never falls below `min`, and has a
    gradient everywhere: the soft clip of Rybkin et al. 2021.

    Args:
        scale: Fixed value, or value to start from.
        learned: "fixed", "scalar" (r is a parameter) or "pixel" (r comes from the network).
        minimum: Lower bound of a learned scale.
        key: What the user calls `scale`, for messages.

    Raises:
        ConfigError: `scale` is not positive, or not above the bound.
    """

    def __init__(self, scale: float, learned: Learned, minimum: float, key: str) -> None:
        super().__init__()
        if not scale > 0:
            raise ConfigError(f"{key} is {scale}: set --model.likelihood.{key} to a number above 0.")
        if learned not in ("fixed", "scalar", "pixel"):
            raise ConfigError(f"learned is {learned!r}: set --model.likelihood.learned to fixed, scalar or pixel.")
        if learned != "fixed" and not 0 < minimum < scale:
            raise ConfigError(
                f"min_{key} is {minimum}: set --model.likelihood.min_{key} between 0 and {key}, which is {scale}."
            )
        self.scale, self.learned, self.minimum = scale, learned, minimum
        if learned == "scalar":
            self.raw = nn.Parameter(torch.zeros(1))  # FSDP shards no scalars

    def raw_shape(self, shape: Shape) -> Shape:
        """What the decoder must yield for E: locations, then r of each element where the network says it."""
        return (2 * shape[0], *shape[1:]) if self.learned == "pixel" else shape

    def forward(self, raw: Tensor, event_ndim: int) -> tuple[Tensor, Tensor]:
        """Split raw, (*B, *raw_shape), into locations, (*B, *E), and log s, (), (1,) or (*B, *E)."""
        raw = full_precision(raw)
        if self.learned == "fixed":
            return raw, raw.new_full((), log(self.scale))
        loc, r = raw.chunk(2, -event_ndim) if self.learned == "pixel" else (raw, self.raw.to(raw.dtype))
        return loc, torch.logaddexp(r + log(self.scale - self.minimum), r.new_full((), log(self.minimum)))


class GaussianElements(Elements):
    """Real values around a mean.

    Args:
        loc: Mean, (*B, *E).
        log_scale: log σ, broadcast to (*B, *E).
    """

    def __init__(self, loc: Tensor, log_scale: Tensor) -> None:
        super().__init__(loc.shape)
        self.loc, self.log_scale = loc, log_scale

    def nats(self, x: Tensor) -> Tensor:
        """(x − μ)² / 2σ² + log σ + ½ log 2π."""
        error = (x - self.loc) * (-self.log_scale).exp()
        return torch.addcmul(self.log_scale + 0.5 * log(2 * pi), error, error, value=0.5)

    @property
    def mean(self) -> Tensor:
        """μ."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """σ²."""
        return (2 * self.log_scale).exp().expand_as(self.loc)

    def draw(self, shape: torch.Size) -> Tensor:
        """Draw real values."""
        loc = self.loc.expand(shape)
        return loc + self.log_scale.exp() * torch.randn_like(loc)


class LaplaceElements(Elements):
    """Real values around a median.

    Args:
        loc: Median and mean, (*B, *E).
        log_scale: log b, broadcast to (*B, *E).
    """

    def __init__(self, loc: Tensor, log_scale: Tensor) -> None:
        super().__init__(loc.shape)
        self.loc, self.log_scale = loc, log_scale

    def nats(self, x: Tensor) -> Tensor:
        """|x − μ| / b + log 2b."""
        return (x - self.loc).abs() * (-self.log_scale).exp() + (self.log_scale + log(2))

    @property
    def mean(self) -> Tensor:
        """μ."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """2b²."""
        return 2 * (2 * self.log_scale).exp().expand_as(self.loc)

    def draw(self, shape: torch.Size) -> Tensor:
        """Draw real values."""
        loc = self.loc.expand(shape)
        one, other = torch.empty_like(loc).exponential_(), torch.empty_like(loc).exponential_()
        return loc + self.log_scale.exp() * (one - other)


class Gaussian(LikelihoodHead):
    """Real values around a mean; the default σ² = ½ makes the distortion ‖x − x̂‖² + (D/2) log π nats.

    A learned σ balances distortion and rate by itself (σ-VAE, Rybkin et al., ICML 2021).

    Args:
        shape: Shape of one sample, E.
        sigma: Standard deviation σ, in units of x; where learned, its value to start from.
        learned: "fixed", "scalar" (one σ, a parameter) or "pixel" (one per element, from the decoder).
        min_sigma: Lower bound of a learned σ.
    """

    def __init__(
        self, shape: Shape, sigma: float = 0.5**0.5, learned: Learned = "fixed", min_sigma: float = 1e-3
    ) -> None:
        super().__init__(shape)
        self.scale = Scale(sigma, learned, min_sigma, "sigma")

    def raw_shape(self) -> Shape:
        """E, or (2 · E₀, E₁, ...) where the decoder yields σ."""
        return self.scale.raw_shape(self.shape)

    def forward(self, raw: Tensor) -> Likelihood:
        """Build p(x|z)."""
        return Likelihood(GaussianElements(*self.scale(raw, len(self.shape))), len(self.shape))


class Laplace(LikelihoodHead):
    """Real values around a median; the default b = 1 makes the distortion ‖x − x̂‖₁ + D log 2 nats.

    Args:
        shape: Shape of one sample, E.
        scale: Mean absolute deviation b, in units of x; where learned, its value to start from.
        learned: "fixed", "scalar" (one b, a parameter) or "pixel" (one per element, from the decoder).
        min_scale: Lower bound of a learned b.
    """

    def __init__(self, shape: Shape, scale: float = 1.0, learned: Learned = "fixed", min_scale: float = 1e-4) -> None:
        super().__init__(shape)
        self.scale = Scale(scale, learned, min_scale, "scale")

    def raw_shape(self) -> Shape:
        """E, or (2 · E₀, E₁, ...) where the decoder yields b."""
        return self.scale.raw_shape(self.shape)

    def forward(self, raw: Tensor) -> Likelihood:
        """Build p(x|z)."""
        return Likelihood(LaplaceElements(*self.scale(raw, len(self.shape))), len(self.shape))
