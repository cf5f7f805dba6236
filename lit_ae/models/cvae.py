"""The conditional variational autoencoder."""

from __future__ import annotations

from typing import Any

from lit_ae.errors import ConfigError
from lit_ae.models.latent import VectorVariational


class CVAE(VectorVariational):
    """Conditional VAE: encoder and decoder see a class, a vector or an embedding beside their input.

    Minimises −ELBO(x|c) = E_q[−log p(x|z, c)] + KL(q(z|x, c)‖p(z)), with a prior that does not depend on c, so that
    the latent holds what the condition does not say (Sohn et al., eq. 5, with section 4.1's relaxed prior).

    Any variant with a vector of latents sees the condition where the data have one; this one insists on it.

    Reference:
        Sohn et al., "Learning Structured Output Representation using Deep Conditional Generative Models", NeurIPS 2015.
        Kingma et al., "Semi-Supervised Learning with Deep Generative Models", NeurIPS 2014. https://arxiv.org/abs/1406.5298
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.condition is None:
            raise ConfigError("CVAE needs data with a condition: add --data.condition label, or choose --model VAE.")
