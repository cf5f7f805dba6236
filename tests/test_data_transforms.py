"""Transforms do to a batch what their formula says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from datamodules import transforms as t
from lit_ae.batch import ConfigError


@pytest.fixture
def generator() -> Generator:
    return Generator().manual_seed(0)


@pytest.fixture
def pictures(generator: Generator) -> Tensor:
    return torch.rand(5, 3, 7, 9, generator=generator)


@pytest.mark.parametrize(("size", "shape"), [(9, (3, 9, 9)), ((8, 12), (3, 8, 12)), ((7, 9), (3, 7, 9))])
def test_pad_surrounds_with_zeros(
    size: int | tuple[int, int], shape: tuple[int, ...], pictures: Tensor, generator: Generator
) -> None:
    pad = t.Pad(size)
    padded = pad(pictures, generator)
    top, left = (shape[1] - 7) // 2, (shape[2] - 9) // 2
    assert tuple(padded.shape[1:]) == shape == pad.output_shape((3, 7, 9))
    assert torch.equal(padded[..., top : top + 7, left : left + 9], pictures)
    assert padded.sum() == pytest.approx(pictures.sum().item(), rel=1e-5)


@pytest.mark.parametrize("size", [4, (14, 18), (5, 20)])
def test_resize_keeps_a_constant_picture_constant(size: int | tuple[int, int], generator: Generator) -> None:
    resize = t.Resize(size)
    resized = resize(torch.full((2, 1, 7, 9), 0.25), generator)
    assert tuple(resized.shape[1:]) == resize.output_shape((1, 7, 9))
    torch.testing.assert_close(resized, torch.full_like(resized, 0.25))


def test_resize_by_half_averages(generator: Generator) -> None:
    board = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(8, 8)[None, None]
    assert t.Resize(8)(board, generator).sub(0.5).abs().max() < 0.05


def test_flip_mirrors_about_half_of_the_pictures_whole(generator: Generator) -> None:
    pictures = torch.rand(2000, 1, 2, 3)
    flipped = t.Flip()(pictures, generator)
    mirrored = (flipped == pictures.flip(-1)).flatten(1).all(1)
    kept = (flipped == pictures).flatten(1).all(1)
    assert torch.all(mirrored ^ kept)
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(t.Flip(1.0)(pictures, generator), pictures.flip(-1))
    assert t.Flip.training_only


def test_static_binarisation_is_a_threshold(pictures: Tensor, generator: Generator) -> None:
    assert torch.equal(t.StaticBinarize(0.3)(pictures, generator), (pictures > 0.3).float())


def test_dynamic_binarisation_has_the_grey_value_as_its_mean(generator: Generator) -> None:
    grey = torch.linspace(0, 1, 11)
    drawn = t.DynamicBinarize()(grey.expand(20_000, 11), generator)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(drawn.mean(0), grey, atol=0.015, rtol=0)
    assert drawn[:, 0].sum() == 0
    assert drawn[:, -1].min() == 1


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_dequantised_values_fill_their_bins_evenly(levels: int, generator: Generator) -> None:
    k = torch.arange(levels).repeat(2000, 1)
    values = t.Dequantize(levels)(k / (levels - 1), generator)
    assert values.min() >= 0
    assert values.max() <= 1
    inside = values * levels - k
    assert inside.min() > -1e-4
    assert inside.max() < 1 + 1e-4
    assert inside.mean().item() == pytest.approx(0.5, abs=0.02)
    assert inside.var().item() == pytest.approx(1 / 12, abs=0.005)


def test_scale_maps_the_unit_interval(generator: Generator) -> None:
    scaled = t.Scale(-1, 3)(torch.tensor([[0.0, 0.5, 1.0]]), generator)
    assert scaled.tolist() == [[-1.0, 1.0, 3.0]]
    assert t.Scale(-1, 3).value_range(0, 1) == (-1, 3)


@pytest.mark.parametrize("transform", [t.DynamicBinarize(), t.Dequantize(), t.Flip()])
def test_noise_is_a_function_of_the_generator(transform: t.Transform, pictures: Tensor) -> None:
    first, again, other = (transform(pictures, Generator().manual_seed(seed)) for seed in (1, 1, 7))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert transform.random


@pytest.mark.parametrize(
    "use",
    [
        lambda: t.Pad(0),
        lambda: t.Resize((4, -1)),
        lambda: t.Flip(1.5),
        lambda: t.Dequantize(1),
        lambda: t.Scale(1, 1),
        lambda: t.Pad(5).output_shape((1, 8, 8)),
        lambda: t.Resize(5).output_shape((8,)),
        lambda: t.Flip().output_shape((8, 8)),
        lambda: t.StaticBinarize().value_range(-1, 1),
        lambda: t.DynamicBinarize().value_range(0, 255),
        lambda: t.Dequantize().value_range(-0.1, 1),
        lambda: t.Scale().value_range(0, 2),
    ],
)
def test_what_does_not_fit_is_refused(use: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        use()
