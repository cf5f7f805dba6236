"""Likelihoods with one logit per element: binary values, and their continuous counterpart on [0, 1]."""

from __future__ import annotations

import warnings
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_ae.batch import Shape
from lit_ae.functional import full_precision
from lit_ae.likelihoods.base import Elements, Likelihood, UnitIntervalHead


def cross_entropy(logits: Tensor, x: Tensor) -> Tensor:
    """−x log σ(l) − (1 − x) log σ(−l) of each element, (*B, *E)."""
    if (torch.is_grad_enabled() and logits.requires_grad) or x.dtype != logits.dtype:
        return F.binary_cross_entropy_with_logits(logits, x, reduction="none")  # has the shorter way back
    return F.softplus(logits).addcmul_(logits, x, value=-1)  # half the passes over memory


class BernoulliElements(Elements):
    """Values in {0, 1}.

    Args:
        logits: log p / (1 − p), (*B, *E).
    """

    def __init__(self, logits: Tensor) -> None:
        super().__init__(logits.shape)
        self.logits = logits

    def nats(self, x: Tensor) -> Tensor:
        """Cross-entropy of each element, from logits."""
        return cross_entropy(self.logits, x)

    @property
    def mean(self) -> Tensor:
        """p = σ(logit)."""
        return self.logits.sigmoid()

    @property
    def variance(self) -> Tensor:
        """p (1 − p)."""
        return self.logits.sigmoid() * (-self.logits).sigmoid()

    def draw(self, shape: torch.Size) -> Tensor:
        """Draw zeros and ones."""
        return self.mean.expand(shape).bernoulli()


class ContinuousBernoulliElements(Elements):
    """Values in [0, 1] with density C(l) · λ^x · (1 − λ)^(1 − x), λ = σ(l).

    log C(l) = log(l / tanh(l/2)) is even in l, and E[x] = ½ + ½ coth(l/2) − 1/l. Near l = 0 both are 0/0: there a
    Taylor series takes over, and the other branch sees a harmless l, so that no gradient is nan.

    Args:
        logits: l, (*B, *E).
    """

    def __init__(self, logits: Tensor) -> None:
        super().__init__(logits.shape)
        self.logits = logits
        self._near = logits.abs() < 0.3  # both branches are good to 1e-8 here
        self._small = logits.where(self._near, 0.0)
        self._large = logits.where(~self._near, 1.0)

    def nats(self, x: Tensor) -> Tensor:
        """Cross-entropy minus the log normaliser, which cross-entropy alone leaves out."""
        large, square = self._large.abs(), self._small.square()
        series = log(2) + square * (1 / 12 - square * (7 / 1440 - square * (31 / 90720)))
        log_normaliser = torch.where(self._near, series, large.log() - (large / 2).tanh().log())
        return cross_entropy(self.logits, x) - log_normaliser

    @property
    def mean(self) -> Tensor:
        """½ + ½ coth(l/2) − 1/l, in (0, 1): not σ(l)."""
        small, square = self._small, self._small.square()
        series = small * (1 / 12 - square * (1 / 720 - square * (1 / 30240)))
        return 0.5 + torch.where(self._near, series, 0.5 / (self._large / 2).tanh() - 1 / self._large)

    @property
    def variance(self) -> Tensor:
        """1/l² − 1/(4 sinh²(l/2))."""
        square = self._small.square()
        series = 1 / 12 - square * (1 / 240 - square * (1 / 6048))
        decay = (-self._large.abs()).exp()  # 4 sinh²(l/2) = (1 − e^−|l|)² e^|l| would overflow
        return torch.where(self._near, series, self._large.square().reciprocal() - decay / (1 - decay).square())

    def draw(self, shape: torch.Size) -> Tensor:
        """Draw by inverting the cumulative distribution, log(1 + u (e^l − 1)) / l, on the side where it is stable."""
        u = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
        falling = -self._large.abs()
        x = torch.where(self._near, u + self._small * u * (1 - u) / 2, (u * falling.expm1()).log1p() / falling)
        return x.where(self._near | (self.logits < 0), 1 - x).clamp(0, 1)


class Bernoulli(UnitIntervalHead):
    """Binary pixels; on grey values the cross-entropy is not a log likelihood (Loaiza-Ganem & Cunningham 2019).

    Args:
        shape: Shape of one sample, E.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self._warned = False

    def raw_shape(self) -> Shape:
        """E: one logit per element."""
        return self.shape

    def forward(self, raw: Tensor) -> Likelihood:
        """Build p(x|z) from logits."""
        return Likelihood(BernoulliElements(full_precision(raw)), len(self.shape), levels=2)

    def check_values(self, x: Tensor) -> None:
        """Refuse samples outside [0, 1], and warn once of grey ones."""
        super().check_values(x)
        if not self._warned and bool(((x > 0) & (x < 1)).any()):
            self._warned = True
            warnings.warn(
                "The data have grey values, on which Bernoulli's cross-entropy is not a log likelihood: choose "
                "--model.likelihood ContinuousBernoulli, or binarise with --data.transforms+=DynamicBinarize.",
                stacklevel=2,
            )


class ContinuousBernoulli(UnitIntervalHead):
    """A density on [0, 1] that makes cross-entropy a log likelihood (Loaiza-Ganem & Cunningham, NeurIPS 2019).

    Args:
        shape: Shape of one sample, E.
    """

    def raw_shape(self) -> Shape:
        """E: one logit per element."""
        return self.shape

    def forward(self, raw: Tensor) -> Likelihood:
        """Build p(x|z) from logits."""
        return Likelihood(ContinuousBernoulliElements(full_precision(raw)), len(self.shape))
