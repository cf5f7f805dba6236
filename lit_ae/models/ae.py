"""The plain autoencoder."""

from __future__ import annotations

from torch import Tensor

from lit_ae.batch import Batch
from lit_ae.models.base import Coefficients
from lit_ae.models.latent import PointLatent
from lit_ae.models.output import Output


class AE(PointLatent):
    """Autoencoder: reconstruct the input through a bottleneck.

    Minimises E[−log p(x|z)] at z = Enc(x). With the default likelihood, a Gaussian of σ² = ½, that is ‖x − x̂‖² plus
    a constant.

    Reference:
        Hinton & Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", Science 2006.
    """

    def loss(self, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """Distortion in nats, (B,)."""
        return {"distortion": -out.p.log_prob(batch.x).mean(0)}
