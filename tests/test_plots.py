"""Plots as pure functions: planes, ellipses, tiles, walks."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.patches import Ellipse
from torch import nn

from lit_ae.callbacks.figures import MAX_BYTES, png
from lit_ae.callbacks.latent_visualization import between, walks
from lit_ae.plots import (
    Plane,
    decoded_grid,
    interpolations,
    kl_bars,
    latent_scatter,
    reconstructions,
    samples,
    traversals,
)
from lit_ae.plots.samples import shown
from lit_ae.plots.tiles import montage


def test_the_plane_of_two_latents_is_the_latents() -> None:
    z = torch.randn(10, 2)
    plane = Plane.fit(z)
    np.testing.assert_allclose(plane.project(z), z.numpy())
    assert plane.labels == ("z₁", "z₂")


def test_principal_components_project_lift_and_turn_covariances() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(500, 4, generator=generator) * torch.tensor([3.0, 0.1, 2.0, 0.1]) + 5
    plane = Plane.fit(z)
    points = plane.project(z)
    np.testing.assert_allclose(plane.project(plane.lift(points)), points, atol=1e-5)
    assert abs(plane.axes[0, 0]) > 0.99
    assert abs(plane.axes[1, 2]) > 0.99
    np.testing.assert_allclose(
        plane.covariance(torch.tensor([[1.0, 9.0, 0.5, 9.0]]))[0].diagonal(), [1, 0.25], rtol=0.5
    )
    assert plane.labels[0].startswith("PC 1 (6")


def test_ellipses_are_one_standard_deviation() -> None:
    figure = latent_scatter(torch.tensor([[0.0, 0.0], [3.0, 1.0]]), None, torch.tensor([[1.0, 2.0], [0.5, 0.25]]))
    patches = [patch for patch in figure.axes[0].patches if isinstance(patch, Ellipse) and not patch.get_fill()]
    assert [sorted((patch.width, patch.height)) for patch in patches] == [[2.0, 4.0], [0.5, 1.0]]


def test_labels_are_classes_or_a_scale() -> None:
    z = torch.randn(12, 2)
    classes = latent_scatter(z, torch.arange(12) % 3, names=["cat", "dog", "emu"])
    assert [text.get_text() for text in classes.legends[0].get_texts()] == ["cat", "dog", "emu"]
    scale = latent_scatter(z, torch.rand(12))
    assert not scale.legends
    assert len(scale.axes) == 2  # the second is the colour bar


def test_montage_puts_pictures_in_reading_order() -> None:
    x = np.arange(4, dtype=float).reshape(2, 2, 1, 1, 1).repeat(64, 3).repeat(64, 4) / 3
    page, middles, centres = montage(x, (0, 1))
    values = [[page[int(r), int(c)] for c in centres] for r in middles]
    np.testing.assert_allclose(values, [[0, 1 / 3], [2 / 3, 1]])


def test_colour_stays_and_other_channels_are_averaged() -> None:
    assert montage(np.random.rand(1, 2, 3, 4, 4), (0, 1))[0].shape[2] == 3
    page, _, _ = montage(np.stack([np.zeros((4, 4)), np.ones((4, 4))])[None, None], (0, 1))
    np.testing.assert_allclose(page, 0.5)


def test_every_plot_stays_small_and_leaves_pyplot_alone() -> None:
    import matplotlib.pyplot as plt

    faces = (
        nn.functional.interpolate(torch.rand(60, 3, 4, 4), (64, 64), mode="bicubic").clamp(0, 1).unflatten(0, (6, 10))
    )
    figures = [
        decoded_grid(faces, list(range(10)), list(range(6)), ("z₁", "z₂")),
        reconstructions(faces[0], faces[1]),
        samples(faces[0]),
        traversals(faces[:3], list(range(10)), [0, 1, 2]),
        interpolations(faces[:3], faces[:3, :2]),
        latent_scatter(torch.randn(2000, 8), torch.arange(2000) % 10, torch.rand(2000, 8)),
        kl_bars(torch.rand(64)),
    ]
    assert max(len(png(figure)) for figure in figures) <= MAX_BYTES
    assert not plt.get_fignums()


def test_walks_move_one_latent_by_its_own_deviation() -> None:
    z = torch.tensor([[0.0, 4.0, 1.0], [2.0, -4.0, 1.0]])
    codes, offsets, dims = walks(z, torch.tensor([[0.0, 3.0, 1.0]]).expand(2, 3), most=2)
    assert dims.tolist() == [1, 0]  # the most active first
    torch.testing.assert_close(codes[0, :, 1], 5 * offsets)  # variance 16 of the means and 9 about them
    torch.testing.assert_close(codes[1, :, 0], 1 + offsets)
    assert (codes[0, :, 0] == 1).all()


def test_interpolation_ends_at_its_ends_and_great_circles_keep_the_norm() -> None:
    a, b = torch.tensor([[3.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 3.0], [2.0, 2.0]])
    line = between(a, b, 5)
    torch.testing.assert_close(line[:, [0, 2, 4]], torch.stack([a, (a + b) / 2, b], 1))
    arc = between(a, b, 5, spherical=True)
    torch.testing.assert_close(arc[:, [0, 4]], torch.stack([a, b], 1))
    torch.testing.assert_close(arc[0].norm(dim=-1), torch.full((5,), 3.0))
    torch.testing.assert_close(arc[1], line[1])  # parallel: no circle


# ---- where they go


def test_no_line_leads_from_one_value_of_a_sequence_to_the_next() -> None:
    x = shown(np.arange(12.0).reshape(2, 2, 3), 1)
    assert x.shape == (2, 7)
    np.testing.assert_array_equal(x[0], [0, 1, 2, np.nan, 3, 4, 5])
    assert shown(np.zeros((2, 1, 3)), 1).shape == (2, 3)
    assert shown(np.zeros((2, 1, 3, 3)), 1).shape == (2, 1, 3, 3)
