"""The embedded digits as tensors, and training without a trainer: seconds matter where a claim is trained for."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from datamodules import Digits
from lit_ae.batch import Batch
from lit_ae.models.base import Autoencoder
from lit_ae.nn import MLPDecoder, MLPEncoder

Model = TypeVar("Model", bound=Autoencoder)

NETS: dict[str, Any] = {"encoder": partial(MLPEncoder, hidden=(128,)), "decoder": partial(MLPDecoder, hidden=(128,))}


def digits(split: str) -> tuple[Tensor, Tensor]:
    """Pictures in [0, 1], (N, 1, 8, 8), and labels of a split."""
    source, index = Digits().split(split)  # type: ignore[arg-type]
    samples = next(iter(source.fetch([index])))
    assert samples.y is not None
    return samples.x.float() / 16, samples.y


def train(model: Model, epochs: int, x: Tensor, c: Tensor | None = None, size: int = 64) -> Model:
    """Train on x, in an order that is always the same."""
    optimizer, order = model.build_optimizer(), torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=order).split(size):
            batch = Batch(x[rows], c=None if c is None else c[rows])
            optimizer.zero_grad()
            model.weigh(model.loss(batch, model(batch), model.coefficients), model.coefficients).backward()
            optimizer.step()
    return model


def mse(model: Autoencoder, x: Tensor) -> float:
    """Squared error of whole samples, on average."""
    return (model.reconstruct(x) - x).square().flatten(1).sum(1).mean().item()
