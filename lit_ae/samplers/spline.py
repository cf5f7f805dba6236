"""A neural spline flow over latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lit_ae.batch import Shape
from lit_ae.errors import ConfigError
from lit_ae.samplers.flows import FlowSampler, zuko_flows

if TYPE_CHECKING:
    from zuko.flows import Flow


class SplineSampler(FlowSampler):
    """Neural spline flow over latents: each is bent by a monotonic spline that those before it choose.

    The splines end five standard deviations from the mean, beyond which nothing is bent.

    Args:
        latent_dim: Number of latents, D.
        condition_shape: Shape of one condition; () is the number of a class, None is no condition.
        num_classes: Number of classes where the condition is one.
        transforms: Number of transformations, one after the other; every second one goes through the latents backwards.
        bins: Number of pieces of a spline.
        width: Number of features in a hidden layer of each.
        layers: Number of hidden layers of each.

    Raises:
        ConfigError: A size is out of range, or zuko is not installed.

    Reference:
        Durkan et al., "Neural Spline Flows", NeurIPS 2019. https://arxiv.org/abs/1906.04032
    """

    def __init__(
        self,
        latent_dim: int,
        condition_shape: Shape | None = None,
        num_classes: int = 0,
        transforms: int = 3,
        bins: int = 8,
        width: int = 64,
        layers: int = 2,
    ) -> None:
        if bins < 2:
            raise ConfigError(f"bins is {bins}: set --sampler.bins to 2 or more.")
        self.bins = bins
        super().__init__(latent_dim, condition_shape, num_classes, transforms, width, layers)

    def build(self, features: int, context: int, transforms: int, hidden: list[int]) -> Flow:
        """Build zuko's flow."""
        make = zuko_flows().NSF
        flow: Flow = make(features, context, bins=self.bins, transforms=transforms, hidden_features=hidden)
        return flow
