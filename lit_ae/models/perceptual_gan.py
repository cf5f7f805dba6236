"""The families whose reconstructions must look right: a perceptual distance, and a critic of patches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn

from lit_ae.batch import Batch, DataSpec, Shape
from lit_ae.errors import ConfigError
from lit_ae.functional import full_precision
from lit_ae.models.base import Coefficients
from lit_ae.models.grid import GridLatent
from lit_ae.models.multiplayer import MultiPlayer
from lit_ae.models.output import Output
from lit_ae.nn import fold
from lit_ae.nn.patch_critic import PatchCritic
from lit_ae.nn.perceptual import LaplacianPyramid, PerceptualDistance

LIMIT, DELTA = 1e4, 1e-6


class PatchAdversarial(MultiPlayer, GridLatent, ABC):
    """Reconstructions that are near, that look alike, and whose patches a critic cannot tell from data.

    The autoencoder minimises what its family does, plus `perceptual` and `adversarial`, the critic `critic`. The
    gradient of `adversarial`, never its value, is multiplied by λ = ‖∇_L(distortion + perceptual)‖ /
    (‖∇_L adversarial‖ + 10⁻⁶), where L is the weight of the decoder's last layer (Esser et al. 2021, eq. 7), the same
    on all processes and at most 10⁴ per element of a picture. λ is logged as `adaptive_weight`, a term of weight 0.
    Where no gradient is taken, in validation and test, there is no λ. A schedule can hold `adversarial` at 0 while
    reconstructions are poor, and `critic` with it.

    Args:
        perceptual: Weight of the perceptual distance, which counts like a sum over elements (see there).
        adversarial: Weight of what fools the critic.
        adaptive: Whether λ multiplies that weight; without it λ is 1.
        game: What critic and autoencoder minimise, with logits l for data and l̂ for reconstructions: `hinge` is
            ½ max(0, 1 − l) + ½ max(0, 1 + l̂) against −l̂, `nonsaturating` the cross-entropy against −log σ(l̂).
        patch_critic: Builds the critic from input_shape.
        perceptual_distance: Builds the perceptual distance from what the model knows of its data.

    Raises:
        ConfigError: A weight is negative, or the game is unknown.
    """

    def __init__(
        self,
        *args: Any,
        perceptual: float = 1.0,
        adversarial: float = 1.0,
        adaptive: bool = True,
        game: Literal["hinge", "nonsaturating"] = "hinge",
        patch_critic: Callable[[Shape], PatchCritic] = PatchCritic,
        perceptual_distance: Callable[[DataSpec], PerceptualDistance] = LaplacianPyramid,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        for name, value in (("perceptual", perceptual), ("adversarial", adversarial)):
            if value < 0:
                raise ConfigError(f"{name} is {value}: set --model.{name} to a weight of 0 or more.")
        if game not in ("hinge", "nonsaturating"):
            raise ConfigError(f"game is {game!r}: set --model.game to hinge or nonsaturating.")
        self.adaptive, self.game = adaptive, game
        self.critic, self.perceptual_distance = patch_critic(self.input_shape), perceptual_distance(self.spec)
        self.coefficients |= {"perceptual": perceptual, "adversarial": adversarial, "critic": 1.0}
        self.coefficients["adaptive_weight"] = 0.0  # logged alone

    @property
    def players(self) -> dict[str, list[nn.Module]]:
        """The autoencoder and the critic."""
        return {"autoencoder": [], "critic": [self.critic]}

    @property
    def last_layer(self) -> nn.Parameter:
        """L, the weight of the decoder's last layer."""
        return [parameter for parameter in self.decoder.parameters() if parameter.ndim > 1][-1]

    def setup(self, stage: str) -> None:
        """Let the perceptual distance read its files, unless no loss is wanted."""
        if stage != "predict":
            self.perceptual_distance.prepare()

    @abstractmethod
    def own_loss(self, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """Distortion in nats, (B,), and the other terms of the family."""

    def judge(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """The critic's logits for patches of pictures, (*B, C, H, W), being data, (*B, 1, h, w)."""
        return full_precision(fold(self.critic, observed(x, mask), event_ndim=3))

    def player_loss(self, player: str, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """The family's terms, perceptual distance and adversarial term of the autoencoder, or the critic's; (B,)."""
        hinge = self.game == "hinge"
        made = self.judge(out.p.mean, batch.mask)
        if player == "critic":
            real = self.judge(batch.x, batch.mask)
            patches = F.relu(1 - real) + F.relu(1 + made) if hinge else F.softplus(-real) + F.softplus(made)
            return {"critic": patches.flatten(2).mean((0, 2)) / 2}
        adversarial = (-made if hinge else F.softplus(-made)).flatten(2).mean((0, 2))
        own, perceptual = self.own_loss(batch, out, coef), self.perceptual(batch, out.p.mean)
        terms = {**own, "perceptual": perceptual, "adversarial": adversarial}
        if not (self.training and torch.is_grad_enabled()):
            return terms
        weight = self.adaptive_weight(batch, terms, coef)
        terms["adversarial"] = adversarial.detach() + weight * (adversarial - adversarial.detach())
        return {**terms, "adaptive_weight": weight}

    def perceptual(self, batch: Batch, made: Tensor) -> Tensor:
        """Perceptual distance of reconstructions, (K, B, C, H, W), from the batch, (B,)."""
        pictures = observed(made, batch.mask), observed(batch.x, batch.mask).expand_as(made)
        return self.perceptual_distance(*(each.flatten(0, 1) for each in pictures)).view(len(made), -1).mean(0)

    def adaptive_weight(self, batch: Batch, terms: dict[str, Tensor], coef: Coefficients) -> Tensor:
        """λ, (), without a gradient; 0 where `adversarial` has no weight, or where fp16 gradients overflow."""
        layer, off = self.last_layer, isinstance(coef["adversarial"], float) and coef["adversarial"] == 0
        if off or not self.adaptive or not layer.requires_grad:
            return terms["adversarial"].new_tensor(0.0 if off else 1.0)
        rebuilding = self.weigh({name: terms[name] for name in ("distortion", "perceptual")}, coef)
        scale = self.loss_scale()  # that of the step itself: where this overflows, that is skipped
        pair = [
            torch.autograd.grad(scale * part, layer, retain_graph=True)[0]
            for part in (rebuilding, terms["adversarial"].mean())
        ]
        gradients = full_precision(torch.stack(pair)) * batch.weight
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(gradients)
            gradients = gradients / torch.distributed.get_world_size()
        wanted, other = gradients.flatten(1).norm(dim=1)
        weight = (wanted / (other + DELTA * scale)).clamp(max=LIMIT * batch.x[0].numel())
        return weight.where(weight.isfinite() & gradients.isfinite().all(), 0.0)

    def loss_scale(self) -> float:
        """What fp16 multiplies the loss by, so that small gradients survive; 1 in other precisions."""
        plugin = None if self._trainer is None else self.trainer.precision_plugin
        scaler = plugin.scaler if isinstance(plugin, MixedPrecision) else None
        return 1.0 if scaler is None else scaler.get_scale()


def observed(x: Tensor, mask: Tensor | None) -> Tensor:
    """Pictures with 0 where nothing was observed, so that it makes no difference."""
    return x if mask is None else x.where(mask, 0.0)
