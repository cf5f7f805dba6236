"""A mixture of Gaussians over latents."""

from __future__ import annotations

import warnings
from math import log, pi
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from lit_ae.batch import Shape
from lit_ae.errors import ConfigError
from lit_ae.samplers.estimated import Density, EstimatedSampler

Covariance = Literal["full", "tied", "diag", "spherical"]


class Mixture(Density):
    """Σ_k w_k N(z; μ_k, Σ_k).

    Args:
        components: Number of Gaussians, K.
        covariance: Form of Σ_k, as scikit-learn calls it.
        reg_covar: Added to the variances.
        iterations: Steps of expectation-maximisation at most.
    """

    weights: Tensor
    means: Tensor
    roots: Tensor

    def __init__(self, components: int, covariance: Covariance, reg_covar: float, iterations: int) -> None:
        super().__init__()
        self.components, self.covariance, self.reg_covar = components, covariance, reg_covar
        self.iterations = iterations
        self.register_buffer("weights", torch.empty(0))  # (K,)
        self.register_buffer("means", torch.empty(0))  # (K, D)
        self.register_buffer("roots", torch.empty(0))  # Cholesky factors of Σ_k, (K, D, D)

    def estimate(self, z: Tensor, seed: int, whose: str) -> None:
        """Expectation-maximisation from k-means, by scikit-learn."""
        from sklearn.exceptions import ConvergenceWarning  # scipy comes with it
        from sklearn.mixture import GaussianMixture

        least = max(self.components, 2)
        if len(z) < least:
            raise ConfigError(
                f"{whose} has {len(z)} training samples, too few for {self.components} components: lower "
                "--sampler.components, or fit without --condition."
            )
        mixture = GaussianMixture(
            self.components,
            covariance_type=self.covariance,
            reg_covar=self.reg_covar,
            max_iter=self.iterations,
            random_state=seed % 2**32,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a few steps short of the optimum is a density, too
            mixture.fit(z.double().cpu().numpy())
        dim = z.shape[1]
        full = {
            "full": lambda s: s,
            "tied": lambda s: s[None].repeat(self.components, 0),
            "diag": lambda s: s[:, :, None] * np.eye(dim),
            "spherical": lambda s: s[:, None, None] * np.eye(dim),
        }[self.covariance](mixture.covariances_)
        found = {"weights": mixture.weights_, "means": mixture.means_, "roots": np.linalg.cholesky(full)}
        for name, value in found.items():
            setattr(self, name, torch.from_numpy(value).to(z))

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density in nats, (B,), of latents, (B, D)."""
        gaps = (z[None] - self.means[:, None]).mT  # (K, D, B)
        squared = torch.linalg.solve_triangular(self.roots, gaps, upper=False).square().sum(1)
        half_log_det = self.roots.diagonal(dim1=1, dim2=2).log().sum(1, keepdim=True)
        log_p = -0.5 * (squared + z.shape[1] * log(2 * pi)) - half_log_det
        return (log_p + self.weights.log()[:, None]).logsumexp(0)

    def draw(self, n: int, temperature: float) -> Tensor:
        """n latents, (n, D)."""
        if not n:
            return self.means.new_empty(0, self.means.shape[1])
        k = self.weights.multinomial(n, replacement=True)
        noise = torch.randn(n, self.means.shape[1], device=k.device, dtype=self.means.dtype)
        return self.means[k] + temperature * torch.einsum("nij,nj->ni", self.roots[k], noise)


class GMMSampler(EstimatedSampler):
    """Mixture of Gaussians over latents, by expectation-maximisation; with classes, one mixture each.

    Args:
        latent_dim: Number of latents, D.
        condition_shape: () is the number of a class, None is no condition.
        num_classes: Number of classes where the condition is one.
        components: Number of Gaussians, of each class where there are some.
        covariance_type: Each has a covariance of its own (full), one that they share (tied), one variance per latent
            (diag), or one for all (spherical).
        reg_covar: Added to the variances of latents, in units of the variance of all.
        iterations: Steps of expectation-maximisation at most.

    Raises:
        ConfigError: A setting is out of range.

    Reference:
        Ghosh et al., "From Variational to Deterministic Autoencoders", ICLR 2020. https://arxiv.org/abs/1903.12436
    """

    def __init__(
        self,
        latent_dim: int,
        condition_shape: Shape | None = None,
        num_classes: int = 0,
        components: int = 10,
        covariance_type: Covariance = "full",
        reg_covar: float = 1e-3,
        iterations: int = 200,
    ) -> None:
        for name, size in (("components", components), ("iterations", iterations)):
            if size < 1:
                raise ConfigError(f"{name} is {size}: set --sampler.{name} to 1 or more.")
        if covariance_type not in get_args(Covariance):
            raise ConfigError(f"covariance_type is {covariance_type!r}: choose {', '.join(get_args(Covariance))}.")
        if not 0 <= reg_covar < float("inf"):
            raise ConfigError(f"reg_covar is {reg_covar}: set --sampler.reg_covar to 0 or more.")
        self.settings = (components, covariance_type, reg_covar, iterations)
        super().__init__(latent_dim, condition_shape, num_classes)

    def one(self) -> Mixture:
        """Build a mixture."""
        components, covariance, reg_covar, iterations = self.settings
        return Mixture(components, covariance, reg_covar, iterations)
