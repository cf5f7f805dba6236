"""What `decode` returns: distributions over data, and the heads that build them from a network's output."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Distribution

from lit_ae.batch import Shape
from lit_ae.errors import ConfigError


class Likelihood(Distribution):
    """p(x|z), independent over the elements of x given z.

    Args:
        base: Distribution of single elements, batch (*B, *E).
        event_ndim: Number of trailing dimensions that make one sample.
        levels: Number of values an element can take where `base` is a probability mass, None for a density.
        mask: True where an element counts, broadcast to (*B, *E); None for all.
    """

    arg_constraints = {}  # noqa: RUF012 (torch's own convention)

    def __init__(
        self, base: Distribution, event_ndim: int, levels: int | None = None, mask: Tensor | None = None
    ) -> None:
        self.base, self.levels, self.mask = base, levels, mask
        split = len(base.batch_shape) - event_ndim
        super().__init__(base.batch_shape[:split], base.batch_shape[split:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """E[x|z], (*B, *E)."""
        return self.base.mean

    @property
    def variance(self) -> Tensor:
        """Var[x|z] of each element, (*B, *E)."""
        return self.base.variance

    def elements(self, x: Tensor) -> Tensor:
        """−log p(x|z) of each element in nats, (*B, *E); 0 where masked."""
        nats = -self.base.log_prob(x.expand(*self.batch_shape, *self.event_shape))
        return nats if self.mask is None else nats.where(self.mask, 0.0)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x|z) in nats, (*B): x, (B, *E), broadcasts against (K, B, *E)."""
        nats = self.elements(x)
        return -(nats.flatten(len(self.batch_shape)).sum(-1))

    def squared_error(self, x: Tensor) -> Tensor:
        """‖x − E[x|z]‖² over observed elements, (*B), in squared units of x."""
        error = (x - self.mean).square()
        error = error if self.mask is None else error.where(self.mask, 0.0)
        return error.flatten(len(self.batch_shape)).sum(-1)

    def sample(self, sample_shape: torch.Size | Shape = ()) -> Tensor:
        """Draw x, (*sample_shape, *B, *E)."""
        return self.base.sample(torch.Size(sample_shape))

    def masked(self, mask: Tensor | None) -> Likelihood:
        """Count only elements where mask, broadcast to (*B, *E), is True: padding and missing cells."""
        return self if mask is None else Likelihood(self.base, len(self.event_shape), self.levels, mask)


class LikelihoodHead(nn.Module, ABC):
    """Builds p(x|z) for data of a given shape from what the decoder yields.

    Args:
        shape: Shape of one sample, E.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    @abstractmethod
    def raw_shape(self) -> Shape:
        """Shape of the raw parameters that the decoder must yield per sample; only the first dimension may differ from E."""

    @abstractmethod
    def forward(self, raw: Tensor) -> Likelihood:
        """Build p(x|z), batch (*B), event E, from raw, (*B, *raw_shape), in float32."""

    def check_range(self, low: float, high: float) -> None:
        """Refuse data outside the support of this likelihood.

        Raises:
            ConfigError: A value in [low, high] has probability zero under every parameter.
        """


    def check_values(self, x: Tensor) -> None:
        """Warn."""


class UnitIntervalHead(LikelihoodHead, ABC):
    """A likelihood of values in [0, 1]."""

    def check_range(self, low: float, high: float) -> None:
        """Refuse data outside [0, 1]."""
        if low < 0 or high > 1:
            name = type(self).__name__
            raise ConfigError(
                f"{name} is a likelihood of values in [0, 1], but the data range from {low:.3g} to {high:.3g}: "
                "choose --model.likelihood Gaussian, or scale the data."
            )


class Bernoulli(UnitIntervalHead):
    """Binary pixels; on grey values the cross-entropy is not a log likelihood (Loaiza-Ganem & Cunningham 2019)."""

    def raw_shape(self) -> Shape:
        """E: one logit per element."""
        return self.shape

    def forward(self, raw: Tensor) -> Likelihood:
        """Build p(x|z) from logits."""
        return Likelihood(TorchBernoulli(logits=raw.float(), validate_args=False), len(self.shape), levels=2)


class Gaussian(LikelihoodHead):
    def __init__(self, shape: Shape, sigma: float = 0.5**0.5) -> None:
        super().__init__(shape)
        self.sigma = sigma

    def raw_shape(self) -> Shape:
        return self.shape

    def forward(self, raw: Tensor) -> Likelihood:
        return Likelihood(torch.distributions.Normal(raw.float(), torch.tensor(self.sigma), validate_args=False), len(self.shape))
