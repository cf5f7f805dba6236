"""Posteriors over codes: the point that a code stands for, and a categorical distribution with a relaxed sample."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.kl import register_kl
from torch.types import _size

from lit_ae.posteriors import Delta


class Quantized(Delta):
    """All mass on the point that codes stand for, beside what the encoder said before it was rounded.

    Args:
        value: The point, (*B, D, *S), which passes its gradient on to the encoder.
        continuous: The encoder's output, (*B, D, *S).
        codes: Numbers of the codes, (*B, *S), or (*B, depth, *S).
    """

    def __init__(self, value: Tensor, continuous: Tensor, codes: Tensor) -> None:
        super().__init__(value, event_ndim=3)
        self.continuous, self.codes = continuous, codes

    def expand(self, batch_shape: _size, _instance: None = None) -> Quantized:
        """The same point with a larger batch."""
        lead = len(self.batch_shape)
        parts = (self.value, self.continuous, self.codes)
        return Quantized(*(part.expand(*batch_shape, *part.shape[lead:]) for part in parts))


class Codes(Distribution):
    """Independent categorical distributions over K classes at each place, whose samples are one-hot or relaxed.

    Args:
        logits: Unnormalised log probabilities, (*B, K, h, w).
        temperature: Of relaxed samples (Jang et al. 2017, eq. 2); None for one-hot samples without a gradient.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 (torch's own convention)
    has_rsample = True

    def __init__(self, logits: Tensor, temperature: float | Tensor | None = None) -> None:
        self.logits, self.temperature = logits.log_softmax(-3), temperature
        super().__init__(logits.shape[:-3], logits.shape[-3:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Probabilities, (*B, K, h, w)."""
        return self.logits.exp()

    @property
    def codes(self) -> Tensor:
        """The most probable classes, (*B, h, w)."""
        return self.logits.argmax(-3)

    @property
    def mode(self) -> Tensor:
        """The most probable classes, one-hot."""
        return self.one_hot(self.codes)

    @property
    def variance(self) -> Tensor:
        """p (1 − p) of each class."""
        return self.mean * (1 - self.mean)

    def one_hot(self, codes: Tensor) -> Tensor:
        """Classes, (*B, h, w), as vectors, (*B, K, h, w)."""
        return F.one_hot(codes, self.logits.shape[-3]).movedim(-1, -3).to(self.logits)

    def rsample(self, sample_shape: _size = ()) -> Tensor:
        """Relaxed samples, (*sample_shape, *B, K, h, w), or one-hot ones where there is no temperature."""
        if self.temperature is None:
            return self.sample(sample_shape)
        return (self.noisy(sample_shape) / self.temperature).softmax(-3)

    @torch.no_grad()
    def sample(self, sample_shape: _size = ()) -> Tensor:
        """One-hot samples, (*sample_shape, *B, K, h, w) (the Gumbel-max trick)."""
        return self.one_hot(self.noisy(sample_shape).argmax(-3))

    def noisy(self, sample_shape: _size) -> Tensor:
        """Log probabilities plus Gumbel noise."""
        wait = torch.empty((*sample_shape, *self.logits.shape), dtype=self.logits.dtype, device=self.logits.device)
        return self.logits - wait.exponential_().log()

    def log_prob(self, value: Tensor) -> Tensor:
        """Log probability of one-hot values, (*B)."""
        return (self.logits * value).flatten(-3).sum(-1)

    def entropy(self) -> Tensor:
        """Nats, (*B)."""
        return -(self.logits * self.mean).flatten(-3).sum(-1)

    def expand(self, batch_shape: _size, _instance: None = None) -> Codes:
        """The same distribution with a larger batch."""
        return Codes(self.logits.expand(*batch_shape, *self.event_shape), self.temperature)


@register_kl(Codes, Codes)
def _kl_codes(q: Codes, p: Codes) -> Tensor:
    """Σ q (log q − log p), summed over places."""
    return (q.mean * (q.logits - p.logits)).flatten(-3).sum(-1)
