"""Capabilities as types: a prior to sample from, and a rate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from math import prod

import torch
from torch import Tensor
from torch.distributions import Distribution

from lit_ae import functional
from lit_ae.batch import Batch
from lit_ae.likelihoods import Likelihood
from lit_ae.models.base import Autoencoder
from lit_ae.models.output import Latent, Output
from lit_ae.posteriors import Posterior
from lit_ae.priors import cooled


class Generative(Autoencoder, ABC):
    """An autoencoder with a prior to sample from."""

    @abstractmethod
    def prior(self, c: Tensor | None = None) -> Distribution:
        """p(z), batch () or (B,), event D. A method, because a VampPrior calls `encode`."""

    def forward(self, batch: Batch, k: int | None = None) -> Output:
        """One pass, with the prior."""
        return replace(super().forward(batch, k), prior=self.prior(batch.c))

    @torch.no_grad()
    def sample(self, n: int, c: Tensor | None = None, mask: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """E[x|z] of n latents drawn from the prior, (n, *E).

        Args:
            n: Number of samples.
            c: Conditions, (n, *C).
            mask: What is kept of each sample, (n, *E).
            temperature: Factor on the standard deviation of a Gaussian prior, of each level where there are several.

        Raises:
            ConfigError: The temperature is negative, or the prior is no Gaussian.
        """
        return self.decode(draws(cooled(self.prior(c), temperature), n), c, mask).mean


def draws(prior: Distribution, n: int) -> Tensor:
    """n latents of a prior, (n, *D), whose batch is () or (n,); no gradient leads to them."""
    return prior.sample(torch.Size(() if prior.batch_shape else (n,)))


def with_draws(out: Output, n: int) -> Output:
    """The output of a pass with n latents of its prior, `drawn`, (n, *D), in `aux`."""
    assert isinstance(out.prior, Distribution)
    return replace(out, aux={**out.aux, "drawn": draws(out.prior, n)})


class Variational(Generative, ABC):
    """A generative model with a rate, hence with an ELBO."""

    def rate(self, out: Output) -> Tensor:
        """KL(q(z|x)‖p(z)) in nats, (B,)."""
        assert out.prior is not None
        return functional.rate(out.q, out.prior, out.z, out.log_q)

    def conditionals(
        self, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None, z: Latent | None = None
    ) -> tuple[tuple[Posterior, ...], tuple[Distribution, ...]]:
        """Posterior and prior of each level of latents, batch (B,), top level first: a hierarchy has several.

        Args:
            x: Samples, (B, *E).
            c: Conditions, (B, *C).
            mask: True where x is observed.
            z: Latents whose upper levels the lower levels are conditioned on; by default the posterior's modes.
        """
        return (self.encode(x, c, mask),), (self.prior(c),)

    def metrics(self, batch: Batch, out: Output) -> dict[str, Tensor]:
        """The rate itself, whatever the loss makes of it."""
        return {"rate": self.rate(out)}

    def diagnose(self, means: dict[str, Tensor], p: Likelihood) -> dict[str, Tensor]:
        """ELBO = −(distortion + rate) in nats, and bits per dimension where p(x|z) is a probability mass."""
        if not {"distortion", "rate"} <= means.keys():
            return {}
        elbo = -(means["distortion"] + means["rate"])
        if p.levels is None:
            return {"elbo": elbo}
        return {"elbo": elbo, "bits_per_dim": functional.bits_per_dim(-elbo, prod(p.event_shape))}
