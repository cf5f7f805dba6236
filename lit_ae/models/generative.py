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
from lit_ae.models.output import Output


class Generative(Autoencoder, ABC):
    """An autoencoder with a prior to sample from."""

    @abstractmethod
    def prior(self, c: Tensor | None = None) -> Distribution:
        """p(z), batch () or (B,), event D. A method, because a VampPrior calls `encode`."""

    def forward(self, batch: Batch, k: int | None = None) -> Output:
        """One pass, with the prior."""
        return replace(super().forward(batch, k), prior=self.prior(batch.c))

    @torch.no_grad()
    def sample(self, n: int, c: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """E[x|z] of n latents drawn from the prior, (n, *E); c is (n, *C)."""
        return self.decode(draws(self.prior(c), n), c, mask).mean


def draws(prior: Distribution, n: int) -> Tensor:
    """n latents of a prior, (n, *D), whose batch is () or (n,); no gradient leads to them."""
    return prior.sample(torch.Size(() if prior.batch_shape else (n,)))


class Variational(Generative, ABC):
    """A generative model with a rate, hence with an ELBO."""

    def rate(self, out: Output) -> Tensor:
        """KL(q(z|x)‖p(z)) in nats, (B,)."""
        assert out.prior is not None
        return functional.rate(out.q, out.prior, out.z, out.log_q)

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
