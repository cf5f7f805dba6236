"""AutoencoderKL: a grid of Gaussian latents whose reconstructions look right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.distributions import Distribution

from lit_ae.batch import Batch, Shape
from lit_ae.errors import ConfigError
from lit_ae.models.base import Coefficients
from lit_ae.models.generative import Variational
from lit_ae.models.output import Output
from lit_ae.models.perceptual_gan import PatchAdversarial
from lit_ae.posteriors import DiagonalGaussianHead, Posterior
from lit_ae.priors import Prior, StandardNormal


class AutoencoderKL(PatchAdversarial, Variational):
    """VAE with a grid of latents, sharp and hardly regularised: the first stage of latent diffusion.

    Minimises distortion + β rate + `perceptual` + λ · `adversarial`, with a rate in nats per sample, summed over the
    grid (appendix G). β is tiny: it keeps latents near unit scale, and leaves it to a density fitted afterwards to
    say which of them are likely, so that plain draws of the prior make poor pictures. `elbo` counts the whole rate.
    The paper's distortion is the plain sum of absolute differences, `likelihood` Laplace, and its perceptual distance
    is LPIPS, which needs weights (see `perceptual_distance`).

    Args:
        rate: Weight β of the rate. The paper's 10⁻⁶ weighs nats per sample beside sums over elements, as here.
        prior: Builds p(z) from the shape of one latent, (D, h, w).

    Reference:
        Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", CVPR 2022. https://arxiv.org/abs/2112.10752
        Kingma & Welling, "Auto-Encoding Variational Bayes", ICLR 2014. https://arxiv.org/abs/1312.6114
    """

    raw_channels = 2  # mean and log variance

    def __init__(
        self, *args: Any, rate: float = 1e-6, prior: Callable[[Shape], Prior] = StandardNormal, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if rate < 0:
            raise ConfigError(f"rate is {rate}: set --model.rate to a weight of 0 or more.")
        self.posterior, self.prior_net = DiagonalGaussianHead(self.latent_shape), prior(self.latent_shape)
        self.coefficients["rate"] = rate

    def encode(self, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Posterior:
        """q(z|x, c), batch (B,), event (D, h, w)."""
        return self.posterior(self.raw(x, c))

    def prior(self, c: Tensor | None = None) -> Distribution:
        """p(z), event (D, h, w)."""
        return self.prior_net(c)

    def own_loss(self, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """Distortion and rate in nats, (B,)."""
        return {"distortion": -out.p.log_prob(batch.x).mean(0), "rate": self.rate(out)}
