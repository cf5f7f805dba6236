"""The β-VAE: the free energy C + β · KL, with a weight on the rate or a capacity that it must meet."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lit_ae import functional
from lit_ae.batch import Batch
from lit_ae.errors import ConfigError
from lit_ae.models.base import Coefficients
from lit_ae.models.latent import VectorVariational
from lit_ae.models.output import Output
from lit_ae.posteriors import Delta


class BetaVAE(VectorVariational):
    """β-VAE: distortion + β · rate, or distortion + γ · |rate − C| where a capacity is given.

    The first is a free energy with β as its temperature. At β = 0 nothing keeps the posteriors apart from points, and
    with `DeltaHead` as the posterior they are points: a `Delta` has no rate, the free energy is the distortion alone,
    and the model is the plain autoencoder, whatever β.

    Args:
        beta: Weight of the rate, β (Higgins et al., eq. 4).
        capacity: Rate to be met, C in nats (Burgess et al., eq. 8); None for the β form. A schedule on `capacity`
            raises it while training, as the paper does.
        gamma: Weight of |rate − C|, γ.

    Reference:
        Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework", ICLR 2017.
        Burgess et al., "Understanding disentangling in beta-VAE", 2018. https://arxiv.org/abs/1804.03599
    """

    def __init__(
        self, *args: Any, beta: float = 4.0, capacity: float | None = None, gamma: float = 1000.0, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if beta < 0 or gamma < 0 or (capacity or 0) < 0:
            raise ConfigError(f"beta, gamma and capacity must not be negative: got {beta}, {gamma} and {capacity}.")
        self.coefficients["rate"] = beta
        if capacity is not None:
            self.coefficients |= {"rate": 0.0, "capacity": capacity, "capacity_gap": gamma}

    def metrics(self, batch: Batch, out: Output) -> dict[str, Tensor]:
        """The rate, where the posterior has one."""
        return {} if isinstance(out.q, Delta) else super().metrics(batch, out)

    def loss(self, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """Distortion, rate and, in the capacity form, |rate − C|, in nats, (B,)."""
        if isinstance(out.q, Delta):
            return {"distortion": -out.p.log_prob(batch.x).mean(0)}
        terms = super().loss(batch, out, coef)
        if "capacity" not in coef:
            return terms
        return {**terms, "capacity_gap": functional.capacity_gap(terms["rate"], coef["capacity"])}
