"""Densities of latents that are found at once, one for each class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from lit_ae.batch import DataError, Shape
from lit_ae.errors import ConfigError
from lit_ae.samplers.base import Estimator
from lit_ae.samplers.latents import LatentSampler


class Density(nn.Module, ABC):
    """A density of standardised latents, kept in buffers whose sizes follow from the data."""

    def __init__(self) -> None:
        super().__init__()
        self.register_load_state_dict_pre_hook(resize)

    @abstractmethod
    def estimate(self, z: Tensor, seed: int, whose: str) -> None:
        """Find the density of latents, (N, D); `whose` they are goes into messages.

        Raises:
            ConfigError: They are too few.
        """

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Log density in nats, (B,), of latents, (B, D)."""

    @abstractmethod
    def draw(self, n: int, temperature: float) -> Tensor:
        """n latents, (n, D)."""


def resize(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Give buffers the sizes of those that are about to be loaded."""
    for name, buffer in module.named_buffers(recurse=False):
        if (stored := state.get(prefix + name)) is not None:
            setattr(module, name, torch.empty_like(stored, device=buffer.device))


class EstimatedSampler(LatentSampler, Estimator, ABC):
    """One density for all latents, or one for each class.

    Args:
        latent_dim: Number of latents, D.
        condition_shape: () is the number of a class, None is no condition.
        num_classes: Number of classes where the condition is one.

    Raises:
        ConfigError: The condition is no class.
    """

    def __init__(self, latent_dim: int, condition_shape: Shape | None, num_classes: int) -> None:
        super().__init__(latent_dim, condition_shape, num_classes)
        if condition_shape:
            raise ConfigError(
                f"This kind has one density per class, but the run's condition has the shape {tuple(condition_shape)}: "
                "choose --kind maf, spline or two_stage."
            )
        self.densities = nn.ModuleList(self.one() for _ in range(num_classes if self.conditional else 1))

    @abstractmethod
    def one(self) -> Density:
        """Build a density, before it is estimated."""

    def estimate(self, values: Tensor, c: Tensor | None, seed: int) -> None:
        """Find the density of latents, (N, D), or one for each class of c, (N,).

        Raises:
            ConfigError: There are too few latents, of a class perhaps.
        """
        self.standardise([values])
        z = (values - self.shift) / self.scale
        for number, (density, rows) in enumerate(zip(self.densities, self.rows(len(z), c), strict=True)):
            assert isinstance(density, Density)
            density.estimate(z[rows], seed, f"Class {number}" if self.conditional else "The run")

    def density(self, z: Tensor, c: Tensor | None) -> Tensor:
        """Log density in nats, (B,), of standardised latents, (B, D)."""
        found = z.new_empty(len(z))
        for density, rows in zip(self.densities, self.rows(len(z), c), strict=True):
            assert isinstance(density, Density)
            found[rows] = density.log_prob(z[rows])
        return found

    def draw(self, n: int, c: Tensor | None, temperature: float) -> Tensor:
        """n standardised latents, (n, D)."""
        z = self.shift.new_empty(n, self.latent_dim)
        for density, rows in zip(self.densities, self.rows(n, c), strict=True):
            assert isinstance(density, Density)
            z[rows] = density.draw(int(rows.sum()), temperature)
        return z

    def rows(self, n: int, c: Tensor | None) -> list[Tensor]:
        """Which of n latents belong to each density, (n,).

        Raises:
            DataError: There are no classes, or some that are none of those it was fitted to.
        """
        if not self.conditional:
            return [torch.ones(n, dtype=torch.bool, device=self.shift.device)]
        if c is None:
            raise DataError(f"The sampler was fitted to classes: give a number below {self.num_classes} per sample.")
        if c.shape != (n,) or (n and not 0 <= c.min() <= c.max() < self.num_classes):
            raise DataError(f"The sampler knows the classes 0 to {self.num_classes - 1}: give one of them per sample.")
        return [c == number for number in range(self.num_classes)]
