"""`lit_ae traverse`: each latent moved over where the data lie."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch

from conftest import Console
from lit_ae.jobs import traversed
from lit_ae.jobs.opening import opened
from lit_ae.jobs.traversed import Spread, chosen, moved, order, places, spread_of, verdict


def spread(activity: list[float], z: torch.Tensor | None = None) -> Spread:
    count = len(activity)
    codes = torch.zeros(3, count, 1) if z is None else z
    return Spread(codes, torch.full((count,), 2.0), torch.tensor(activity), True, (count,))


def test_the_most_active_come_first_and_the_collapsed_are_named() -> None:
    found = spread([0.5, 0.001, 2.0])
    assert order(found) == [2, 0, 1]
    assert chosen(found, [2]) == [1]
    assert verdict(found) == [
        "rates     3 (2 nats), 1 (0.5 nats), 2 (0.001 nats)",
        "collapsed 1 of 3 dimensions carry under 0.01 nats: 2",
    ]


def test_places_are_deviations_about_the_mean_or_quantiles() -> None:
    found = spread([1.0], torch.arange(101.0).reshape(101, 1, 1))
    assert places(found, 0, 3, Namespace(span=3.0, quantile=None)).tolist() == [44, 50, 56]
    assert places(found, 0, 3, Namespace(span=3.0, quantile=0.1)).tolist() == pytest.approx([10, 50, 90])


def test_one_dimension_moves_and_the_others_stay() -> None:
    z = moved(torch.tensor([[1.0], [5.0]]), 1, torch.tensor([-1.0, 7.0]))
    assert z.squeeze(2).tolist() == [[1, -1], [1, 7]]
    grid = moved(torch.tensor([[1.0, 3.0]]), 0, torch.tensor([10.0]))
    assert grid.tolist() == [[[9, 11]]]


def test_rates_are_those_of_the_model(trained_runs: Path) -> None:
    run = opened(trained_runs / "vae" / "0")
    found = spread_of(run, "test")
    batch = run.first(360)
    total = run.model.rate(run.model(batch)).mean()  # type: ignore[operator]
    torch.testing.assert_close(found.activity.sum(), total, atol=1e-4, rtol=1e-4)
    assert found.z.shape[0] == 360


def test_deviations_are_those_of_the_aggregate_posterior(trained_runs: Path) -> None:
    run = opened(trained_runs / "vae" / "0")
    q = run.model.encode(run.first(360).x)
    variance = q.mode.var(0, correction=0) + q.scale.square().mean(0)  # type: ignore[attr-defined]
    torch.testing.assert_close(spread_of(run, "test").deviation, variance.sqrt().detach(), atol=1e-5, rtol=1e-4)


def test_the_others_stay_at_the_sample_with_its_condition(
    trained_runs: Path, lit_ae: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def watched(model, z, c):
        seen.append((z, c))
        return decoded(model, z, c)

    decoded = traversed.decoded
    monkeypatch.setattr(traversed, "decoded", watched)
    folder = trained_runs / "cvae" / "0"
    assert lit_ae("traverse", str(folder), "3", "--dims", "1", "--steps=3", "--out=out").status == 0
    run = opened(folder)
    first = run.first(4)
    assert first.c is not None
    assert first.c[3] != first.c[0]  # else the first sample's condition would do
    z, c = seen[0]
    torch.testing.assert_close(z[:, 1:], run.model.embed(first.x, first.c)[3:4, 1:].expand(3, -1))
    assert c.tolist() == first.c[3:4].tolist()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("vae", ()), ("ae", ("3", "--quantile=0.05")), ("cvae", ("--dims", "2", "1")), ("plane", ("1",))],
)
def test_pictures(
    name: str,
    arguments: tuple[str, ...],
    trained_runs: Path,
    lit_ae: Console,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(traversed, "MOMENTS", 3)
    done = lit_ae("traverse", str(trained_runs / name / "0"), *arguments, "--steps=3", "--out=out")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[:2] == ["picture   out/traversal.png", "animation out/traversal.gif"]
    assert done.out.splitlines()[2].split()[0] == ("variances" if name == "ae" else "rates")
    assert all((tmp_path / "out" / f"traversal.{suffix}").stat().st_size > 1000 for suffix in ("png", "gif"))


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("vq", (), "have no order"),
        ("categorical", (), "have no order"),
        ("vae", ("--dims", "99"), "there are 1 to"),
        ("vae", ("5000",), "There is no sample 5000"),
        ("vae", ("--quantile=0.7",), "below 0.5"),
    ],
)
def test_bad_input(name: str, arguments: tuple[str, ...], words: str, trained_runs: Path, lit_ae: Console) -> None:
    done = lit_ae("traverse", str(trained_runs / name / "0"), *arguments)
    assert done.status == 2
    assert words in done.err
    assert len(done.err.splitlines()) == 1


def test_the_console_script_draws_into_the_run(trained_runs: Path, console: Console) -> None:
    folder = trained_runs / "vae" / "0"
    done = console("traverse", str(folder), "--steps=3", "--dims", "1")
    assert (done.status, done.err) == (0, "")
    assert (folder / "figures" / "traversal.gif").stat().st_size > 1000
