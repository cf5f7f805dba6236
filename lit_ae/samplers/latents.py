"""Densities over vectors of latents."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from lit_ae.batch import Shape
from lit_ae.errors import ConfigError
from lit_ae.functional import full_precision
from lit_ae.models.base import Autoencoder
from lit_ae.models.latent import VectorDecoding
from lit_ae.samplers.base import Sampler


class LatentSampler(Sampler, ABC):
    """log p(z) of the latents that a model gives its training data.

    Of a model with a distribution q(z|x) these are draws of it, one per sample and epoch: together they are draws of
    the aggregate posterior, what the decoder was trained on (Dai & Wipf 2019, section 3; their means alone are
    narrower). Of a deterministic model they are the codes (Ghosh et al., "From Variational to Deterministic
    Autoencoders", ICLR 2020, section 4).

    Latents are shifted and scaled to mean 0 and standard deviation 1 inside; densities are those of the latents
    themselves.

    Args:
        latent_dim: Number of latents, D.
        condition_shape: Shape of one condition; () is the number of a class, None is no condition.
        num_classes: Number of classes where the condition is one.
    """

    needs = VectorDecoding
    of = "vectors of latents"
    shift: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int, condition_shape: Shape | None, num_classes: int) -> None:
        super().__init__(condition_shape, num_classes)
        self.latent_dim = latent_dim
        self.register_buffer("shift", torch.zeros(latent_dim))
        self.register_buffer("scale", torch.ones(latent_dim))

    @classmethod
    def facts(cls, model: Autoencoder) -> dict[str, Any]:
        """Number of latents."""
        assert isinstance(model, VectorDecoding)
        return {"latent_dim": model.latent_shape[0]}

    @torch.no_grad()
    def values(self, model: Autoencoder, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """A draw of q(z|x), or the code, of each sample, (B, D)."""
        return full_precision(model.encode(x, c, mask).sample())

    @torch.no_grad()
    def decode(self, model: Autoencoder, values: Tensor, c: Tensor | None = None) -> Tensor:
        """E[x|z], (B, *E), of latents."""
        return model.decode(values, c).mean

    def standardise(self, batches: Iterable[Tensor]) -> None:
        """Learn mean and standard deviation of each latent from batches, (B, D); a scale of 1 where one never moves."""
        count, mean, total = 0, torch.zeros(()), torch.zeros(())
        for batch in batches:  # Chan, Golub & LeVeque 1983, eq. 2.1
            values = batch.double().cpu()
            gap, n = values.mean(0) - mean, len(values)
            total = total + (values - values.mean(0)).square().sum(0) + gap.square() * count * n / (count + n)
            mean, count = mean + gap * n / (count + n), count + n
        deviation = (total / count).sqrt()
        still = deviation <= 1e-6 * deviation.amax()
        self.shift.copy_(mean)
        self.scale.copy_(deviation.masked_fill(still, 1.0))

    def log_prob(self, values: Tensor, c: Tensor | None = None) -> Tensor:
        """Log density in nats, (B,), of latents, (B, D)."""
        return self.density((values - self.shift) / self.scale, c) - self.scale.log().sum()

    @torch.no_grad()
    def sample(self, n: int, c: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """n latents, (n, D).

        Args:
            n: How many.
            c: Conditions, (n, *C).
            temperature: Factor on the standard deviation of every Gaussian that is drawn from; 0 leaves its mean.

        Raises:
            ConfigError: The temperature is negative.
        """
        if not temperature >= 0:
            raise ConfigError(f"temperature is {temperature:g}: give 0 or more.")
        return self.draw(n, c, temperature) * self.scale + self.shift

    @abstractmethod
    def density(self, z: Tensor, c: Tensor | None) -> Tensor:
        """Log density in nats, (B,), of standardised latents, (B, D)."""

    @abstractmethod
    def draw(self, n: int, c: Tensor | None, temperature: float) -> Tensor:
        """n standardised latents, (n, D)."""
