"""The family with several levels of latents, each with a prior and a posterior given the levels above."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lit_ae import functional
from lit_ae.batch import Batch, DataSpec, Shape
from lit_ae.errors import ConfigError
from lit_ae.likelihoods import Gaussian, Likelihood, LikelihoodHead
from lit_ae.models.base import Coefficients
from lit_ae.models.generative import Variational
from lit_ae.models.joint import Joint, parted
from lit_ae.models.output import Latent, Output
from lit_ae.nn import Condition
from lit_ae.optim import FusedAdam
from lit_ae.posteriors import DiagonalGaussian, Posterior
from lit_ae.priors import cooled

Choose = Callable[[int, DiagonalGaussian], Tensor]


class Levels(NamedTuple):
    """What one way from the top down meets, top level first.

    Args:
        q: Posterior of each level, where x is known: batch (B,) at the top, (*S, B) below.
        prior: Prior of each level: batch () or (B,) at the top, (*S, B) below.
        z: Latents of each level, (*S, B, *D_l).
        raw: Raw likelihood parameters at the bottom.
    """

    q: tuple[DiagonalGaussian, ...]
    prior: tuple[DiagonalGaussian, ...]
    z: tuple[Tensor, ...]
    raw: Tensor


class Hierarchical(Variational, ABC):
    """Levels of latents, p(z) = ∏ p(z_l|z_<l) and q(z|x) = ∏ q(z_l|z_<l, x), with one walk for all that is asked.

    `encode`, `prior` and `embed` have the latents of all levels in one row, (B, D), top level first; `decode` takes
    such a row, or a tuple of levels.

    Args:
        spec: What the model must know of its data; the command line fills it in from the datamodule.
        likelihood: Builds the head that turns the decoder's output into p(x|z).
        free_bits: Nats per latent dimension below which the rate is not pushed (Kingma et al. 2016).
        optimizer: Builds the optimizer from the parameters.
        lr_scheduler: Builds a learning-rate scheduler, stepped once per epoch, from the optimizer.
        condition_features: Numbers that the condition becomes.

    Attributes:
        latent_shapes: Shape of the latents of each level, top level first; a subclass sets it.
    """

    latent_shapes: Sequence[Shape]

    def __init__(
        self,
        spec: DataSpec | None = None,
        likelihood: Callable[[Shape], LikelihoodHead] = Gaussian,
        free_bits: float = 0.0,
        optimizer: Callable[[Iterable[Tensor]], Optimizer] = FusedAdam,
        lr_scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        condition_features: int = 16,
    ) -> None:
        super().__init__(spec, optimizer, lr_scheduler)
        if condition_features < 1:
            raise ConfigError(f"condition_features is {condition_features}: set --model.condition_features above 0.")
        if free_bits < 0:
            raise ConfigError(f"free_bits is {free_bits}: set --model.free_bits to 0 or more nats per dimension.")
        self.likelihood = likelihood(self.input_shape)
        self.likelihood.suit(self.spec)
        shape = self.spec.condition_shape
        self.condition = None if shape is None else Condition(shape, self.spec.num_classes, condition_features)
        self.coefficients |= {"rate": 1.0, "free_bits": float(free_bits)}

    @abstractmethod
    def walk(self, choose: Choose, c: Tensor | None = None, x: Tensor | None = None) -> Levels:
        """Go from the top down, with latents that `choose` gives from a level's number and its posterior.

        Args:
            choose: Gives the latents of a level, (*S, B, *D_l); S is up to the top level.
            c: Conditions, (B, *C).
            x: Samples, (B, *E); without them there is no posterior, and `choose` sees the prior.
        """

    def check(self, batch: Batch) -> None:
        """Refuse values outside the likelihood's support, and conditions that do not fit."""
        super().check(batch)
        self.likelihood.check_values(batch.x)
        if self.condition is not None:
            self.condition.check(batch.c)

    def encode(self, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Joint:
        """q(z|x, c) of all levels, batch (B,), event (D,); its mode is each level's given those of the levels above."""

        def walk(choose: Choose) -> tuple[Sequence[Distribution], Sequence[Tensor]]:
            walked = self.walk(choose, c, x)
            return walked.q, walked.z

        return Joint(walk, x.shape[:1], self.latent_shapes)

    def prior(self, c: Tensor | None = None) -> Joint:
        """p(z|c) of all levels, batch () or (B,), event (D,)."""

        def walk(choose: Choose) -> tuple[Sequence[Distribution], Sequence[Tensor]]:
            walked = self.walk(choose, c)
            return walked.prior, walked.z

        return Joint(walk, self.prior_batch(c), self.latent_shapes)

    def prior_batch(self, c: Tensor | None) -> torch.Size:
        """Batch of the top level's prior: that of the conditions, where there are any."""
        return torch.Size(()) if self.condition is None or c is None else c.shape[:1]

    def conditionals(
        self, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None, z: Latent | None = None
    ) -> tuple[tuple[Posterior, ...], tuple[Distribution, ...]]:
        """Posterior and prior of each level, given latents, or the posterior's modes, of the levels above."""
        given = None if z is None else self.parts(z)
        walked = self.walk(lambda level, q: q.mode if given is None else given[level], c, x)
        return walked.q, walked.prior

    def parts(self, z: Latent) -> Sequence[Tensor]:
        """Latents as levels, (*B, *D_l), also where they are in one row, (*B, D)."""
        return parted(z, self.latent_shapes) if isinstance(z, Tensor) else z

    def decode(self, z: Latent, c: Tensor | None = None, mask: Tensor | None = None) -> Likelihood:
        """p(x|z, c), batch (*B), event E, from a row, (*B, D), or a tuple of levels, (*B, *D_l)."""
        given = self.parts(z)
        return self.likelihood(self.walk(lambda level, _: given[level], c).raw).masked(mask)

    def forward(self, batch: Batch, k: int | None = None) -> Output:
        """One walk with k samples of the top level's posterior, decoded on the way; q, z and prior are tuples."""
        seen, aux = self.corrupt(batch)
        shape = torch.Size((k or self.samples,))
        walked = self.walk(lambda level, q: q.rsample(torch.Size() if level else shape), seen.c, seen.x)
        p = self.likelihood(walked.raw).masked(seen.mask)
        return Output(q=walked.q, z=walked.z, p=p, prior=walked.prior, aux=aux)

    @torch.no_grad()
    def sample(self, n: int, c: Tensor | None = None, mask: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """E[x|z] of n latents from the prior, (n, *E), each level at a temperature, 0 or more."""
        top = torch.Size(() if self.prior_batch(c) else (n,))

        def draw(level: int, prior: DiagonalGaussian) -> Tensor:
            return cooled(prior, temperature).sample(torch.Size() if level else top)

        return self.likelihood(self.walk(draw, c).raw).masked(mask).mean

    def loss(self, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """Distortion and rate in nats, (B,); free bits change the rate's gradient, never its value."""
        rate = self.rate(out)
        if not isinstance(floor := coef["free_bits"], float) or floor > 0:
            assert out.prior is not None
            pairs = zip(functional.levels(out.q), functional.levels(out.prior), strict=True)
            kls = [functional.kl_elements(q, prior) for q, prior in pairs]  # (B, *D_l) at the top, (K, B, *D_l) below
            levels = [functional.free_bits(kl if i == 0 else kl.mean(0), floor) for i, kl in enumerate(kls)]
            floored = torch.stack(levels).sum(0)
            rate = floored + (rate - floored).detach()
        return {"distortion": -out.p.log_prob(batch.x).mean(0), "rate": rate}

    def metrics(self, batch: Batch, out: Output) -> dict[str, Tensor]:
        """The rate, and that of each level."""
        assert out.prior is not None
        rates = functional.level_rates(out.q, out.prior, out.z)
        return super().metrics(batch, out) | {f"rate_{level}": rate for level, rate in enumerate(rates)}
