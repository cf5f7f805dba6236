"""One row per variant: what the contract needs to build it small. A new variant adds its row here."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from datamodules import Digits
from lit_ae.batch import Batch, DataSpec
from lit_ae.models.adversarial_ae import AdversarialAE
from lit_ae.models.ae import AE
from lit_ae.models.autoencoder_kl import AutoencoderKL
from lit_ae.models.base import Autoencoder
from lit_ae.models.beta_vae import BetaVAE
from lit_ae.models.categorical_vae import CategoricalVAE
from lit_ae.models.ciwae import CIWAE
from lit_ae.models.contractive_ae import ContractiveAE
from lit_ae.models.cvae import CVAE
from lit_ae.models.denoising_ae import DenoisingAE
from lit_ae.models.ebm import EBM
from lit_ae.models.factor_vae import FactorVAE
from lit_ae.models.hierarchical_vae import HierarchicalVAE
from lit_ae.models.iwae import IWAE
from lit_ae.models.masked_autoencoder import MaskedAutoencoder
from lit_ae.models.miwae import MIWAE
from lit_ae.models.piwae import PIWAE
from lit_ae.models.sparse_ae import SparseAE
from lit_ae.models.target_prop import TargetProp
from lit_ae.models.vae import VAE
from lit_ae.models.vae_gan import VAEGAN
from lit_ae.models.vq_vae import VQVAE
from lit_ae.models.vqgan import VQGAN
from lit_ae.nn import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder, RecurrentDecoder, RecurrentEncoder
from lit_ae.nn.grid import GridDecoder, GridEncoder
from lit_ae.nn.patch_critic import PatchCritic
from lit_ae.nn.quantizers import FSQ, LFQ, EMAVectorQuantizer, ResidualVQ, VectorQuantizer
from lit_ae.nn.vit import ViTDecoder, ViTEncoder

SPEC = DataSpec(input_shape=(1, 8, 8), num_train=1294, num_classes=10, value_range=(0.0, 1.0))
CONDITIONAL = replace(SPEC, condition_shape=())
SMALL: dict[str, Any] = {
    "latent_dim": 4,
    "encoder": partial(MLPEncoder, hidden=(32,)),
    "decoder": partial(MLPDecoder, hidden=(32,)),
}

EBM_SMALL = {"latent_dim": 4, "decoder": SMALL["decoder"], "restarts": 2, "inference_steps": 3}
GRID: dict[str, Any] = {
    "latent_dim": 4,
    "grid_encoder": partial(GridEncoder, channels=(4, 8)),
    "grid_decoder": partial(GridDecoder, channels=(8, 4)),
}
LADDER: dict[str, Any] = {"latent_dim": 2, "channels": (4, 6), "blocks": (0, 2)}
DEEP: dict[str, Any] = {"latent_dim": 2, "channels": (4, 6, 6, 6), "blocks": (1, 1, 2, 3)}
VIT: dict[str, Any] = {
    "patch": 2,
    "vit_encoder": partial(ViTEncoder, width=16, depth=1),
    "vit_decoder": partial(ViTDecoder, width=8, depth=1, heads=2),
}
BOOK = partial(EMAVectorQuantizer, num_codes=16)
PATCHES = {"patch_critic": partial(PatchCritic, channels=(4,))}
CRITIC = partial(MLPEncoder, hidden=(16,))
AFFINE = partial(MLPDecoder, hidden=())
SIGMOID = partial(MLPEncoder, hidden=(), output=nn.Sigmoid)
CONV = partial(ConvDecoder, channels=(8, 4))
RECURRENT = partial(RecurrentEncoder, width=8)

VARIANTS: dict[str, tuple[type[Autoencoder], dict[str, Any]]] = {
    "AE": (AE, SMALL),
    "AE-linear": (AE, {"latent_dim": 4, "encoder": partial(MLPEncoder, hidden=()), "decoder": AFFINE}),
    "AE-conv": (AE, {"latent_dim": 4, "encoder": partial(ConvEncoder, channels=(4, 8)), "decoder": CONV}),
    "AE-recurrent": (AE, {"latent_dim": 4, "encoder": RECURRENT, "decoder": partial(RecurrentDecoder, width=8)}),
    "AE-overcomplete": (AE, SMALL | {"latent_dim": 80}),
    "SparseAE": (SparseAE, SMALL),
    "SparseAE-l1": (SparseAE, SMALL | {"penalty": "l1"}),
    "SparseAE-topk": (SparseAE, SMALL | {"penalty": "topk", "k": 2}),
    "DenoisingAE": (DenoisingAE, SMALL),
    "DenoisingAE-masking": (DenoisingAE, SMALL | {"noise": "masking"}),
    "DenoisingAE-salt": (DenoisingAE, SMALL | {"noise": "salt_and_pepper"}),
    "ContractiveAE": (ContractiveAE, SMALL),
    "ContractiveAE-closed": (ContractiveAE, SMALL | {"jacobian": "closed", "encoder": SIGMOID}),
    "ContractiveAE-hutchinson": (ContractiveAE, SMALL | {"jacobian": "hutchinson", "probes": 2}),
    "AdversarialAE": (AdversarialAE, SMALL | {"critic": CRITIC}),
    "AdversarialAE-every": (AdversarialAE, SMALL | {"critic": CRITIC, "every": {"autoencoder": 2}}),
    "FactorVAE": (FactorVAE, SMALL | {"critic": CRITIC}),
    "HierarchicalVAE": (HierarchicalVAE, LADDER),
    "HierarchicalVAE-deep": (HierarchicalVAE, DEEP | {"free_bits": 0.01}),
    "HierarchicalVAE-condition": (HierarchicalVAE, LADDER | {"spec": CONDITIONAL}),
    "CIWAE": (CIWAE, SMALL),
    "IWAE": (IWAE, SMALL),
    "IWAE-doubly": (IWAE, SMALL | {"gradient": "doubly"}),
    "MIWAE": (MIWAE, SMALL | {"samples": 2, "groups": 3}),
    "PIWAE": (PIWAE, SMALL | {"samples": 2, "groups": 3}),
    "CategoricalVAE": (CategoricalVAE, GRID),
    "CategoricalVAE-condition": (CategoricalVAE, GRID | {"spec": CONDITIONAL}),
    "MaskedAutoencoder": (MaskedAutoencoder, VIT),
    "MaskedAutoencoder-all": (MaskedAutoencoder, VIT | {"score": "all"}),
    "MaskedAutoencoder-none": (MaskedAutoencoder, VIT | {"score": "all", "mask_ratio": 0.0}),
    "MaskedAutoencoder-condition": (MaskedAutoencoder, VIT | {"spec": CONDITIONAL}),
    "VQVAE": (VQVAE, GRID | {"quantizer": BOOK}),
    "VQVAE-gradient": (VQVAE, GRID | {"quantizer": partial(VectorQuantizer, num_codes=16)}),
    "VQVAE-residual": (VQVAE, GRID | {"quantizer": partial(ResidualVQ, num_codes=16, depth=2)}),
    "VQVAE-FSQ": (VQVAE, GRID | {"quantizer": FSQ}),
    "VQVAE-LFQ": (VQVAE, GRID | {"quantizer": LFQ}),
    "VQVAE-condition": (VQVAE, GRID | {"quantizer": BOOK, "spec": CONDITIONAL}),
    "AutoencoderKL": (AutoencoderKL, GRID | PATCHES),
    "AutoencoderKL-condition": (AutoencoderKL, GRID | PATCHES | {"spec": CONDITIONAL, "game": "nonsaturating"}),
    "VQGAN": (VQGAN, GRID | PATCHES | {"quantizer": BOOK}),
    "VQGAN-FSQ": (VQGAN, GRID | PATCHES | {"quantizer": FSQ, "adaptive": False}),
    "VAE": (VAE, SMALL),
    "VAEGAN": (VAEGAN, SMALL | {"critic": CRITIC, "critic_features": 8}),
    "VAEGAN-condition": (VAEGAN, SMALL | {"spec": CONDITIONAL, "critic": CRITIC}),
    "VAE-free-bits": (VAE, SMALL | {"free_bits": 0.1}),
    "BetaVAE": (BetaVAE, SMALL),
    "BetaVAE-capacity": (BetaVAE, SMALL | {"capacity": 5.0}),
    "CVAE": (CVAE, SMALL | {"spec": CONDITIONAL, "condition_features": 3}),
    "EBM": (EBM, EBM_SMALL),
    "EBM-importance": (EBM, EBM_SMALL | {"inference": "importance", "inference_samples": 8}),
    "EBM-grid": (EBM, EBM_SMALL | {"latent_dim": 2, "inference": "grid", "grid_points": 5}),
    "EBM-langevin": (EBM, EBM_SMALL | {"inference": "langevin", "inference_samples": 4}),
    "EBM-condition": (EBM, EBM_SMALL | {"spec": CONDITIONAL}),
    "TargetProp": (TargetProp, SMALL),
    "TargetProp-condition": (TargetProp, SMALL | {"spec": CONDITIONAL}),
}


def build(name: str) -> Autoencoder:
    """A small model of a variant, with fresh parameters."""
    cls, arguments = VARIANTS[name]
    return cls(**{"spec": SPEC, **arguments})


def digits(name: str, batch_size: int) -> Digits:
    """The embedded digits as a variant wants them."""
    _, arguments = VARIANTS[name]
    return Digits(batch_size=batch_size, condition="label" if "spec" in arguments else None)


def batch_of(name: str, n: int, seed: int = 0) -> Batch:
    """Noise in [0, 1], with labels, and with conditions where the variant wants them."""
    _, arguments = VARIANTS[name]
    x = torch.rand(n, *SPEC.input_shape or (), generator=torch.Generator().manual_seed(seed))
    y = torch.arange(n) % 10
    return Batch(x, y, y if "spec" in arguments else None)
