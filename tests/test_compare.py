"""`lit_ae compare`: tables, pictures and a page of several runs, and trainings before them."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import pytest
import torch
from PIL import Image

from conftest import QUICK, Console
from lit_ae.cli import main
from lit_ae.jobs import trained
from lit_ae.jobs.comparison import plain
from lit_ae.jobs.contest import Entry
from lit_ae.jobs.opening import opened
from lit_ae.jobs.ranking import best, columns, direction, groups
from lit_ae.runs import Run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two VAEs that differ by their seed, a third with another latent, an AE, and one on points."""
    folder = tmp_path_factory.mktemp("runs")
    common = ["--trainer.max_epochs=1", "--trainer.callbacks=[]", "--trainer.logger=false", f"--runs={folder}", *QUICK]
    for more in (
        ["--model=VAE", "--seed_everything=0"],
        ["--model=VAE", "--seed_everything=1"],
        ["--model=VAE", "--model.latent_dim=3"],
        ["--model=AE"],
        ["--model=VAE", "--data=Points", "--data.n=100", "--data.batch_size=30", "--name=points"],
    ):
        assert main(["fit", *more, *common]) == 0
    return folder


def made(name: str = "a", likelihood: str = "Gaussian", config: dict | None = None, **values: float) -> Entry:
    none = torch.zeros(1, 2)
    more = {"y": None, "drawn": None, "class_names": None, "span": None, "source": "", "features": "", "data": ""}
    run = Run(Path(f"runs/{name}/0"))
    return Entry(run, name, config or {}, likelihood, count=1, values=values, x=none, x_hat=none, z=none, **more)


def test_runs_that_differ_by_their_seed_alone_are_one_row() -> None:
    one, two, other = made(elbo=-3.0), made(elbo=-5.0), made(config={"model": {"latent_dim": 8}}, elbo=-4.0)
    found = groups([one, other, two])
    assert [len(group.entries) for group in found] == [2, 1]
    assert found[0].summary("elbo") == (mean([-3, -5]), stdev([-3, -5]))
    assert found[1].summary("elbo") == (-4, 0)
    assert found[0].summary("mse") is None
    assert found[1].label == "a (latent_dim 8)"


def test_the_best_is_marked_where_numbers_compare() -> None:
    found = groups(
        [made("a", elbo=-3.0, rate=1.0, mse=2.0), made("b", elbo=-2.0, rate=2.0, mse=3.0), made("c", mse=1.0)]
    )
    assert columns(found) == ["elbo", "rate", "mse"]
    assert best(found, "elbo") == [False, True, False]
    assert best(found, "mse") == [False, False, True]
    assert best(found, "rate") == [False] * 3  # neither more nor less is better
    mixed = groups([made("a", elbo=-3.0, mse=1.0), replace(made("b", elbo=1.0, mse=2.0), likelihood="Bernoulli")])
    assert best(mixed, "elbo") == [False, False]
    assert best(mixed, "mse") == [True, False]
    other = groups([made("a", fid=1.0, psnr=1.0), replace(made("b", fid=2.0, psnr=2.0), features="another network")])
    assert best(other, "fid") == [False, False]
    assert best(other, "psnr") == [False, True]
    assert [direction(name) for name in ("elbo", "kid", "mig", "parameters", "active_units")] == [1, -1, 1, 0, 0]


def test_columns_have_an_order_of_their_own_and_many_become_lines() -> None:
    found = groups(
        [made("a", parameters=3.0, mse=1.0), made("b", mse=2.0, parameters=4.0, elbo=1.0), made("c", elbo=2.0)]
    )
    assert columns(found) == ["elbo", "mse", "parameters"]
    assert plain(found)[0].split()[0] == "run"
    names = (
        "mse",
        "psnr",
        "ssim",
        "fid",
        "kid",
        "precision",
        "recall",
        "density",
        "coverage",
        "mig",
        "sap",
        "modularity",
    )
    lines = plain(groups([made(name, **dict.fromkeys(names, 1.0)) for name in "ab"]))
    assert [line.split()[0] for line in lines][:5] == ["run", "runs", "p(x|z)", "MSE", "PSNR"]
    assert max(map(len, lines)) < 60


@pytest.mark.slow
def test_tables_pictures_and_a_page(runs: Path, console: Console, tmp_path: Path) -> None:
    folders = [str(runs / name) for name in ("vae/0", "vae/1", "vae/2", "ae/0")]
    done = console("compare", *folders, "--out=out")
    assert (done.status, done.err) == (0, "")
    names = ("rate_distortion", "latent_maps", "reconstructions", "samples")
    assert done.out.splitlines()[-7:] == [
        "table    out/comparison.csv", "table    out/comparison.md", "page     out/comparison.html",
        *(f"picture  out/{name}.png" for name in names),
    ]  # fmt: skip
    for name in names:
        with Image.open(tmp_path / "out" / f"{name}.png") as picture:
            assert picture.width > 500
    with (tmp_path / "out" / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["runs"]) for row in rows] == [
        ("VAE (latent_dim 16)", "2"),
        ("VAE (latent_dim 3)", "1"),
        ("AE", "1"),
    ]
    errors = []
    for folder in folders[:2]:
        run = opened(folder)
        errors.append(
            float((run.model.reconstruct(run.first(360).x) - run.first(360).x).square().flatten(1).sum(1).mean())
        )
    assert float(rows[0]["mse"]) == pytest.approx(mean(errors), rel=1e-4)
    assert float(rows[0]["mse_std"]) == pytest.approx(stdev(errors), rel=1e-3)
    assert rows[0]["elbo"]
    assert not rows[2]["elbo"]
    assert float(rows[0]["elbo"]) == pytest.approx(-float(rows[0]["distortion"]) - float(rows[0]["rate"]), rel=1e-5)
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert page.count('src="data:image/png;base64,') == 4
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "class=best" in page
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert text.count("\n|") == 5
    assert "**" in text
    assert "![samples](samples.png)" in text
    assert console("compare", *folders, "--out=out").status == 2


def test_measures_of_lit_ae_test_are_taken_over(runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    for number in (0, 1):
        shutil.copytree(runs / "vae" / str(number), tmp_path / str(number))
        found = {"fid": 10 + number, "fid_standard_error": 1, "n": 5, "checkpoint": "checkpoints/best.ckpt"}
        (tmp_path / str(number) / "metrics.json").write_text(json.dumps(found))

    def compared(*arguments: str) -> dict[str, str]:
        assert lit_ae("compare", *arguments, "--out=out", "--overwrite").status == 0
        with (tmp_path / "out" / "comparison.csv").open(newline="") as file:
            (row,) = csv.DictReader(file)
        return row

    row = compared("0", "1")
    assert float(row["fid"]) == 10.5
    assert "n" not in row
    assert "fid" not in compared("0", "1", "--split=val")  # they are of the test split
    assert "fid" not in compared("0/checkpoints/last.ckpt", "1/checkpoints/last.ckpt")  # and of the best checkpoint


def test_samples_are_those_of_a_fitted_sampler(runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    run = shutil.copytree(runs / "ae" / "0", tmp_path / "ae")
    assert lit_ae("fit-sampler", str(run), "--kind=gmm", "--sampler.components=3").status == 0
    assert lit_ae("compare", str(run), "--out=out").status == 0
    assert (tmp_path / "out" / "samples.png").is_file()
    (tmp_path / "file").write_text("")
    assert lit_ae("compare", str(run), "--out=file", "--overwrite").status == 2


def test_other_data_are_refused_in_one_sentence(runs: Path, lit_ae: Console) -> None:
    done = lit_ae("compare", str(runs / "vae" / "0"), str(runs / "points" / "0"), "--out=out")
    assert done.status == 2
    assert "different test samples" in done.err
    assert len(done.err.splitlines()) == 1


def test_vectors_have_tables_and_maps(runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    done = lit_ae("compare", str(runs / "points" / "0"), "--out=out")
    assert (done.status, done.err) == (0, "")
    assert (tmp_path / "out" / "samples.png").is_file()
    assert not (tmp_path / "out" / "reconstructions.png").exists()


def test_other_flags_or_seeds_are_trained_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(config: Path, seed: int, runs: str, flags: list[str]) -> Path:
        folder = Path(runs) / config.stem / str(len(made))
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "checkpoints" / "last.ckpt").write_bytes(b"")
        made.append(folder)
        return folder

    made: list[Path] = []
    monkeypatch.setattr(trained, "fit", fit)
    asked = Namespace(train=["ae"], seeds=1, runs=str(tmp_path))
    short, long = ["--trainer.max_epochs=1"], ["--trainer.max_epochs=2"]
    assert trained.train(asked, short) == trained.train(asked, short) == [str(made[0])]
    assert trained.train(asked, long) == [str(made[1])]
    assert trained.train(Namespace(**{**vars(asked), "seeds": 2}), long) == [str(made[1]), str(made[2])]


@pytest.mark.slow
def test_configs_are_trained_once_and_compared(lit_ae: Console) -> None:
    def lines(*arguments: str) -> list[str]:
        flags = ("--trainer.max_epochs", "1", "--trainer.callbacks=[]", "--trainer.accelerator=cpu")
        done = lit_ae("compare", "--train", "ae", *arguments, "--out=out", *flags)
        assert done.status == 0, done.err
        return [line for line in done.out.splitlines() if line.startswith(("trained", "found"))]

    assert lines("--seeds=1") == ["trained  runs/ae/0"]
    assert lines("--seeds=2", "--overwrite") == ["found    runs/ae/0", "trained  runs/ae/1"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("runs/lost/0",), 4, "There is no run"),
        (("--seeds=2",), 2, "Nothing to compare"),
        (("x", "--trainer.max_epochs=1"), 2, "add --train"),
        (("--train", "nothing_such"), 2, "nothing_such"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], status: int, words: str, lit_ae: Console) -> None:
    done = lit_ae("compare", *arguments)
    assert done.status == status
    assert words in done.err
    assert len(done.err.splitlines()) == 1


def test_a_training_that_fails_ends_with_its_status(lit_ae: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    done = lit_ae("compare", "--train", "ae", "--model.latent_dmi=3")
    assert done.status == 1
    assert "failed: see above" in done.err
