"""`lit_ae fit-sampler`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from conftest import Console
from lit_ae.jobs.kept import kept
from lit_ae.jobs.opening import opened
from lit_ae.runs import Run
from lit_ae.samplers.fitting import Fitting
from lit_ae.storage import load
from samplers_for_tests import LATENT, SMALL


@pytest.fixture
def run(trained_runs: Path, tmp_path: Path) -> Path:
    """A copy of a run with codes, without samplers."""
    shutil.copytree(trained_runs / "vq" / "0", tmp_path / "vq", ignore=shutil.ignore_patterns("samplers", "figures"))
    return tmp_path / "vq"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load(folder / "checkpoints" / "last.ckpt")["state_dict"]


@pytest.mark.parametrize("kind", ["transformer", "pixelcnn"])
def test_a_sampler_is_laid_out_like_a_run(kind: str, run: Path, lit_ae: Console) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = lit_ae("fit-sampler", str(run), "--kind", kind, "--epochs=3", *SMALL)
    assert done.status == 0, done.err
    folder = run / "samplers" / kind
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == ["epoch", "epoch", "epoch", "sampler", "val"]
    assert lines[-2] == f"sampler  {folder}"
    made = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file() and path not in before}
    files = {"config.yaml", "metrics.csv", "metrics.json"}
    files |= {f"checkpoints/{name}.ckpt" for name in ("best", "last", "previous")}
    assert made == {f"samplers/{kind}/{name}" for name in files}
    assert all(path.read_bytes() == content for path, content in before.items()), "the run has changed"
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (config["kind"], config["epochs"], config["seed"], config["step"]) == (kind, 3, 0, 3)
    assert config["sampler"]["code_shape"] == [2, 2]
    assert config["sampler"]["width"] == 16
    found = json.loads((folder / "metrics.json").read_text())
    assert found["val_nats"] == pytest.approx(4 * found["val_nats_per_code"])
    assert found["uniform"] == pytest.approx(4 * np.log(8))
    assert f"val      {found['val_nats']:.2f} nats per sample, " in lines[-1]


def test_the_nats_are_those_of_the_validation_codes(fitted_runs: Path) -> None:
    for name in ("vq", "residual", "categorical"):
        run = opened(fitted_runs / name / "0")
        for each in kept(run.run):
            sampler = each.open(run)
            batch = run.first(10_000, "val")
            c = batch.y if sampler.condition is not None else None
            nats = -sampler.log_prob(run.model.codes(batch.x), c)
            assert len(nats) == 143
            assert each.nats()["val_nats"] == pytest.approx(nats.mean().item(), abs=1e-4)


def test_what_is_found_at_once_is_laid_out_like_a_run(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("samplers", "figures")
    run = shutil.copytree(trained_runs / "vae" / "0", tmp_path / "vae", ignore=ignored)
    stored = []
    for seed in (0, 0, 1):
        arguments = ("--kind=gmm", f"--seed={seed}", "--overwrite", "--sampler.components=3")
        done = lit_ae("fit-sampler", str(run), *arguments)
        assert (done.status, done.err) == (0, "")
        folder = run / "samplers" / "gmm"
        found = json.loads((folder / "metrics.json").read_text())
        assert done.out == (
            f"sampler  {folder}\n"
            f"val      {found['val_nats']:.2f} nats per sample; one Gaussian {found['gaussian']:.2f}\n"
        )
        stored.append(load(folder / "checkpoints" / "best.ckpt")["state_dict"])  # no pickled objects
    made = {path.relative_to(run).as_posix() for path in (run / "samplers").rglob("*") if path.is_file()}
    assert made == {f"samplers/gmm/{name}" for name in ("config.yaml", "metrics.json", "checkpoints/best.ckpt")}
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (config["kind"], config["step"], config["sampler"]["components"]) == ("gmm", 3, 3)
    assert not {"epochs", "lr"} & config.keys()
    assert all(torch.equal(value, stored[1][name]) for name, value in stored[0].items())
    assert not all(torch.equal(value, stored[2][name]) for name, value in stored[0].items())


@pytest.mark.parametrize("name", ["ae", "vae"])
def test_the_nats_are_those_of_the_validation_latents(name: str, latent_runs: Path) -> None:
    run = opened(latent_runs / name / "0")
    for each in kept(run.run):
        sampler, batch = each.open(run), run.first(10_000, "val")
        assert sampler.conditional == (name == "vae")
        c, values = batch.y if sampler.conditional else None, []
        for seed in range(20):  # latents of the VAE are drawn
            torch.manual_seed(seed)
            values.append(-sampler.log_prob(sampler.values(run.model, batch.x), c).mean())
        spread = torch.stack(values)
        assert abs(each.nats()["val_nats"] - spread.mean()) < 6 * spread.std() + 1e-3 * abs(spread.mean()) + 1e-3


def test_same_seed_same_sampler(run: Path, lit_ae: Console) -> None:
    first = []
    for seed in (0, 0, 1):
        arguments = ("--kind=transformer", "--epochs=1", f"--seed={seed}", "--overwrite", *SMALL)
        assert lit_ae("fit-sampler", str(run), *arguments).status == 0
        first.append(weights(run / "samplers" / "transformer"))
    assert all(torch.equal(value, first[1][name]) for name, value in first[0].items())
    assert not all(torch.equal(value, first[2][name]) for name, value in first[0].items())


def test_nothing_is_overwritten_unasked(fitted_runs: Path, lit_ae: Console) -> None:
    run = fitted_runs / "vq" / "0"
    before = (run / "samplers" / "pixelcnn" / "metrics.json").stat().st_mtime_ns
    done = lit_ae("fit-sampler", str(run), "--kind=pixelcnn")
    assert (done.status, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert "add --overwrite" in done.err
    assert (run / "samplers" / "pixelcnn" / "metrics.json").stat().st_mtime_ns == before


def test_an_interrupted_fit_goes_on_and_ends_as_if_it_had_not_been(
    run: Path, lit_ae: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("fit-sampler", str(run), "--kind=transformer", "--epochs=2", *SMALL)
    assert lit_ae(*command).status == 0
    folder, partial = run / "samplers" / "transformer", run / "samplers" / "transformer.partial"
    whole, old = weights(folder), (folder / "metrics.json").read_bytes()
    step = Fitting.training_step

    def killed(self: Fitting, batch, batch_idx: int):  # type: ignore[no-untyped-def]
        if self.current_epoch == 1 and batch_idx == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(Fitting, "training_step", killed)
        done = lit_ae(*command, "--overwrite")
    assert done.status == 143
    assert "give the same command again" in done.err
    assert partial.is_dir()
    assert [each.folder for each in kept(Run(run))] == [folder]
    assert (folder / "metrics.json").read_bytes() == old, "the old sampler is lost"
    done = lit_ae(*command, "--overwrite")
    assert done.status == 0, done.err
    assert "It goes on" in done.err
    assert not partial.exists()
    assert all(torch.equal(value, whole[name]) for name, value in weights(folder).items())
    assert (folder / "metrics.json").read_bytes() == old


def test_an_interrupted_fit_to_drawn_latents_goes_on_as_if_it_had_not_been(
    trained_runs: Path, lit_ae: Console, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ignored = shutil.ignore_patterns("samplers", "figures")
    run = shutil.copytree(trained_runs / "vae" / "0", tmp_path / "vae", ignore=ignored)
    command = ("fit-sampler", str(run), "--kind=two_stage", "--epochs=2", *LATENT["two_stage"][1:])
    assert lit_ae(*command).status == 0
    whole, step = weights(run / "samplers" / "two_stage"), Fitting.training_step

    def killed(self: Fitting, batch, batch_idx: int):  # type: ignore[no-untyped-def]
        if self.current_epoch == 1 and batch_idx == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(Fitting, "training_step", killed)
        assert lit_ae(*command, "--overwrite").status == 143
    assert lit_ae(*command, "--overwrite").status == 0
    assert all(torch.equal(value, whole[name]) for name, value in weights(run / "samplers" / "two_stage").items())


def test_flows_without_zuko_name_the_package(
    trained_runs: Path, lit_ae: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zuko", None)
    monkeypatch.setitem(sys.modules, "zuko.flows", None)
    for kind in ("maf", "spline"):
        done = lit_ae("fit-sampler", str(trained_runs / "ae" / "0"), "--kind", kind)
        assert done.status == 2
        assert done.err.rstrip().endswith('pip install "lit_ae[flows]"')


def test_an_interrupted_fit_of_other_settings_is_not_lost_unasked(run: Path, lit_ae: Console) -> None:
    assert lit_ae("fit-sampler", str(run), "--kind=pixelcnn", "--epochs=1", *SMALL).status == 0
    folder = run / "samplers" / "pixelcnn"
    folder.rename(folder.with_name("pixelcnn.partial"))
    done = lit_ae("fit-sampler", str(run), "--kind=pixelcnn", "--epochs=1", "--sampler.width=8")
    assert done.status == 2
    assert "interrupted fit with other settings" in done.err
    assert (
        lit_ae("fit-sampler", str(run), "--kind=pixelcnn", "--epochs=1", "--sampler.width=8", "--overwrite").status == 0
    )
    assert yaml.safe_load((folder / "config.yaml").read_text())["sampler"]["width"] == 8


def test_a_sampler_of_other_weights_is_refused(fitted_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    copy = tmp_path / "vq"
    shutil.copytree(fitted_runs / "vq" / "0", copy)
    config = copy / "samplers" / "transformer" / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("step: 3", "step: 2"))
    done = lit_ae("sample", str(copy), "--sampler=transformer")
    assert done.status == 4
    assert "fit it again" in done.err
    config.write_text(text.replace("width", "wdith"))
    assert lit_ae("sample", str(copy), "--sampler=transformer").status == 4
    (copy / "samplers/transformer/checkpoints/best.ckpt").write_bytes(b"junk")
    config.write_text(text)
    done = lit_ae("sample", str(copy), "--sampler=transformer")
    assert (done.status, len(done.err.splitlines())) == (4, 1)
    assert "damaged" in done.err
