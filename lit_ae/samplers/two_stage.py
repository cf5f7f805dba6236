"""A second autoencoder over the latents of the first."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from lit_ae import functional, importance
from lit_ae.batch import Shape
from lit_ae.errors import ConfigError
from lit_ae.likelihoods import Gaussian, Likelihood
from lit_ae.nn import Condition, MLPDecoder, MLPEncoder, fold
from lit_ae.posteriors import DiagonalGaussian, DiagonalGaussianHead
from lit_ae.samplers.latents import LatentSampler

ROWS = 512  # latents weighed at once


class TwoStageSampler(LatentSampler):
    """Two-stage VAE: a second, small VAE over the latents, whose own latents do follow their prior.

    p(z) = ∫ N(u; 0, I) N(z; μ(u), γ² I) du, with as many u as there are z and one learned γ. It is trained on its ELBO.
    `log_prob` estimates log p(z) with importance samples of its posterior: in expectation a lower bound, tighter the
    more there are.

    Args:
        latent_dim: Number of latents, D.
        condition_shape: Shape of one condition; () is the number of a class, None is no condition.
        num_classes: Number of classes where the condition is one.
        width: Number of features in a hidden layer of encoder and decoder.
        layers: Number of hidden layers of each.
        samples: Importance samples of each latent for `log_prob`.

    Raises:
        ConfigError: A size is out of range.

    Reference:
        Dai & Wipf, "Diagnosing and Enhancing VAE Models", ICLR 2019. https://arxiv.org/abs/1903.05789
    """

    zero: Tensor

    def __init__(
        self,
        latent_dim: int,
        condition_shape: Shape | None = None,
        num_classes: int = 0,
        width: int = 256,
        layers: int = 2,
        samples: int = 100,
    ) -> None:
        super().__init__(latent_dim, condition_shape, num_classes)
        for name, size in (("width", width), ("layers", layers), ("samples", samples)):
            if size < 1:
                raise ConfigError(f"{name} is {size}: set --sampler.{name} to 1 or more.")
        self.condition = None if condition_shape is None else Condition(condition_shape, num_classes, width)
        self.samples, hidden = samples, (width,) * layers
        seen = latent_dim + (width if self.conditional else 0)
        self.posterior = DiagonalGaussianHead((latent_dim,))
        self.likelihood = Gaussian((latent_dim,), 0.5, "scalar", 1e-2)
        self.encoder = MLPEncoder((seen,), 2 * latent_dim, hidden)
        self.decoder = MLPDecoder(seen, (latent_dim,), hidden)
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)

    @property
    def prior(self) -> Independent:
        """p(u), batch (), event (D,)."""
        return Independent(Normal(self.zero, torch.ones_like(self.zero), validate_args=False), 1, validate_args=False)

    def beside(self, values: Tensor, c: Tensor | None) -> Tensor:
        """Values, (*K, B, D), with what becomes of the condition beside them."""
        return values if self.condition is None else self.condition.beside_latent(values, c)

    def infer(self, z: Tensor, c: Tensor | None) -> DiagonalGaussian:
        """q(u|z), batch (B,), of standardised latents, (B, D)."""
        return self.posterior(self.encoder(self.beside(z, c)))

    def generate(self, u: Tensor, c: Tensor | None) -> Likelihood:
        """p(z|u), batch (*K, B), of u, (*K, B, D)."""
        return self.likelihood(fold(self.decoder, self.beside(u, c)))

    def bound(self, values: Tensor, c: Tensor | None = None) -> Tensor:
        """The ELBO in nats, (B,), of latents, (B, D)."""
        z = (values - self.shift) / self.scale
        q = self.infer(z, c)
        rate = functional.rate(q, self.prior, u := q.rsample(torch.Size((1,))))
        return self.generate(u, c).log_prob(z)[0] - rate - self.scale.log().sum()

    def density(self, z: Tensor, c: Tensor | None) -> Tensor:
        """Log density in nats, (B,), of standardised latents, (B, D), estimated."""
        parts = []
        for start in range(0, len(z), ROWS):
            part, given = z[start : start + ROWS], None if c is None else c[start : start + ROWS]
            q = self.infer(part, given)
            u = q.rsample(torch.Size((self.samples,)))
            log_w = self.generate(u, given).log_prob(part) + importance.log_ratio(q, self.prior, u)
            parts.append(importance.bound(log_w))
        return torch.cat(parts) if parts else z.new_empty(0)

    def draw(self, n: int, c: Tensor | None, temperature: float) -> Tensor:
        """n standardised latents, (n, D)."""
        u = temperature * torch.randn(n, self.latent_dim, device=self.shift.device, dtype=self.shift.dtype)
        p = self.generate(u, c)
        return p.mean + temperature * p.variance.sqrt() * torch.randn_like(u)
