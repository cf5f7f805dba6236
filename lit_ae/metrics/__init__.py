"""What a trained model is measured by."""

from __future__ import annotations

from lit_ae.metrics.disentanglement import (
    DCI,
    beta_vae_accuracy,
    beta_vae_score,
    dci,
    factor_vae_accuracy,
    factor_vae_score,
    mig,
    modularity,
    sap,
)
from lit_ae.metrics.generation import KID, PRDC, fid, kid, prdc
from lit_ae.metrics.latents import active_units, mutual_information
from lit_ae.metrics.marginal import NLL, nll
from lit_ae.metrics.pictures import mse, psnr, ssim
from lit_ae.metrics.probes import knn_accuracy, linear_probe

__all__ = [
    "DCI", "KID", "NLL", "PRDC", "active_units", "beta_vae_accuracy", "beta_vae_score",
    "dci", "factor_vae_accuracy", "factor_vae_score", "fid", "kid", "knn_accuracy", "linear_probe", "mig",
    "modularity", "mse", "mutual_information", "nll", "prdc", "psnr", "sap", "ssim",
]  # fmt: skip
