"""Normalizing flows over latents, by zuko."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lit_ae.batch import Shape
from lit_ae.errors import ConfigError
from lit_ae.nn import Condition
from lit_ae.samplers.latents import LatentSampler

if TYPE_CHECKING:
    from zuko.flows import Flow


def zuko_flows() -> ModuleType:
    """zuko's flows.

    Raises:
        ConfigError: zuko is not installed.
    """
    try:
        import zuko.flows
    except ImportError as error:
        raise ConfigError('Flows need zuko, which is not installed: pip install "lit_ae[flows]"') from error
    return zuko.flows


class FlowSampler(LatentSampler, ABC):
    """log p(z) = log N(f(z); 0, I) + log |∂f/∂z|, with an invertible f that sees the condition.

    Args:
        latent_dim: Number of latents, D.
        condition_shape: Shape of one condition; () is the number of a class, None is no condition.
        num_classes: Number of classes where the condition is one.
        transforms: Number of transformations, one after the other; every second one goes through the latents backwards.
        width: Number of features in a hidden layer of each.
        layers: Number of hidden layers of each.

    Raises:
        ConfigError: A size is out of range, or zuko is not installed.
    """

    def __init__(
        self,
        latent_dim: int,
        condition_shape: Shape | None,
        num_classes: int,
        transforms: int,
        width: int,
        layers: int,
    ) -> None:
        super().__init__(latent_dim, condition_shape, num_classes)
        for name, size in (("transforms", transforms), ("width", width), ("layers", layers)):
            if size < 1:
                raise ConfigError(f"{name} is {size}: set --sampler.{name} to 1 or more.")
        self.condition = None if condition_shape is None else Condition(condition_shape, num_classes, width)
        self.flow = self.build(latent_dim, width if self.conditional else 0, transforms, [width] * layers)

    @abstractmethod
    def build(self, features: int, context: int, transforms: int, hidden: list[int]) -> Flow:
        """Build zuko's flow."""

    def density(self, z: Tensor, c: Tensor | None) -> Tensor:
        """Log density in nats, (B,), of standardised latents, (B, D)."""
        log_p: Tensor = self.flow(None if self.condition is None else self.condition(c)).log_prob(z)
        return log_p

    def draw(self, n: int, c: Tensor | None, temperature: float) -> Tensor:
        """n standardised latents, (n, D)."""
        flow = self.flow(None if self.condition is None else self.condition(c))
        noise = temperature * torch.randn(n, self.latent_dim, device=self.shift.device, dtype=self.shift.dtype)
        z: Tensor = flow.transform.inv(noise)
        return z
