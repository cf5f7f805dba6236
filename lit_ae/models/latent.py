"""The families with one vector of latents per sample: an encoder, a posterior, a decoder, a likelihood."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.distributions import Distribution
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lit_ae import functional
from lit_ae.batch import Batch, DataSpec, Shape
from lit_ae.errors import ConfigError
from lit_ae.likelihoods import Gaussian, Likelihood, LikelihoodHead
from lit_ae.models.base import Autoencoder, Coefficients
from lit_ae.models.generative import Variational
from lit_ae.models.output import Output
from lit_ae.nn import Condition, Decoder, Encoder, MaskedEncoder, MLPDecoder, MLPEncoder, fold
from lit_ae.optim import FusedAdam
from lit_ae.posteriors import DeltaHead, DiagonalGaussianHead, Posterior, PosteriorHead
from lit_ae.priors import Prior, StandardNormal


class VectorDecoding(Autoencoder, ABC):
    """A decoder from one vector of latents, which sees the condition where the data have one.

    Args:
        spec: What the model must know of its data; the command line fills it in from the datamodule.
        latent_dim: Number of latent dimensions, D.
        decoder: Builds the decoder from (in_features, output_shape).
        likelihood: Builds the head that turns the decoder's output into p(x|z).
        optimizer: Builds the optimizer from the parameters.
        lr_scheduler: Builds a learning-rate scheduler, stepped once per epoch, from the optimizer.
        condition_features: Numbers that the condition becomes, beside the input and beside the latents.
    """

    def __init__(
        self,
        spec: DataSpec | None = None,
        latent_dim: int = 16,
        decoder: Callable[[int, Shape], Decoder] = MLPDecoder,
        likelihood: Callable[[Shape], LikelihoodHead] = Gaussian,
        optimizer: Callable[[Iterable[Tensor]], Optimizer] = FusedAdam,
        lr_scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        condition_features: int = 16,
    ) -> None:
        super().__init__(spec, optimizer, lr_scheduler)
        for name, value in (("latent_dim", latent_dim), ("condition_features", condition_features)):
            if value < 1:
                raise ConfigError(f"{name} is {value}: set --model.{name} to 1 or more.")
        self.latent_shape: Shape = (latent_dim,)
        self.likelihood = likelihood(self.input_shape)
        self.likelihood.suit(self.spec)
        shape = self.spec.condition_shape
        self.condition = None if shape is None else Condition(shape, self.spec.num_classes, condition_features)
        self.decoder = decoder(latent_dim + self.condition_features, self.likelihood.raw_shape())

    @property
    def condition_features(self) -> int:
        """Numbers that the condition becomes, 0 where the data have none."""
        return 0 if self.condition is None else self.condition.features

    def check(self, batch: Batch) -> None:
        """Refuse values outside the likelihood's support, and conditions that do not fit."""
        super().check(batch)
        self.likelihood.check_values(batch.x)
        if self.condition is not None:
            self.condition.check(batch.c)

    def decode(self, z: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Likelihood:  # type: ignore[override]
        """p(x|z, c), batch (*B), event E."""
        seen = z if self.condition is None else self.condition.beside_latent(z, c)
        return self.likelihood(fold(self.decoder, seen)).masked(mask)


class VectorLatent(VectorDecoding, ABC):
    """An encoder to one vector of latents and a decoder back.

    Args:
        spec: What the model must know of its data; the command line fills it in from the datamodule.
        latent_dim: Number of latent dimensions, D.
        encoder: Builds the encoder from (input_shape, out_features).
        decoder: Builds the decoder from (in_features, output_shape).
        likelihood: Builds the head that turns the decoder's output into p(x|z).
        optimizer: Builds the optimizer from the parameters.
        lr_scheduler: Builds a learning-rate scheduler, stepped once per epoch, from the optimizer.
        condition_features: Numbers that the condition becomes, beside the input and beside the latents.
        posterior: Builds the head that turns the encoder's output into q(z|x).
    """

    def __init__(
        self,
        spec: DataSpec | None = None,
        latent_dim: int = 16,
        encoder: Callable[[Shape, int], Encoder] = MLPEncoder,
        decoder: Callable[[int, Shape], Decoder] = MLPDecoder,
        likelihood: Callable[[Shape], LikelihoodHead] = Gaussian,
        optimizer: Callable[[Iterable[Tensor]], Optimizer] = FusedAdam,
        lr_scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        condition_features: int = 16,
        *,
        posterior: Callable[[Shape], PosteriorHead],
    ) -> None:
        super().__init__(spec, latent_dim, decoder, likelihood, optimizer, lr_scheduler, condition_features)
        self.posterior = posterior(self.latent_shape)
        channels, *rest = self.input_shape
        self.encoder = encoder((channels + self.condition_features, *rest), self.posterior.raw_shape()[0])

    def encode(self, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Posterior:
        """q(z|x, c), batch (B,), event (D,)."""
        seen = x if self.condition is None else self.condition.beside_sample(x, c)
        masked = isinstance(self.encoder, MaskedEncoder)
        return self.posterior(self.encoder(seen, mask) if masked else self.encoder(seen))


class PointLatent(VectorLatent, ABC):
    """One point in latent space per sample: the encoder's output is the latent.

    It takes the arguments of `VectorLatent` but the posterior, which is always a `Delta`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, posterior=DeltaHead, **kwargs)
        self.remove_ignored_hparams(["posterior"])  # no argument of ours: a checkpoint must not pass it back

    def loss(self, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """Distortion in nats, (B,)."""
        return {"distortion": -out.p.log_prob(batch.x).mean(0)}


class VectorVariational(VectorLatent, Variational, ABC):
    """A vector of latents with a prior, hence a rate.

    Args:
        spec: What the model must know of its data; the command line fills it in from the datamodule.
        latent_dim: Number of latent dimensions, D.
        encoder: Builds the encoder from (input_shape, out_features).
        decoder: Builds the decoder from (in_features, output_shape).
        likelihood: Builds the head that turns the decoder's output into p(x|z).
        posterior: Builds the head that turns the encoder's output into q(z|x).
        prior: Builds p(z) from the shape of one latent.
        free_bits: Nats per latent dimension below which the rate is not pushed (Kingma et al. 2016).
        optimizer: Builds the optimizer from the parameters.
        lr_scheduler: Builds a learning-rate scheduler, stepped once per epoch, from the optimizer.
        condition_features: Numbers that the condition becomes, beside the input and beside the latents.
    """

    def __init__(
        self,
        spec: DataSpec | None = None,
        latent_dim: int = 16,
        encoder: Callable[[Shape, int], Encoder] = MLPEncoder,
        decoder: Callable[[int, Shape], Decoder] = MLPDecoder,
        likelihood: Callable[[Shape], LikelihoodHead] = Gaussian,
        posterior: Callable[[Shape], PosteriorHead] = DiagonalGaussianHead,
        prior: Callable[[Shape], Prior] = StandardNormal,
        free_bits: float = 0.0,
        optimizer: Callable[[Iterable[Tensor]], Optimizer] = FusedAdam,
        lr_scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        condition_features: int = 16,
    ) -> None:
        super().__init__(
            spec, latent_dim, encoder, decoder, likelihood, optimizer, lr_scheduler, condition_features,
            posterior=posterior,
        )  # fmt: skip
        if free_bits < 0:
            raise ConfigError(f"free_bits is {free_bits}: set --model.free_bits to 0 or more nats per dimension.")
        self.prior_net = prior(self.latent_shape)
        self.coefficients |= {"rate": 1.0, "free_bits": float(free_bits)}

    def prior(self, c: Tensor | None = None) -> Distribution:
        """p(z), event (D,)."""
        return self.prior_net(c)

    def loss(self, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """Distortion and rate in nats, (B,); free bits change the rate's gradient, never its value."""
        rate = self.rate(out)
        if not isinstance(floor := coef["free_bits"], float) or floor > 0:
            assert isinstance(out.q, Distribution)
            assert isinstance(out.prior, Distribution)
            floored = functional.free_bits(functional.kl_elements(out.q, out.prior), floor)
            rate = floored + (rate - floored).detach()
        return {"distortion": -out.p.log_prob(batch.x).mean(0), "rate": rate}
