"""Target propagation: the decoder learns from inferred latents, the encoder to predict them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.distributions import Distribution

from lit_ae.batch import Batch
from lit_ae.errors import ConfigError
from lit_ae.free_energy import descend
from lit_ae.models.base import Coefficients
from lit_ae.models.latent import PointLatent
from lit_ae.models.multiplayer import MultiPlayer
from lit_ae.models.output import Output


class TargetProp(MultiPlayer, PointLatent):
    """Target propagation: the decoder steps on the cost at inferred latents, the encoder towards these latents.

    z̃ = Enc(x) and ž = argmin_z C(x, Dec(z)) + ρ R(z) + λ D(z, z̃), found by gradient descent from z̃, with
    C = −log p(x|z), R = ½‖z‖² and D = ‖z − z̃‖². The decoder minimises C(x, Dec(ž)), the encoder λ D(z̃, ž): no gradient
    of C reaches it. At the minimum the gradient of λ D with respect to z̃ is that of C with respect to z at ž.

    Args:
        target_steps: Steps of gradient descent from z̃ to ž.
        step_size: First step of the descent per unit of gradient.
        distance: Weight λ of D, in the inference of ž and in the encoder's loss.
        shrinkage: Weight ρ of R in the inference of ž.

    Reference:
        Le Cun, "Learning Process in an Asymmetric Threshold Network", 1986.
        Lee et al., "Difference Target Propagation", ECML 2015. https://arxiv.org/abs/1412.7525
        Kavukcuoglu, Ranzato & LeCun, "Fast Inference in Sparse Coding Algorithms", 2010. https://arxiv.org/abs/1010.3467
    """

    def __init__(
        self,
        *args: Any,
        target_steps: int = 5,
        step_size: float = 0.05,
        distance: float = 1.0,
        shrinkage: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if target_steps < 1 or step_size <= 0 or distance <= 0 or shrinkage < 0:
            raise ConfigError(
                "TargetProp needs target_steps of 1 or more, step_size and distance above 0, shrinkage of 0 or more: "
                f"got {target_steps}, {step_size}, {distance} and {shrinkage}."
            )
        self.target_steps, self.step_size = target_steps, step_size
        self.coefficients |= {"distance": distance, "shrinkage": shrinkage}

    @property
    def players(self) -> dict[str, list[nn.Module]]:
        """Encoder and decoder."""
        return {"encoder": [self.encoder, self.posterior], "decoder": [self.decoder, self.likelihood]}

    def forward(self, batch: Batch, k: int | None = None) -> Output:
        """One pass, with ž, (B, D), in `aux`."""
        out = super().forward(batch, k)
        assert isinstance(out.q, Distribution)
        return replace(out, aux={**out.aux, "target": self.target(batch, out.q.mode.detach())})

    def target(self, batch: Batch, start: Tensor) -> Tensor:
        """ž, (B, D), by gradient descent from z̃, (B, D), through a decoder that learns nothing of it."""

        def energy(z: Tensor) -> Tensor:
            cost = -self.decode(z, batch.c, batch.mask).log_prob(batch.x)
            near = self.coefficients["distance"] * (z - start).square().sum(1)
            return cost + near + self.coefficients["shrinkage"] * z.square().sum(1) / 2

        return descend(energy, start, self.target_steps, self.step_size)[0]

    def player_loss(self, player: str, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """The encoder's D(z̃, ž) and the decoder's C(x, Dec(ž)), (B,)."""
        target = out.aux["target"]
        if player == "encoder":
            assert isinstance(out.q, Distribution)
            return {"distance": (out.q.mode - target).square().sum(1)}
        return {"distortion": -self.decode(target, batch.c, batch.mask).log_prob(batch.x)}
