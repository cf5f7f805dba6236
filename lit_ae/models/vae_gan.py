"""VAE-GAN: a VAE whose pictures a critic must not be able to tell from data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from lit_ae.batch import Batch, Shape
from lit_ae.errors import ConfigError
from lit_ae.functional import full_precision
from lit_ae.models.base import Coefficients
from lit_ae.models.generative import with_draws
from lit_ae.models.latent import VectorVariational
from lit_ae.models.multiplayer import MultiPlayer
from lit_ae.models.output import Output
from lit_ae.nn import Encoder, MLPEncoder, fold


class VAEGAN(MultiPlayer, VectorVariational):
    """VAE-GAN: distortion and rate, a distortion of a critic's features, and what fools that critic.

    With f(x) the critic's features and D(x) its opinion, the VAE minimises
    distortion + rate + λ_f ½‖f(x) − f(x̂)‖² − λ_a ½ (log D(x̂) + log D(x_p)), where x̂ = E[x|z] and x_p is decoded from a
    draw of the prior; the critic minimises the cross-entropy of x against both. The encoder gets no gradient of the
    adversarial term (alg. 1). In the paper the features' distortion stands in for the likelihood's: `distortion` 0.

    Args:
        distortion: Weight of −log p(x|z).
        feature: Weight λ_f of the features' distortion (eq. 7).
        adversarial: Weight λ_a of what fools the critic.
        critic: Builds the critic's features from (input_shape, critic_features).
        critic_features: Number of features.

    Reference:
        Larsen et al., "Autoencoding beyond pixels using a learned similarity metric", ICML 2016.
        https://arxiv.org/abs/1512.09300
    """

    def __init__(
        self,
        *args: Any,
        distortion: float = 1.0,
        feature: float = 1.0,
        adversarial: float = 1.0,
        critic: Callable[[Shape, int], Encoder] = MLPEncoder,
        critic_features: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if min(distortion, feature, adversarial) < 0 or critic_features < 1:
            raise ConfigError(
                "distortion, feature and adversarial are weights of 0 or more, critic_features a number of 1 or more: "
                f"got {distortion}, {feature}, {adversarial} and {critic_features}."
            )
        self.critic = critic(self.input_shape, critic_features)
        self.opinion = nn.Linear(critic_features, 1)
        self.coefficients |= {"distortion": distortion, "feature": feature, "adversarial": adversarial}

    @property
    def players(self) -> dict[str, list[nn.Module]]:
        """The VAE and the critic."""
        return {"vae": [], "critic": [self.critic, self.opinion]}

    def judge(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The critic's features of pictures, (B, features), and its logit for their being data, (B,)."""
        features = F.leaky_relu(full_precision(fold(self.critic, x, event_ndim=len(self.input_shape))), 0.2)
        return features, full_precision(fold(self.opinion, features)).squeeze(1)

    def forward(self, batch: Batch, k: int | None = None) -> Output:
        """One pass, with draws of the prior, (B, D), in `aux`."""
        return with_draws(super().forward(batch, k), len(batch.x))

    def player_loss(self, player: str, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """Distortion, rate, feature and adversarial terms of the VAE; the critic's cross-entropy, in nats, (B,)."""
        assert isinstance(out.z, Tensor)
        real, is_real = self.judge(batch.x)
        drawn = self.decode(out.aux["drawn"], batch.c, batch.mask).mean
        if player == "critic":
            _, is_made = self.judge(out.p.mean[0])
            _, is_drawn = self.judge(drawn.detach())
            return {"critic": (2 * F.softplus(-is_real) + F.softplus(is_made) + F.softplus(is_drawn)) / 4}
        rebuilt, _ = self.judge(out.p.mean[0])
        feature = (real.detach() - rebuilt).square().sum(1) / 2
        _, is_made = self.judge(self.decode(out.z[0].detach(), batch.c, batch.mask).mean)
        _, is_drawn = self.judge(drawn)
        adversarial = (F.softplus(-is_made) + F.softplus(-is_drawn)) / 2
        return {**VectorVariational.loss(self, batch, out, coef), "feature": feature, "adversarial": adversarial}
