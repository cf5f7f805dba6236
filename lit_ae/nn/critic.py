"""What a critic says of samples or codes."""

from __future__ import annotations

from torch import Tensor

from lit_ae.functional import full_precision
from lit_ae.nn.base import Encoder, fold


def logit(critic: Encoder, x: Tensor) -> Tensor:
    """A critic's one output for x, (B, *D), as a logit in float32 or better, (B,)."""
    return full_precision(fold(critic, x, event_ndim=x.ndim - 1).squeeze(1))
