"""VQGAN: vector quantisation whose reconstructions look right."""

from __future__ import annotations

from torch import Tensor

from lit_ae.batch import Batch
from lit_ae.models.base import Coefficients
from lit_ae.models.output import Output
from lit_ae.models.perceptual_gan import PatchAdversarial
from lit_ae.models.vq_vae import VQVAE


class VQGAN(PatchAdversarial, VQVAE):
    """VQ-VAE that a perceptual distance and a critic of patches keep sharp, so that fewer codes do.

    Minimises the VQ-VAE's loss + `perceptual` + λ · `adversarial`, against a critic that tells patches of data from
    those of reconstructions (eq. 4 to 7). The paper's networks have attention and residual blocks, its distortion is
    the plain sum of absolute differences, `likelihood` Laplace, and its perceptual distance is LPIPS, which needs
    weights (see `perceptual_distance`).

    Reference:
        Esser, Rombach & Ommer, "Taming Transformers for High-Resolution Image Synthesis", CVPR 2021. https://arxiv.org/abs/2012.09841
    """

    def own_loss(self, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """Distortion in nats, (B,), and what the quantizer adds."""
        return VQVAE.loss(self, batch, out, coef)
