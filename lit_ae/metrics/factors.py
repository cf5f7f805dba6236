"""Latents and known factors as the disentanglement metrics take them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lit_ae.errors import DataError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def prepared(z: Tensor, factors: Tensor, least: int = 1) -> tuple[Floats, Integers]:
    """Latents, (N, D), and those factors that vary, (N, F), as arrays; the values of each factor become 0, 1, ....

    Args:
        z: Latents, (N, *D).
        factors: Known factors, (N, F) or (N,).
        least: Number of factors that the metric needs.

    Raises:
        DataError: Samples are too few or not of one number, a latent is not finite, or factors do not vary.
    """
    latents = z.detach().flatten(1).cpu().double().numpy()
    known = factors.detach().cpu().reshape(len(factors), -1)
    if len(latents) != len(known) or len(latents) < 2:
        raise DataError(f"There are {len(latents)} latents and {len(known)} rows of factors: give as many of both.")
    if not np.isfinite(latents).all():
        raise DataError("The latents are not all finite: look at the data, or train with a lower learning rate.")
    values = [torch.unique(column, return_inverse=True)[1].numpy() for column in known.T]
    varying = [column for column in values if column.any()]
    if len(varying) < least:
        raise DataError(f"{len(varying)} of the factors vary: this metric needs {least} or more.")
    return latents, np.stack(varying, 1)


def standardized(latents: Floats) -> Floats:
    """Latents of mean 0 and deviation 1, whatever their unit; a constant one becomes 0."""
    centred = latents - latents.mean(0)
    centred[:, latents.max(0) == latents.min(0)] = 0  # a mean of equal numbers may be off by a rounding
    deviation = centred.std(0)
    return centred / np.where(deviation > 0, deviation, 1.0)


def split(count: int, seed: int, train: int = 10_000, test: int = 5_000) -> tuple[Integers, Integers]:
    """Which samples to fit on and which to judge by: two thirds and one third at random, at most so many."""
    order = np.random.default_rng(seed).permutation(count)
    border = max(1, count * 2 // 3)
    return order[:border][:train], order[border:][:test]
