"""Likelihoods of values on a grid in [0, 1]: probability masses, which bits per dimension can be read from."""

from __future__ import annotations

import warnings
from abc import ABC
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Categorical as TorchCategorical

from lit_ae.batch import Shape
from lit_ae.errors import ConfigError
from lit_ae.functional import full_precision
from lit_ae.likelihoods.base import Elements, Likelihood, UnitIntervalHead
from lit_ae.likelihoods.continuous import Scale


class CategoricalElements(Elements):
    """Values k / (L − 1), each with a probability of its own.

    Args:
        logits: Unnormalised log probabilities of the L levels, (*B, L, *E).
        event_ndim: Number of dimensions of E.
    """

    def __init__(self, logits: Tensor, event_ndim: int) -> None:
        self.dim, self.logits = logits.ndim - event_ndim - 1, logits
        self.levels = logits.shape[self.dim]
        super().__init__((*logits.shape[: self.dim], *logits.shape[self.dim + 1 :]))

    def nats(self, x: Tensor) -> Tensor:
        """−log p of the level nearest to x."""
        level = (x * (self.levels - 1)).round().long().clamp(0, self.levels - 1)
        event = level.shape[self.dim :]
        logits = self.logits.reshape(-1, self.levels, *event)
        return F.cross_entropy(logits, level.reshape(-1, *event), reduction="none").reshape(level.shape)

    @property
    def mean(self) -> Tensor:
        """Σ p_k k / (L − 1)."""
        return self._moment(1)

    @property
    def variance(self) -> Tensor:
        """Σ p_k (k / (L − 1))² − mean²."""
        return (self._moment(2) - self._moment(1).square()).clamp(min=0)

    def draw(self, shape: torch.Size) -> Tensor:
        """Draw levels."""
        repeats = shape[: len(shape) - len(self.batch_shape)]
        level = TorchCategorical(logits=self.logits.movedim(self.dim, -1), validate_args=False).sample(repeats)
        return level.to(self.logits.dtype) / (self.levels - 1)

    def _moment(self, power: int) -> Tensor:
        grid = torch.linspace(0, 1, self.levels, dtype=self.logits.dtype, device=self.logits.device).pow(power)
        grid = grid.reshape(-1, *[1] * (self.logits.ndim - self.dim - 1))
        # no matrix product, which autocast would take in bf16; clamp, because rounded probabilities sum to 1 ± 1e-7
        return (self.logits.softmax(self.dim) * grid).sum(self.dim).clamp(0, 1)


class LogisticElements(Elements):
    """Values k / (L − 1) with the mass that a logistic density has within half a level, and beyond at both ends.

    With a = (x + h − μ)/s and b = (x − h − μ)/s, h half a level, the mass in between is
    σ(a) − σ(b) = σ(a) σ(−b) (1 − e^(b − a)), whose logarithm needs no difference of nearly equal numbers.

    Args:
        loc: Location μ of the density, (*B, *E).
        log_scale: log s, broadcast to (*B, *E).
        levels: L.
    """

    def __init__(self, loc: Tensor, log_scale: Tensor, levels: int) -> None:
        super().__init__(loc.shape)
        self.loc, self.log_scale, self.levels = loc, log_scale, levels

    def nats(self, x: Tensor) -> Tensor:
        """−log p of the level nearest to x."""
        steps, inverse = self.levels - 1, (-self.log_scale).exp()
        level = (x * steps).round()
        below, above = level > 0, level < steps
        upper = ((level + 0.5) / steps - self.loc) * inverse
        lower = ((level - 0.5) / steps - self.loc) * inverse
        log_width = -self.log_scale - log(steps)
        width = log_width.exp()
        narrow = width < 0.01
        series = log_width - width / 2 + width.square() / 24
        gap = torch.where(narrow, series, (-(-width.where(~narrow, 1.0)).expm1()).log())
        inner = gap.where(below & above, 0.0)
        return -(F.logsigmoid(upper).where(above, 0.0) + F.logsigmoid(-lower).where(below, 0.0) + inner)

    @property
    def mean(self) -> Tensor:
        """Σ p_k k / (L − 1), summed over all levels: slower than `nats`."""
        return self._moment(1)

    @property
    def variance(self) -> Tensor:
        """Σ p_k (k / (L − 1))² − mean², summed over all levels."""
        return (self._moment(2) - self._moment(1).square()).clamp(min=0)

    def draw(self, shape: torch.Size) -> Tensor:
        """Draw from the logistic density and round to the nearest level."""
        loc = self.loc.expand(shape)
        x = loc + self.log_scale.exp() * torch.rand_like(loc).logit(eps=1e-7)
        return (x.clamp(0, 1) * (self.levels - 1)).round() / (self.levels - 1)

    def _moment(self, power: int) -> Tensor:
        """E[k^p] = Σ_j ((j + 1)^p − j^p) P(k > j), in units of x."""
        steps, inverse = self.levels - 1, (-self.log_scale).exp()
        centre, total = self.loc * inverse, torch.zeros_like(self.loc)
        for level in range(steps):  # not one tensor, which would hold L copies of the batch
            tail = (centre - inverse * ((level + 0.5) / steps)).sigmoid()
            total = total.add(tail, alpha=((level + 1) ** power - level**power) / steps**power)
        return total.clamp(0, 1)


class LevelsHead(UnitIntervalHead, ABC):
    """A likelihood of levels in [0, 1].

    Args:
        shape: Shape of one sample, E.
        levels: Number of values that an element can take, evenly spaced over [0, 1]; x is rounded to the nearest.

    Raises:
        ConfigError: There are fewer than two levels.
    """

    def __init__(self, shape: Shape, levels: int) -> None:
        super().__init__(shape)
        if levels < 2:
            raise ConfigError(
                f"levels is {levels}: set --model.likelihood.levels to 2 or more, 256 for 8-bit pictures."
            )
        self.levels, self._warned = levels, False

    def check_values(self, x: Tensor) -> None:
        """Refuse samples outside [0, 1], and warn once of values between the levels."""
        super().check_values(x)
        steps = self.levels - 1
        if not self._warned and bool((x * steps - (x * steps).round()).abs().nan_to_num().max() > 0.01):
            self._warned = True
            warnings.warn(
                f"The data have values between the {self.levels} levels of {type(self).__name__}, which counts the "
                "nearest: set --model.likelihood.levels (256 for 8-bit pictures), or choose another likelihood.",
                stacklevel=2,
            )


class Categorical(LevelsHead):
    """A probability for each level of each pixel, as in PixelRNN (van den Oord et al. 2016, section 2.3).

    Args:
        shape: Shape of one sample, E.
        levels: Number of values that an element can take, evenly spaced over [0, 1]; x is rounded to the nearest.
    """

    def __init__(self, shape: Shape, levels: int = 256) -> None:
        super().__init__(shape, levels)

    def raw_shape(self) -> Shape:
        """(L · E₀, E₁, ...): level by level."""
        return (self.levels * self.shape[0], *self.shape[1:])

    def forward(self, raw: Tensor) -> Likelihood:
        """Build p(x|z) from logits."""
        ndim = len(self.shape)
        logits = full_precision(raw).unflatten(-ndim, (self.levels, self.shape[0]))
        return Likelihood(CategoricalElements(logits, ndim), ndim, self.levels)


class DiscretizedLogistic(LevelsHead):
    """A logistic density gathered into levels (Kingma et al. 2016; Salimans et al. 2017, eq. 2).

    Args:
        shape: Shape of one sample, E.
        levels: Number of values that an element can take, evenly spaced over [0, 1]; x is rounded to the nearest.
        init_scale: Scale s of the logistic to start from, in units of x.
        shared_scale: Learn one s for all elements, a parameter (Kingma et al.), instead of one per element, from the
            decoder (Salimans et al.).
        min_scale: Lower bound of s.
    """

    def __init__(
        self,
        shape: Shape,
        levels: int = 256,
        init_scale: float = 0.1,
        shared_scale: bool = False,
        min_scale: float = 1e-4,
    ) -> None:
        super().__init__(shape, levels)
        self.scale = Scale(init_scale, "scalar" if shared_scale else "pixel", min_scale, "init_scale")

    def raw_shape(self) -> Shape:
        """E, or (2 · E₀, E₁, ...) where the decoder yields s."""
        return self.scale.raw_shape(self.shape)

    def forward(self, raw: Tensor) -> Likelihood:
        """Build p(x|z)."""
        loc, log_scale = self.scale(raw, len(self.shape))
        return Likelihood(LogisticElements(loc, log_scale, self.levels), len(self.shape), self.levels)
