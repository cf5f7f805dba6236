"""Small densities over latents, one of each kind."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from lit_ae.samplers.base import Estimator
from lit_ae.samplers.gmm import GMMSampler
from lit_ae.samplers.knn import KNNSampler
from lit_ae.samplers.latents import LatentSampler
from lit_ae.samplers.maf import MAFSampler
from lit_ae.samplers.spline import SplineSampler
from lit_ae.samplers.two_stage import TwoStageSampler

CLASSES = {
    "gmm": partial(GMMSampler, components=4),
    "knn": KNNSampler,
    "maf": partial(MAFSampler, transforms=2, width=16),
    "spline": partial(SplineSampler, transforms=2, width=16),
    "two_stage": partial(TwoStageSampler, width=64, samples=100),
}
each = pytest.mark.parametrize("kind", CLASSES)


def fitted(kind: str, values: Tensor, c: Tensor | None = None, epochs: int = 5, **settings: Any) -> LatentSampler:
    """A sampler of a kind, fitted to latents, (N, D), and perhaps their classes, (N,)."""
    torch.manual_seed(0)
    classes = 0 if c is None else int(c.max()) + 1
    shape = None if c is None else ()
    sampler: LatentSampler = CLASSES[kind](values.shape[1], condition_shape=shape, num_classes=classes, **settings)
    if isinstance(sampler, Estimator):
        sampler.estimate(values, c, seed=0)
        return sampler.eval()
    sampler.standardise(values.split(100))
    optimizer = torch.optim.AdamW(sampler.parameters(), 5e-3)
    for _ in range(4 * epochs if kind == "two_stage" and len(values) <= 600 else epochs):
        for rows in torch.randperm(len(values)).split(64):
            optimizer.zero_grad()
            (-sampler.bound(values[rows], None if c is None else c[rows]).mean()).backward()
            optimizer.step()
    return sampler.eval().requires_grad_(False)
