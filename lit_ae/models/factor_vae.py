"""FactorVAE: a critic that measures how far the latents depend on each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from lit_ae import functional
from lit_ae.batch import Batch, Shape
from lit_ae.errors import ConfigError
from lit_ae.models.base import Coefficients
from lit_ae.models.latent import VectorVariational
from lit_ae.models.multiplayer import MultiPlayer
from lit_ae.models.output import Output
from lit_ae.nn import Encoder, MLPEncoder
from lit_ae.nn.critic import logit


class FactorVAE(MultiPlayer, VectorVariational):
    """FactorVAE: a VAE whose latents pay for their total correlation, which a critic estimates.

    Minimises distortion + rate + γ TC(z). The critic tells codes, z ~ q(z), from codes whose dimensions were permuted
    across the batch, z ~ ∏ q(z_d); its logit is then log q(z)/∏ q(z_d), whose mean is the total correlation (eq. 2, 3).

    Args:
        gamma_tc: Weight γ of the total correlation.
        critic: Builds the critic from (shape of a latent, 1).

    Reference:
        Kim & Mnih, "Disentangling by Factorising", ICML 2018. https://arxiv.org/abs/1802.05983
    """

    def __init__(
        self,
        *args: Any,
        gamma_tc: float = 10.0,
        critic: Callable[[Shape, int], Encoder] = MLPEncoder,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if gamma_tc < 0:
            raise ConfigError(f"gamma_tc is {gamma_tc}: set --model.gamma_tc to 0 or more.")
        self.critic = critic(self.latent_shape, 1)
        self.coefficients["total_correlation"] = gamma_tc

    @property
    def players(self) -> dict[str, list[nn.Module]]:
        """The VAE and the critic."""
        return {"vae": [], "critic": [self.critic]}

    def forward(self, batch: Batch, k: int | None = None) -> Output:
        """One pass, with codes permuted across the batch, (B, D), in `aux`."""
        out = super().forward(batch, k)
        assert isinstance(out.z, Tensor)
        return replace(out, aux={**out.aux, "permuted": functional.permuted(out.z[0].detach())})

    def player_loss(self, player: str, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """Distortion, rate and total correlation of the VAE; the critic's cross-entropy; all in nats, (B,)."""
        assert isinstance(out.z, Tensor)
        ratio = logit(self.critic, out.z[0])
        if player == "vae":
            return {**VectorVariational.loss(self, batch, out, coef), "total_correlation": ratio}
        apart = logit(self.critic, out.aux["permuted"])
        return {"critic": (F.softplus(-ratio) + F.softplus(apart)) / 2}
