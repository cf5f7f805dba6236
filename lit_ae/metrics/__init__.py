"""What a trained model is measured by."""

from __future__ import annotations

from lit_ae.metrics.marginal import NLL, nll

__all__ = ["NLL", "nll"]
