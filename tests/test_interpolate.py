"""`lit_ae interpolate`: ways between samples that begin and end at their reconstructions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import Console, environment
from lit_ae.jobs import interpolated
from lit_ae.jobs.opening import opened
from lit_ae.jobs.walks import arc, conditions, line, pair, samples


def test_arcs_keep_to_the_great_circle_and_lengths_go_evenly() -> None:
    a, b = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 4.0, 0.0])
    way = arc(a, b, 5)
    torch.testing.assert_close(way[0], a)
    torch.testing.assert_close(way[-1], b)
    torch.testing.assert_close(way.norm(dim=1), torch.linspace(2, 4, 5))
    angles = torch.atan2(way[:, 1], way[:, 0])
    torch.testing.assert_close(angles, torch.linspace(0, torch.pi / 2, 5))
    torch.testing.assert_close(line(a, b, 3)[1], torch.tensor([1.0, 2.0, 0.0]))


@pytest.mark.parametrize("b", [torch.tensor([3.0, 0.0]), torch.tensor([-3.0, 0.0]), torch.zeros(2)])
def test_where_no_circle_is_greatest_the_arc_is_the_line(b: torch.Tensor) -> None:
    a = torch.tensor([1.0, 0.0])
    torch.testing.assert_close(arc(a, b, 4), line(a, b, 4))


def test_classes_change_in_the_middle_and_other_conditions_evenly() -> None:
    classes = conditions(torch.tensor(3), torch.tensor(7), 4)
    numbers = conditions(torch.tensor([0.0]), torch.tensor([3.0]), 4)
    assert classes is not None
    assert numbers is not None
    assert classes.tolist() == [3, 3, 7, 7]
    assert numbers.flatten().tolist() == [0, 1, 2, 3]
    assert conditions(None, None, 4) is None


@pytest.mark.parametrize("name", ["vae", "cvae", "plane", "vq"])
def test_a_walk_begins_and_ends_at_the_reconstructions(
    name: str, trained_runs: Path, lit_ae: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, seen = trained_runs / name / "0", []

    def watched(x, *rest, **more):
        seen.append(x)
        return draw(x, *rest, **more)

    draw = interpolated.walks
    monkeypatch.setattr(interpolated, "walks", watched)
    monkeypatch.setattr(interpolated, "MOMENTS", 3)
    done = lit_ae("interpolate", str(folder), "2", "5", "--steps=4", f"--out={tmp_path / 'out'}")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"picture   {tmp_path}/out/interpolation.png",
        f"animation {tmp_path}/out/interpolation.gif",
    ]
    run = opened(folder)
    first = run.first(6)
    x_hat = run.model.reconstruct(first.x, first.c, first.mask)
    (walk,) = seen
    assert walk.shape[:2] == (2, 4)
    for way in walk:
        torch.testing.assert_close(way[0], x_hat[2], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(way[-1], x_hat[5], atol=1e-5, rtol=1e-4)
    with Image.open(tmp_path / "out" / "interpolation.gif") as picture:
        assert getattr(picture, "n_frames", 1) == 5
    assert lit_ae("interpolate", str(folder), f"--out={tmp_path / 'out'}").status == 2


def test_without_names_two_samples_of_different_classes_are_chosen(trained_runs: Path) -> None:
    run = opened(trained_runs / "vae" / "0")
    numbers = pair(run, "test")
    first, second = samples(run, numbers, "test")
    assert numbers[0] == "0"
    assert first.y is not None
    assert second.y is not None
    assert first.y.item() != second.y.item()


def test_a_number_is_counted_over_all_batches(trained_runs: Path) -> None:
    run = opened(trained_runs / "vae" / "0")
    first = run.first(360)
    for number, found in zip((0, 130, 359), samples(run, ["0", "130", "359"], "test"), strict=True):
        torch.testing.assert_close(found.x, first.x[number : number + 1])


def test_files_are_walked_between(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    for name, start in (("a", 0), ("b", 100)):
        Image.fromarray((np.arange(64).reshape(8, 8) + start).astype(np.uint8)).save(tmp_path / f"{name}.png")
    done = lit_ae("interpolate", str(trained_runs / "vae" / "0"), "a.png", "b.png", "--path=linear", "--out=out")
    assert (done.status, done.err) == (0, "")
    assert (tmp_path / "out" / "interpolation.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("1",), "name two samples"),
        (("1", "5000"), "There is no sample 5000"),
        (("1", "lost.png"), "There is no file lost.png"),
        (("1", "²"), "There is no file ²"),
        (("--steps=1",), "too small"),
        (("--path=curly",), "curly"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], words: str, trained_runs: Path, lit_ae: Console) -> None:
    done = lit_ae("interpolate", str(trained_runs / "vae" / "0"), *arguments)
    assert done.status == 2
    assert words in done.err
    assert len(done.err.splitlines()) == 1


def test_the_console_script_draws_into_the_run(trained_runs: Path, console: Console) -> None:
    done = console("interpolate", str(trained_runs / "vae" / "0"), "--steps=3")
    assert (done.status, done.err) == (0, "")
    for suffix in ("png", "gif"):
        assert (trained_runs / "vae" / "0" / "figures" / f"interpolation.{suffix}").stat().st_size > 1000


@pytest.mark.parametrize("command", ["interpolate", "traverse", "detect", "compare"])
def test_help_needs_no_torch(command: str) -> None:
    code = (
        "import sys; from lit_ae.cli import main; "
        f"assert main(['{command}', '--help']) == 0; assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"usage: lit_ae {command}" in done.stdout
