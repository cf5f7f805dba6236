"""The adversarial autoencoder: a critic moulds the codes into the prior."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from lit_ae.batch import Batch, Shape
from lit_ae.errors import ConfigError
from lit_ae.models.base import Coefficients
from lit_ae.models.generative import Generative, with_draws
from lit_ae.models.latent import PointLatent
from lit_ae.models.multiplayer import MultiPlayer
from lit_ae.models.output import Output
from lit_ae.nn import Encoder, MLPEncoder
from lit_ae.nn.critic import logit
from lit_ae.priors import Prior, StandardNormal


class AdversarialAE(MultiPlayer, Generative, PointLatent):
    """Adversarial autoencoder: codes that a critic cannot tell from draws of the prior.

    The autoencoder minimises distortion − λ log D(Enc(x)), the critic the cross-entropy of telling prior draws, D → 1,
    from codes, D → 0 (section 2). There is a prior to sample from, but no rate: q(z) matches p(z) only as a whole.

    Args:
        prior: Builds p(z) from the shape of one latent.
        adversarial: Weight λ of what fools the critic.
        critic: Builds the critic from (shape of a latent, 1).

    Reference:
        Makhzani et al., "Adversarial Autoencoders", ICLR workshop 2016. https://arxiv.org/abs/1511.05644
    """

    def __init__(
        self,
        *args: Any,
        prior: Callable[[Shape], Prior] = StandardNormal,
        adversarial: float = 1.0,
        critic: Callable[[Shape, int], Encoder] = MLPEncoder,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if adversarial < 0:
            raise ConfigError(f"adversarial is {adversarial}: set --model.adversarial to 0 or more.")
        self.prior_net, self.critic = prior(self.latent_shape), critic(self.latent_shape, 1)
        self.coefficients["adversarial"] = adversarial

    def prior(self, c: Tensor | None = None) -> Distribution:
        """p(z), event (D,)."""
        return self.prior_net(c)

    @property
    def players(self) -> dict[str, list[nn.Module]]:
        """The autoencoder and the critic."""
        return {"autoencoder": [], "critic": [self.critic]}

    def forward(self, batch: Batch, k: int | None = None) -> Output:
        """One pass, with draws of the prior, (B, D), in `aux`."""
        return with_draws(super().forward(batch, k), len(batch.x))

    def player_loss(self, player: str, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """Distortion and −log D(z) of the autoencoder; the critic's cross-entropy; all in nats, (B,)."""
        assert isinstance(out.z, Tensor)
        score = logit(self.critic, out.z[0])
        if player == "autoencoder":
            return {**PointLatent.loss(self, batch, out, coef), "adversarial": F.softplus(-score)}
        drawn = logit(self.critic, out.aux["drawn"])
        return {"critic": (F.softplus(score) + F.softplus(-drawn)) / 2}
