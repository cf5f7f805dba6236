"""Energy maps and vector fields: what they show, and that they show it where it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection
from matplotlib.quiver import Quiver

from lit_ae.plots import energy_maps, over_plane, plane_points, surroundings, vector_field

EXTENT = (-2.0, 2.0, -1.0, 1.0)


def test_the_plane_is_cut_into_square_cells_the_lowest_row_first() -> None:
    points = plane_points(EXTENT, 8)
    assert points.shape == (4, 8, 2)
    assert points[0, 0].tolist() == [-1.75, -0.75]
    assert points[-1, -1].tolist() == [1.75, 0.75]
    torch.testing.assert_close(points[0, 1] - points[0, 0], torch.tensor([0.5, 0.0]))
    torch.testing.assert_close(points[1, 0] - points[0, 0], torch.tensor([0.0, 0.5]))


def test_a_function_is_evaluated_over_the_plane_in_parts_and_without_a_graph() -> None:
    weight, sizes = torch.ones(2, requires_grad=True), []

    def energy(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        return (x * weight).square().sum(1)

    values = over_plane(energy, EXTENT, 200)
    torch.testing.assert_close(values, plane_points(EXTENT, 200).square().sum(2))
    assert not values.requires_grad
    assert len(sizes) > 1


def test_surroundings_hold_all_points_with_a_margin() -> None:
    assert surroundings(np.array([[0.0, 0.0], [10.0, 5.0]]), 0.1) == (-1.0, 11.0, -1.0, 6.0)


@pytest.mark.parametrize("panels", [1, 3, 4, 5])
def test_maps_share_one_scale_and_carry_their_titles_and_the_data(panels: int) -> None:
    titles = [f"model {i}" for i in range(panels)]
    energies = torch.stack([plane_points(EXTENT, 20).square().sum(2) * (i + 1) - 3 for i in range(panels)])
    data = torch.randn(50, 2)
    figure = energy_maps(titles, energies, EXTENT, data, unit="free energy, nats")
    shown = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in shown] == titles
    assert len({axes.images[0].norm for axes in shown}) == 1
    for axes, energy in zip(shown, energies, strict=True):
        np.testing.assert_allclose(axes.images[0].get_array(), energy)
        assert axes.images[0].origin == "lower"
        assert tuple(axes.images[0].get_extent()) == EXTENT
        (dots,) = (part for part in axes.collections if isinstance(part, PathCollection))
        np.testing.assert_allclose(dots.get_offsets(), data)
    assert figure.axes[-1].get_ylabel() == "free energy, nats"


def test_a_constant_energy_has_a_picture_too() -> None:
    figure = energy_maps(["flat"], torch.ones(1, 4, 8), EXTENT, torch.zeros(1, 2))
    figure.canvas.draw()
    assert figure.axes[0].images


def test_arrows_point_the_way_and_grow_with_the_root_of_their_length() -> None:
    x = plane_points(EXTENT, 8)
    delta = -x * torch.linspace(0.1, 1.0, 8)[None, :, None]
    figure = vector_field(x, delta, torch.randn(500, 2))
    (arrows,) = (part for part in figure.axes[0].collections if isinstance(part, Quiver))
    drawn, true = np.stack([arrows.U, arrows.V], 1), delta.reshape(-1, 2).numpy()
    length, wanted = np.linalg.norm(drawn, axis=1), np.linalg.norm(true, axis=1)
    np.testing.assert_allclose(drawn / length[:, None], true / wanted[:, None], atol=1e-5)
    short = wanted < np.quantile(wanted, 0.9)
    ratios = (length / np.sqrt(wanted))[short]
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-4)
    assert length.max() < 0.6  # cells have sides of 0.5
    np.testing.assert_allclose(arrows.get_array()[short], wanted[short], rtol=1e-5)


def test_no_displacement_has_a_picture_too() -> None:
    figure = vector_field(plane_points(EXTENT, 4), torch.zeros(2, 4, 2), torch.zeros(3, 2))
    figure.canvas.draw()
    assert figure.axes
