"""The plain autoencoder."""

from __future__ import annotations

from lit_ae.models.latent import PointLatent


class AE(PointLatent):
    """Autoencoder: reconstruct the input through a bottleneck.

    Minimises E[−log p(x|z)] at z = Enc(x). With the default likelihood, a Gaussian of σ² = ½, that is ‖x − x̂‖² plus
    a constant. Linear, convolutional, recurrent and over-complete autoencoders are this class with other networks.

    Reference:
        Hinton & Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", Science 2006.
    """
