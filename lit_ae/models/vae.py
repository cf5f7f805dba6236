"""The variational autoencoder."""

from __future__ import annotations

from lit_ae.models.latent import VectorVariational


class VAE(VectorVariational):
    """Variational autoencoder: a Gaussian posterior, trained on the ELBO.

    Minimises −ELBO = E_q[−log p(x|z)] + KL(q(z|x)‖p(z)), distortion plus rate (eq. 3).

    Reference:
        Kingma & Welling, "Auto-Encoding Variational Bayes", ICLR 2014. https://arxiv.org/abs/1312.6114
    """
