"""Generated points lie where they should, and the test split is another draw."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from datamodules import Points
from lit_ae.batch import ConfigError

SHAPES = ["ellipse", "moons", "circles", "spiral"]


@pytest.mark.parametrize("shape", SHAPES)
def test_points_are_pairs_with_labels(shape: str) -> None:
    data = Points(shape=shape, n=400)
    classes = 2 if shape in ("moons", "circles") else 8
    assert (data.spec.input_shape, data.spec.num_train, data.spec.num_classes) == ((2,), 360, classes)
    train, test = data.load("train"), data.load("test")
    assert (train.x.shape, test.x.shape) == ((400, 2), (100, 2))
    assert train.x.dtype == torch.float32
    assert train.x.mean(0).abs().max() < 0.3
    assert train.x.abs().max() < 2
    assert train.y is not None
    assert (train.y.bincount() > 400 / classes / 2).all()
    batch = next(iter(data.val_dataloader()))
    assert batch.y is not None
    assert not batch.y.is_floating_point()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_points_depend_on_their_own_seed_alone(shape: str) -> None:
    first, again, other = (
        Points(shape=shape, seed=seed, points_seed=points) for seed, points in ((0, 0), (1, 0), (0, 1))
    )
    assert torch.equal(first.load("train").x, again.load("train").x)
    assert not torch.equal(first.load("train").x, other.load("train").x)
    assert not torch.equal(first.load("train").x[:250], first.load("test").x)
    assert not torch.equal(first.partition(100)[1], again.partition(100)[1])


def test_without_noise_points_lie_on_their_curve() -> None:
    x, y, *_ = Points(shape="ellipse", noise=0, radii=(2.0, 0.5)).load("train")
    torch.testing.assert_close((x / torch.tensor([2.0, 0.5])).square().sum(1), torch.ones(1000))
    octant = torch.atan2(x[:, 1] / 0.5, x[:, 0] / 2).div(torch.pi / 4).floor().remainder(8).long()
    assert torch.equal(octant, y)
    radius = Points(shape="circles", noise=0).load("train").x.norm(dim=1)
    assert ((radius - 1).abs().minimum((radius - 0.5).abs()) < 1e-5).all()
    spiral = Points(shape="spiral", noise=0).load("train").x
    turns = (10 * spiral.norm(dim=1) - torch.atan2(spiral[:, 1], spiral[:, 0])) / (2 * torch.pi)
    assert ((turns - turns.round()).abs() < 1e-4).all()


def test_noise_has_the_deviation_that_is_asked_for() -> None:
    clean, noisy = (Points(shape="ellipse", n=10_000, noise=noise).load("train").x for noise in (0.0, 0.2))
    assert (noisy - clean).std().item() == pytest.approx(0.2, rel=0.03)


@pytest.mark.parametrize(
    "arguments", [{"shape": "square"}, {"n": 4}, {"noise": -1.0}, {"noise": float("nan")}, {"radii": (1.0, 0.0)}]
)
def test_bad_arguments_end_in_one_sentence(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"--data.{next(iter(arguments))} is"):
        Points(**arguments)
