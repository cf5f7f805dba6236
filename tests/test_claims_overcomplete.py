"""A code wider than the input copies, unless something keeps it from that."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from datamodules import Digits
from digits_for_tests import digits, train
from lit_ae.models.ae import AE
from lit_ae.models.base import Autoencoder
from lit_ae.models.contractive_ae import ContractiveAE
from lit_ae.models.denoising_ae import DenoisingAE
from lit_ae.models.sparse_ae import SparseAE
from lit_ae.nn import MLPDecoder, MLPEncoder

SPEC = Digits().spec
WIDE: dict[str, Any] = {"spec": SPEC, "latent_dim": 256}  # four per pixel
RELU: dict[str, Any] = {
    "encoder": partial(MLPEncoder, hidden=(), output=nn.ReLU),
    "decoder": partial(MLPDecoder, hidden=()),
}
SIGMOID = RELU | {"encoder": partial(MLPEncoder, hidden=(), output=nn.Sigmoid)}
DEEP = {"encoder": partial(MLPEncoder, hidden=(256,)), "decoder": partial(MLPDecoder, hidden=(256,))}
EPOCHS = 40
NOISY = partial(DenoisingAE, **WIDE, **RELU)
REGULARISED = {  # each with what switches it off
    "top-k": (partial(SparseAE, penalty="topk", k=8, **WIDE, **RELU), {"k": 256}),
    "rate": (partial(SparseAE, **WIDE, **DEEP), {"sparsity": 0.0}),
    "l1": (partial(SparseAE, penalty="l1", sparsity=0.3, **WIDE, **RELU), {"sparsity": 0.0}),
    "gaussian": (NOISY, {"level": 0.0}),
    "masking": (partial(NOISY, noise="masking"), {"level": 0.0}),
    "salt and pepper": (partial(NOISY, noise="salt_and_pepper", level=0.2), {"level": 0.0}),
    "contractive": (partial(ContractiveAE, jacobian="closed", **WIDE, **SIGMOID), {"contraction": 0.0}),
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def lost(model: Autoencoder) -> tuple[float, float]:
    """Share of the variance that reconstructions lose: of unseen digits, and of noise with each pixel's own values."""
    x, _ = digits("train")
    held_out, _ = digits("test")
    generator = torch.Generator().manual_seed(0)
    columns = [column[torch.randperm(len(column), generator=generator)] for column in held_out.flatten(1).T]
    noise = torch.stack(columns, 1).reshape(held_out.shape)

    def share(pictures: Tensor) -> float:
        error = (model.reconstruct(pictures) - pictures).square().sum()
        return (error / (pictures - x.mean(0)).square().sum()).item()

    return share(held_out), share(noise)


def test_without_a_regulariser_it_copies_noise_as_it_copies_digits() -> None:
    x, _ = digits("train")
    of_digits, of_noise = lost(train(AE(**WIDE, **RELU), EPOCHS, x))
    assert of_digits < 0.01
    assert of_noise < 0.02


@pytest.mark.parametrize("name", REGULARISED)
def test_with_a_regulariser_it_keeps_digits_and_not_noise(name: str) -> None:
    x, _ = digits("train")
    build, off = REGULARISED[name]
    of_digits, of_noise = lost(train(build(), EPOCHS, x))
    assert of_digits < 0.35
    assert of_noise > 0.4
    assert of_noise - of_digits > 0.3
    torch.manual_seed(0)
    _, without = lost(train(build(**off), EPOCHS, x))
    assert of_noise > without + 0.15


def test_a_linear_probe_reads_more_from_the_wide_code_than_from_the_narrow_one() -> None:
    (x, y), (held_out, labels) = digits("train"), digits("test")
    scores = []
    for latent_dim in (4, 256):
        torch.manual_seed(0)
        model = train(AE(spec=SPEC, latent_dim=latent_dim, **DEEP), EPOCHS, x)
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(model.embed(x), y)
        scores.append(probe.score(model.embed(held_out), labels))
    assert scores[1] > 0.93
    assert scores[1] > scores[0] + 0.08
