"""Pictures of the lectures as pure functions: what is on them."""

from __future__ import annotations

import io

import numpy as np
import torch
from matplotlib.collections import EllipseCollection, PathCollection
from matplotlib.patches import Circle
from PIL import Image

from lit_ae.callbacks.figures import MAX_BYTES, png
from lit_ae.callbacks.gif import gif
from lit_ae.plots import View, bubbles, codes, error_lines, latent_maps, noises, rebuilt, restorations
from lit_ae.plots.concepts import Map, participation


def test_maps_share_axes_and_show_where_random_codes_lie() -> None:
    wide, narrow = 30 * torch.randn(50, 2), torch.randn(50, 2)
    maps = [Map(name, z, torch.rand(2, 5, 1, 8, 8)) for name, z in (("AE", wide), ("VAE", narrow))]
    figure = latent_maps(maps, torch.arange(50) % 3, ["cat", "dog", "emu"])
    upper = [axes for axes in figure.axes if axes.patches]
    assert [axes.get_title(loc="left") for axes in upper] == ["AE", "VAE"]
    assert upper[0].get_xlim() == upper[1].get_xlim()
    for axes, each in zip(upper, maps, strict=True):
        shown = np.concatenate([np.asarray(dots.get_offsets()) for dots in axes.collections])
        assert sorted(shown[:, 0]) == sorted(np.asarray(each.z)[:, 0])
        (circle,) = axes.patches
        assert isinstance(circle, Circle)
        assert (circle.get_radius(), circle.center) == (2.0, (0.0, 0.0))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["cat", "dog", "emu"]


def test_random_codes_are_shown_in_the_greys_of_the_data() -> None:
    pages = []
    for value in (0.5, 2.0):
        figure = latent_maps([Map("AE", torch.randn(9, 2), torch.full((1, 1, 1, 8, 8), value))])
        pages.append(figure.axes[1].images[0].get_array()[0, 0])
    assert pages == [0.5, 1.0]


def test_bubbles_have_the_radius_of_one_standard_deviation() -> None:
    means = torch.tensor([[[0.0, 0.0], [0.1, 0.0]], [[3.0, 0.0], [0.0, -2.0]]])
    scales = torch.tensor([[[1.0, 1.0], [1.0, 1.0]], [[0.5, 0.25], [0.1, 0.2]]])
    figure = bubbles(["before", "after"], means, scales, torch.tensor([0, 1]))
    before, after = figure.axes
    assert before.get_xlim() == after.get_xlim()
    for axes, scale, mean in zip(figure.axes, scales, means, strict=True):
        outline = next(part for part in axes.collections if isinstance(part, EllipseCollection))
        sides = np.sort(np.stack([outline.get_widths(), outline.get_heights()], 1), 1)
        np.testing.assert_allclose(sides, np.sort(2 * scale.numpy(), 1), rtol=1e-5)
        np.testing.assert_allclose(outline.get_offsets(), mean, rtol=1e-5)
    assert [patch.get_radius() for patch in after.patches] == [1.0]
    assert not bubbles(["after"], means[1:], scales[1:], prior=False).axes[0].patches


def test_every_bubble_lies_within_the_view() -> None:
    means, scales = torch.randn(3, 20, 5) * 4, torch.rand(3, 20, 5)
    view = View.of(means, scales)
    left, right, bottom, top = view.extent
    points = view.plane.project(means.reshape(-1, 5))
    assert left < points[:, 0].min() < points[:, 0].max() < right
    assert bottom < points[:, 1].min() < points[:, 1].max() < top
    assert np.isclose(right - left, top - bottom)


def test_bubbles_without_classes_have_no_legend() -> None:
    means, scales = torch.randn(1, 6, 2), torch.rand(1, 6, 2)
    assert not bubbles(["after"], means, scales).legends
    assert not bubbles(["after"], means, scales, torch.rand(6)).legends
    assert len(bubbles(["after"], means, scales, torch.arange(6)).legends[0].get_texts()) == 6


def test_an_animation_holds_its_last_frame_and_stays_small() -> None:
    means = torch.randn(12, 60, 2, generator=torch.Generator().manual_seed(0))
    scales, y = torch.full_like(means, 0.2), torch.arange(60) % 10
    view = View.of(means, scales)
    frames = [bubbles([f"{i}"], means[i : i + 1], scales[i : i + 1], y, view=view) for i in range(12)]
    content = gif(frames)
    assert len(content) <= MAX_BYTES
    movie = Image.open(io.BytesIO(content))
    assert movie.n_frames == 12
    durations = []
    for i in range(12):
        movie.seek(i)
        durations.append(movie.info["duration"])
    assert durations[-1] >= 2000 > 250 > durations[0] >= 120
    assert movie.info["loop"] == 0


def test_rows_and_columns_are_labelled() -> None:
    x = torch.rand(4, 1, 8, 8)
    triptychs = restorations(x, [("gaussian, 0.3", x, "restored", x), ("masking, 0.5", x, "restored again", x)])
    assert labels(triptychs) == ["clean", "gaussian, 0.3", "restored", "masking, 0.5", "restored again"]
    assert labels(rebuilt(x, [("2 latents", x), ("8 latents", x)])) == ["original", "2 latents", "8 latents"]
    assert labels(noises(torch.rand(3, 5, 1, 8, 8), ["a", "b", "c"])) == ["a", "b", "c"]
    assert len(png(triptychs)) <= MAX_BYTES


def labels(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]


def test_codes_are_images_with_the_most_active_unit_on_the_left() -> None:
    z = torch.tensor([[0.0, 2.0, 0.0, 1.0], [0.0, -4.0, 0.0, 0.0]])
    figure = codes(["dense", "sparse"], [torch.ones(3, 8), z])
    dense, sparse = (axes for axes in figure.axes if axes.images)
    assert dense.get_title(loc="left") == "dense: 8 of 8 units in use per sample"
    np.testing.assert_allclose(sparse.images[0].get_array(), [[0.5, 0.25, 0, 0], [1, 0, 0, 0]])
    np.testing.assert_allclose(participation(z.numpy()), (9 / 5 + 1) / 2)


def test_error_lines_rise_from_zero_and_name_their_unit() -> None:
    figure = error_lines({"ae": {8: 1.0, 2: 2.0}, "linear_ae": {2: 3.0}}, {2: 3.0, 3: 2.5})
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == ["PCA", "ae", "linear_ae"]
    assert list(axes.lines[1].get_xdata()) == [2, 8]
    assert axes.get_ylim()[0] == 0
    assert "squared units" in axes.get_ylabel()
    assert not [part for part in axes.collections if isinstance(part, PathCollection)]
