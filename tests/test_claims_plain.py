"""What a course says of linear, dense, convolutional and recurrent autoencoders, trained for on real data."""

from __future__ import annotations

from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR

from datamodules import MNIST, Digits
from digits_for_tests import NETS, digits, mse, train
from lit_ae.batch import Batch, DataSpec
from lit_ae.models.ae import AE
from lit_ae.nn import (
    ConvDecoder,
    ConvEncoder,
    MLPDecoder,
    MLPEncoder,
    RecurrentDecoder,
    RecurrentEncoder,
)
from lit_ae.optim import FusedAdam

LINEAR: dict[str, Any] = {"encoder": partial(MLPEncoder, hidden=()), "decoder": partial(MLPDecoder, hidden=())}
RECURRENT: dict[str, Any] = {
    "encoder": partial(RecurrentEncoder, width=32),
    "decoder": partial(RecurrentDecoder, width=32),
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def weighed(model: AE, batch: Batch) -> Tensor:
    return model.weigh(model.loss(batch, model(batch), model.coefficients), model.coefficients)


def decayed(model: AE, data: Batch, epochs: int, size: int, clip: float = inf) -> AE:
    """Train with a learning rate that ends at zero."""
    optimizer, order = model.build_optimizer(), torch.Generator().manual_seed(0)
    scheduler = CosineAnnealingLR(optimizer, epochs * -(-len(data.x) // size))
    for _ in range(epochs):
        for rows in torch.randperm(len(data.x), generator=order).split(size):
            batch = Batch(data.x[rows], mask=None if data.mask is None else data.mask[rows])
            optimizer.zero_grad()
            weighed(model, batch).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            scheduler.step()
    return model


def pca_error(pca: PCA, x: Tensor) -> float:
    """Squared error of whole samples, on average, after projection on the components."""
    flat = x.flatten(1).numpy()
    return float(np.square(flat - pca.inverse_transform(pca.transform(flat))).sum(1).mean())


def test_a_linear_autoencoder_finds_the_subspace_of_the_first_principal_components() -> None:
    x, unseen = (digits(split)[0].double() for split in ("train", "test"))
    model, batch = AE(spec=Digits().spec, latent_dim=8, **LINEAR).double(), Batch(x)
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=1000, history_size=20, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = weighed(model, batch)
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]
    pca = PCA(8, svd_solver="full").fit(x.flatten(1).numpy())
    at_zero, *at_unit = model.decode(torch.cat([torch.zeros(1, 8), torch.eye(8)]).double()).mean.detach().flatten(1)
    angles = subspace_angles((torch.stack(at_unit) - at_zero).T.numpy(), pca.components_.T)
    assert np.rad2deg(angles).max() < 1
    for pictures in (x, unseen):
        assert mse(model, pictures) == pytest.approx(pca_error(pca, pictures), rel=1e-3)
    mean = x.mean(0, keepdim=True)
    torch.testing.assert_close(model.reconstruct(mean), mean, rtol=0, atol=1e-3)  # the biases have centred the data


def test_a_dense_autoencoder_beats_pca_at_equal_size_and_its_error_falls_with_the_size() -> None:
    (x, _), (unseen, _) = digits("train"), digits("test")
    error = {m: mse(train(AE(spec=Digits().spec, latent_dim=m, **NETS), 40, x), unseen) for m in (2, 8, 32)}
    for m in (2, 8):
        assert error[m] < 0.8 * pca_error(PCA(m).fit(x.flatten(1).numpy()), unseen)
    assert error[32] < 0.5 * error[8]
    assert error[8] < 0.6 * error[2]


@pytest.mark.slow
def test_a_convolutional_autoencoder_needs_fewer_parameters_than_a_dense_one(real_data: Path) -> None:
    data = MNIST(root=str(real_data))
    pictures = []
    for split, n in (("train", 10_000), ("test", 2000)):
        source, index = data.split(split)  # type: ignore[arg-type]
        pictures.append(next(iter(source.fetch([index[:n]]))).x.float() / 255)
    x, unseen = pictures
    pairs: dict[str, dict[str, Any]] = {
        "dense": {"encoder": partial(MLPEncoder, hidden=(256,)), "decoder": partial(MLPDecoder, hidden=(256,))},
        "conv": {
            "encoder": partial(ConvEncoder, channels=(16, 32, 32)),
            "decoder": partial(ConvDecoder, channels=(32, 32, 16)),
        },
    }
    parameters, error = {}, {}
    for name, nets in pairs.items():
        torch.manual_seed(0)
        model = AE(spec=data.spec, latent_dim=16, optimizer=partial(FusedAdam, lr=4e-3), **nets)
        parameters[name] = sum(parameter.numel() for parameter in model.parameters())
        error[name] = mse(decayed(model, Batch(x), 5, 128), unseen)
    assert parameters["conv"] < parameters["dense"] / 6
    assert error["conv"] < error["dense"] < 20


def waves(n: int, seed: int, steps: int = 30, padding: float = 0.0) -> Batch:
    """Sines of random frequency and phase, 10 to 30 steps long."""
    generator = torch.Generator().manual_seed(seed)
    length = torch.randint(10, 31, (n, 1, 1), generator=generator)
    frequency, phase = torch.rand(2, n, 1, 1, generator=generator)
    t = torch.arange(steps)
    x = ((0.2 + 0.4 * frequency) * t + 2 * torch.pi * phase).sin()
    return Batch(x.where(t < length, padding), mask=t < length)


@pytest.mark.slow
def test_a_recurrent_autoencoder_rebuilds_unseen_sequences_of_differing_length() -> None:
    spec = DataSpec(input_shape=(1, 30))
    model = AE(spec=spec, latent_dim=4, optimizer=partial(FusedAdam, lr=2e-2), **RECURRENT)
    decayed(model, waves(1000, seed=0), 40, 50, clip=1.0)
    unseen = waves(500, seed=1)
    assert unseen.mask is not None
    error = (model.reconstruct(unseen.x, mask=unseen.mask) - unseen.x).square()
    length = unseen.mask.sum((1, 2))
    for chosen in (length > 0, length < 15, length > 25):
        seen = unseen.mask & chosen[:, None, None]
        assert error[seen].mean() < 0.04 * unseen.x[seen].var()


def test_padding_changes_nothing_in_training() -> None:
    weights = []
    for steps, padding in ((30, 0.0), (50, 9.0)):
        torch.manual_seed(0)
        model = AE(spec=DataSpec(input_shape=(1, steps)), latent_dim=4, **RECURRENT).double()
        data = waves(100, 0, steps, padding)
        decayed(model, data._replace(x=data.x.double()), 3, 20)
        weights.append(model.state_dict())
    torch.testing.assert_close(weights[1], weights[0], rtol=0, atol=1e-9)
