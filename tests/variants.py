"""One row per variant: what the contract needs to build it small. A new variant adds its row here."""

from __future__ import annotations

from functools import partial
from typing import Any

from lit_ae.batch import DataSpec
from lit_ae.models.ae import AE
from lit_ae.models.base import Autoencoder
from lit_ae.models.beta_vae import BetaVAE
from lit_ae.models.vae import VAE
from lit_ae.nn import MLPDecoder, MLPEncoder

SPEC = DataSpec(input_shape=(1, 8, 8), num_train=1294, num_classes=10, value_range=(0.0, 1.0))
SMALL: dict[str, Any] = {
    "latent_dim": 4,
    "encoder": partial(MLPEncoder, hidden=(32,)),
    "decoder": partial(MLPDecoder, hidden=(32,)),
}

VARIANTS: dict[str, tuple[type[Autoencoder], dict[str, Any]]] = {
    "AE": (AE, SMALL),
    "VAE": (VAE, SMALL),
    "VAE-free-bits": (VAE, SMALL | {"free_bits": 0.1}),
    "BetaVAE": (BetaVAE, SMALL),
    "BetaVAE-capacity": (BetaVAE, SMALL | {"capacity": 5.0}),
}


def build(name: str) -> Autoencoder:
    """A small model of a variant, with fresh parameters."""
    cls, arguments = VARIANTS[name]
    return cls(spec=SPEC, **arguments)
