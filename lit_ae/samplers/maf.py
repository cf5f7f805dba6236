"""A masked autoregressive flow over latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lit_ae.batch import Shape
from lit_ae.samplers.flows import FlowSampler, zuko_flows

if TYPE_CHECKING:
    from zuko.flows import Flow


class MAFSampler(FlowSampler):
    """Masked autoregressive flow over latents: each is shifted and scaled by what those before it say.

    Args:
        latent_dim: Number of latents, D.
        condition_shape: Shape of one condition; () is the number of a class, None is no condition.
        num_classes: Number of classes where the condition is one.
        transforms: Number of transformations, one after the other; every second one goes through the latents backwards.
        width: Number of features in a hidden layer of each.
        layers: Number of hidden layers of each.

    Raises:
        ConfigError: A size is out of range, or zuko is not installed.

    Reference:
        Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow for Density Estimation", NeurIPS 2017. https://arxiv.org/abs/1705.07057
    """

    def __init__(
        self,
        latent_dim: int,
        condition_shape: Shape | None = None,
        num_classes: int = 0,
        transforms: int = 5,
        width: int = 64,
        layers: int = 2,
    ) -> None:
        super().__init__(latent_dim, condition_shape, num_classes, transforms, width, layers)

    def build(self, features: int, context: int, transforms: int, hidden: list[int]) -> Flow:
        """Build zuko's flow."""
        flow: Flow = zuko_flows().MAF(features, context, transforms=transforms, hidden_features=hidden)
        return flow
