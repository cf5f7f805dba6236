"""p(x|z) as a distribution over whole samples, and the abstract heads that build it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.types import _size

from lit_ae.batch import DataSpec, Shape
from lit_ae.errors import ConfigError
from lit_ae.functional import full_precision


class Elements(Distribution, ABC):
    """A distribution of single elements, batch (*B, *E), that says nats instead of log probabilities.

    Args:
        shape: Shape of all elements, (*B, *E).
    """

    arg_constraints = {}  # noqa: RUF012 (torch's own convention)

    def __init__(self, shape: Shape) -> None:
        super().__init__(torch.Size(shape), validate_args=False)

    @abstractmethod
    def nats(self, x: Tensor) -> Tensor:
        """−log p(x) of each element, (*B, *E)."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """E[x], (*B, *E)."""

    @property
    @abstractmethod
    def variance(self) -> Tensor:
        """Var[x], (*B, *E)."""

    @abstractmethod
    def draw(self, shape: torch.Size) -> Tensor:
        """Draw x, shape (*S, *B, *E)."""

    @torch.no_grad()
    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draw x, (*sample_shape, *B, *E), without a gradient."""
        return self.draw(self._extended_shape(sample_shape))

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) of each element, (*B, *E)."""
        return -self.nats(x)


class Likelihood(Distribution):
    """p(x|z), independent over the elements of x given z.

    Args:
        base: Distribution of single elements, batch (*B, *E): `Elements`, or any scalar one of `torch.distributions`.
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
        x = self._observed(x).expand(*self.batch_shape, *self.event_shape)
        nats = self.base.nats(x) if isinstance(self.base, Elements) else -self.base.log_prob(x)
        return nats if self.mask is None else nats.where(self.mask, 0.0)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x|z) in nats, (*B): x, (B, *E), broadcasts against (K, B, *E)."""
        return -self.elements(x).flatten(len(self.batch_shape)).sum(-1)

    def squared_error(self, x: Tensor) -> Tensor:
        """‖x − E[x|z]‖² over observed elements, (*B), in squared units of x."""
        error = (self._observed(x) - self.mean).square()
        error = error if self.mask is None else error.where(self.mask, 0.0)
        return error.flatten(len(self.batch_shape)).sum(-1)

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draw x, (*sample_shape, *B, *E)."""
        return self.base.sample(sample_shape)

    def masked(self, mask: Tensor | None) -> Likelihood:
        """Count only elements where mask, broadcast to (*B, *E), is True: padding and missing cells."""
        if mask is None:
            return self
        mask = mask if self.mask is None else mask & self.mask
        return Likelihood(self.base, len(self.event_shape), self.levels, mask)

    def _observed(self, x: Tensor) -> Tensor:
        x = full_precision(x)
        # a missing cell may hold nan, whose gradient 0 · nan a mask on the result alone would let through
        return x if self.mask is None else x.where(self.mask, 0.0)


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
        """Shape of what the decoder must yield per sample; only the first dimension may differ from E."""

    @abstractmethod
    def forward(self, raw: Tensor) -> Likelihood:
        """Build p(x|z), batch (*B), event E, from raw, (*B, *raw_shape), in float32 or better."""

    def suit(self, spec: DataSpec) -> None:
        """Learn what the data are, before the decoder is built.

        Raises:
            ConfigError: A value of theirs has probability zero under every parameter.
        """
        if spec.value_range is not None:
            self.check_range(*spec.value_range)

    def check_range(self, low: float, high: float) -> None:
        """Refuse data outside the support of this likelihood.

        Raises:
            ConfigError: A value in [low, high] has probability zero under every parameter.
        """

    def check_values(self, x: Tensor) -> None:
        """Refuse or warn of samples that do not suit this likelihood: called on the first batch of every loop.

        Raises:
            ConfigError: A value has probability zero under every parameter.
        """


class UnitIntervalHead(LikelihoodHead, ABC):
    """A likelihood of values in [0, 1]."""

    tolerance = 1e-5  # resizing and standardised arithmetic overshoot by rounding

    def check_range(self, low: float, high: float) -> None:
        """Refuse data outside [0, 1]."""
        if low < -self.tolerance or high > 1 + self.tolerance:
            name = type(self).__name__
            raise ConfigError(
                f"{name} is a likelihood of values in [0, 1], but the data range from {low:.3g} to {high:.3g}: "
                "choose --model.likelihood Gaussian, or scale the data."
            )

    def check_values(self, x: Tensor) -> None:
        """Refuse samples outside [0, 1]; missing cells (nan) pass."""
        low, high = torch.stack(x.nan_to_num(nan=0.5).aminmax()).tolist()
        self.check_range(low, high)
