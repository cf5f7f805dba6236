"""Errors of reconstructions and probes of embeddings, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from lit_ae.errors import DataError
from lit_ae.metrics import knn_accuracy, linear_probe, mse, psnr, ssim

RANGE = (-1.0, 1.0)


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.rand(*shape, generator=generator) - 1
    return (x + 0.2 * torch.randn(*shape, generator=generator)).clamp(-1, 1), x


@pytest.mark.parametrize("shape", [(6, 3, 16, 16), (6, 9), (6, 5, 2)])
def test_mse_and_psnr_are_their_definitions(shape: tuple[int, ...]) -> None:
    made, x = pair(*shape)
    errors = (made - x).square().flatten(1).mean(1)
    assert mse(made, x) == pytest.approx(errors.mean().item())
    torch.testing.assert_close(psnr(made, x, RANGE), 10 * (4 / errors).log10())
    torch.testing.assert_close(psnr(255 * made, 255 * x, (-255, 255)), psnr(made, x, RANGE))


def test_what_is_not_observed_does_not_count() -> None:
    made, x = pair(6, 9)
    mask = torch.rand(6, 9, generator=torch.Generator().manual_seed(1)) < 0.5
    expected = (made - x).square()[mask].mean().item()
    assert mse(made, torch.where(mask, x, torch.nan), mask) == pytest.approx(expected)
    rows = mask[:, :1]
    assert mse(made, x, rows) == pytest.approx((made - x).square()[rows[:, 0]].mean().item())
    with pytest.raises(DataError, match="No element is observed"):
        mse(made, x, torch.zeros_like(mask))


def similarity(made: Tensor, x: Tensor, window: int, sigma: float, span: float) -> Tensor:
    """Wang et al. 2004, eq. 13, averaged over the picture, which is mirrored at its edges."""
    steps = torch.arange(window) - window // 2
    line = (-(steps**2) / (2 * sigma**2)).exp()
    kernel = (torch.outer(line, line) / line.sum() ** 2).expand(x.shape[1], 1, -1, -1)

    def mean(of: Tensor) -> Tensor:
        of = F.pad(of, (window // 2,) * 4, mode="reflect")
        return F.conv2d(of, kernel, groups=x.shape[1])

    one, two = mean(made), mean(x)
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    spread = mean(made**2) - one**2 + mean(x**2) - two**2
    shared = mean(made * x) - one * two
    value = (2 * one * two + c1) * (2 * shared + c2) / ((one**2 + two**2 + c1) * (spread + c2))
    return value.flatten(1).mean(1)


@pytest.mark.parametrize(
    ("side", "window", "sigma"), [(20, 11, 1.5), (11, 11, 5 / 3.5), (8, 7, 3 / 3.5), (3, 3, 1 / 3.5)]
)
def test_ssim_is_its_definition_on_pictures_of_any_size(side: int, window: int, sigma: float) -> None:
    made, x = pair(5, 3, side, side + 2)
    found = ssim(made, x, RANGE)
    torch.testing.assert_close(found, similarity(made + 1, x + 1, window, sigma, 2.0), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(ssim(x, x, RANGE), torch.ones(5))
    assert found.max() < 0.999


def test_ssim_agrees_with_torchmetrics() -> None:
    made, x = (part / 2 + 0.5 for part in pair(5, 3, 32, 32))
    reference = structural_similarity_index_measure(made, x, data_range=1.0)
    assert ssim(made, x, (0, 1)).mean().item() == pytest.approx(float(reference), abs=1e-6)
    assert ssim(made[:1], x[:1], (0, 1)).shape == psnr(made[:1], x[:1], (0, 1)).shape == (1,)


@pytest.mark.parametrize("shape", [(4, 9), (4, 1, 2, 8)])
def test_ssim_is_refused_where_there_are_no_pictures(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="no pictures"):
        ssim(*pair(*shape), RANGE)


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, y = (torch.from_numpy(part) for part in load_digits(return_X_y=True))
    return x[:1000].float(), y[:1000], x[1000:1300].float(), y[1000:1300]


@pytest.mark.parametrize("k", [1, 5])
def test_neighbours_vote(k: int) -> None:
    z_train, y_train, z, y = digits()
    near = torch.cdist(z.double(), z_train.double()).topk(k, largest=False).indices
    votes = F.one_hot(y_train[near], 10).sum(1)
    assert knn_accuracy(z_train, y_train, z, y, k) == pytest.approx((votes.argmax(1) == y).double().mean().item())
    assert knn_accuracy(z_train.unflatten(1, (1, 8, 8)), y_train, z.unflatten(1, (1, 8, 8)), y, k) > 0.9


def test_the_linear_probe_is_logistic_regression_in_any_unit() -> None:
    z_train, y_train, z, y = digits()
    mean, std = z_train.numpy().mean(0), z_train.numpy().std(0)
    std[std == 0] = 1
    model = LogisticRegression(max_iter=1000).fit((z_train.numpy() - mean) / std, y_train)
    expected = np.mean(model.predict((z.numpy() - mean) / std) == y.numpy())
    assert linear_probe(z_train, y_train, z, y) == pytest.approx(expected, abs=0.01)
    assert linear_probe(z_train / 1024, y_train, z / 1024, y) == pytest.approx(expected, abs=0.01)
    assert expected > 0.85


def test_labels_that_nobody_can_know_are_guessed() -> None:
    z_train, _, z, _ = digits()
    generator = torch.Generator().manual_seed(0)
    y_train, y = (torch.randint(4, (n,), generator=generator) for n in (1000, 300))
    assert knn_accuracy(z_train, y_train, z, y) == pytest.approx(0.25, abs=0.1)
    assert linear_probe(z_train, y_train, z, y) == pytest.approx(0.25, abs=0.1)


def test_user_mistakes_are_named() -> None:
    z_train, y_train, z, y = digits()
    with pytest.raises(DataError, match="two classes"):
        linear_probe(z_train, 0 * y_train, z, y)
    for probe in (knn_accuracy, linear_probe):
        with pytest.raises(DataError, match="not all finite"):
            probe(z_train / 0, y_train, z, y)  # type: ignore[operator]
        with pytest.raises(DataError, match="no labelled samples"):
            probe(z_train, y_train, z[:0], y[:0])  # type: ignore[operator]
    assert knn_accuracy(z_train[:3], y_train[:3], z, y) < 0.5
