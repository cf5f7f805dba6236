"""`lit_ae fit-sampler`, and what it and `lit_ae sample` refuse."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from conftest import Console, environment
from lit_ae.jobs.kept import Kept, kept, told
from lit_ae.jobs.opening import opened
from lit_ae.runs import Run
from lit_ae.samplers.fitting import Fitting
from lit_ae.samplers.gmm import GMMSampler
from lit_ae.samplers.pixelcnn import PixelCNNSampler
from lit_ae.samplers.transformer import TransformerSampler
from lit_ae.storage import load
from samplers_for_tests import LATENT, RUNS, SMALL


@pytest.fixture
def run(trained_runs: Path, tmp_path: Path) -> Path:
    """A copy of a run with codes, without samplers."""
    shutil.copytree(trained_runs / "vq" / "0", tmp_path / "vq", ignore=shutil.ignore_patterns("samplers", "figures"))
    return tmp_path / "vq"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load(folder / "checkpoints" / "last.ckpt")["state_dict"]


# ---- fitting


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
    files = ("config.yaml", "metrics.csv", "metrics.json", "checkpoints/best.ckpt", "checkpoints/last.ckpt")
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


# ---- what is refused

MISTAKES = [
    ("fit-sampler {vq}", 2, "--kind"),
    ("fit-sampler {vq} --kind transfromer", 2, "did you mean 'transformer'?"),
    ("fit-sampler {vq} --kind vae", 2, "There is no sampler of the kind 'vae'"),
    ("fit-sampler {vq} --kind gmm", 2, "VQVAE of {vq} has none: name a run of a variant that has them, such as"),
    ("fit-sampler {ae} --kind gmm --epochs 3", 2, "found at once, without training: leave out --epochs"),
    ("fit-sampler {ae} --kind knn --lr 0.1", 2, "leave out --lr"),
    ("fit-sampler {ae} --kind gmm --sampler.components 0", 2, "components is 0: set --sampler.components to 1 or more"),
    ("fit-sampler {ae} --kind gmm --sampler.components 2000", 2, "too few for 2000 components"),
    ("fit-sampler {ae} --kind gmm --sampler.covariance_type round", 2, "covariance_type"),
    ("fit-sampler {plane} --kind gmm --condition label --sampler.components 60", 2, "too few for 60 components"),
    ("fit-sampler {ae} --kind knn --sampler.neighbours 5000", 2, "too few for their neighbour number 5000"),
    ("fit-sampler {ae} --kind gmm --device meter", 2, "There is no device 'meter' here"),
    ("fit-sampler {ae} --kind maf --sampler.width 0", 2, "width is 0"),
    ("fit-sampler {ae} --kind spline --sampler.bins 1", 2, "bins is 1"),
    ("fit-sampler {ae} --kind two_stage --sampler.samples 0", 2, "samples is 0"),
    ("fit-sampler --kind transformer", 2, "RUN"),
    ("fit-sampler nowhere --kind transformer", 4, "There is no run in nowhere"),
    ("fit-sampler {ae} --kind transformer", 2, "AE of {ae} has none: name a run of"),
    ("fit-sampler {vae} --kind pixelcnn", 2, "VQVAE"),
    ("fit-sampler {vq} --kind transformer --epochs 0", 2, "0 is too small: give at least 1"),
    ("fit-sampler {vq} --kind transformer --lr 0", 2, "give more than 0"),
    ("fit-sampler {vq} --kind transformer --epochs few", 2, "invalid int value: 'few'"),
    ("fit-sampler {residual} --kind transformer --sampler.widht 3", 2, "did you mean '--sampler.width'?"),
    ("fit-sampler {residual} --kind transformer --sampler.width a", 2, "sampler.width: 'a' does not fit: give int"),
    ("fit-sampler {residual} --kind transformer --sampler.heads 7", 2, "does not divide the width"),
    ("fit-sampler {residual} --kind transformer --sampler.width", 2, "--sampler.width needs a value"),
    ("fit-sampler {residual} --kind transformer --data.batch_sise 3", 2, "batch_sise"),
    ("fit-sampler {residual} --kind transformer --lern 3", 2, "unrecognized arguments: --lern"),
    ("sample nowhere", 4, "There is no run in nowhere"),
    ("sample", 0, ""),
    (
        "sample {ae}",
        2,
        "AE has no prior of its own to sample from: fit a sampler first: lit_ae fit-sampler {ae} --kind gmm",
    ),
    ("sample {ae} --sampler transformer", 2, "does not fit AE"),
    ("sample {vae} --device tpu9", 2, "There is no device 'tpu9' here"),
    ("sample {vae} --save x.csv", 2, "--save writes rows of tables alone"),
    ("sample {bare}", 2, "VQVAE has no prior of its own to sample from: fit a sampler first: lit_ae fit-sampler"),
    ("sample {vq} --sampler prior", 2, "leave out --sampler prior"),
    ("sample {residual} --sampler transformer", 2, "has no sampler of the kind transformer: fit it first"),
    ("sample {vae} --sampler transformer", 2, "does not fit VAE"),
    ("sample {vq} --sampler transfromer", 2, "did you mean 'transformer'?"),
    ("sample {vq} --n 0", 2, "argument -n/--n: 0 is too small: give at least 1"),
    ("sample {vq} --temperature 0", 2, "temperature is 0.0: give a number above 0"),
    ("sample {vae} --temperature -1", 2, "argument --temperature: -1 is too small: give at least 0"),
    ("sample {vq} --temperature nan", 2, "argument --temperature: nan"),
    ("sample {vq} --top_p 1.5", 2, "--top_p is 1.5"),
    ("sample {vq} --top_k 0", 2, "--top_k"),
    ("sample {categorical} --sampler prior --temperature 0.5", 2, "the prior is no Gaussian"),
    ("sample {classes} --class 10", 2, "--class is 10: the classes are 0 to 9"),
    ("sample {cvae} --class -1", 2, "--class"),
    ("sample {vq} --class 3", 2, "knows no classes: fit one with lit_ae fit-sampler --condition label"),
    ("sample {vae} --class 3", 2, "VAE of {vae} knows no classes"),
    ("sample {vq} --save x.txt", 2, "ends in .npz, .pt, .csv, .parquet"),
    ("sample {plane} --out pictures", 2, "--out writes pictures"),
]


@pytest.mark.parametrize(("line", "status", "words"), MISTAKES)
def test_mistakes_end_in_one_sentence(
    line: str, status: int, words: str, fitted_runs: Path, lit_ae: Console, tmp_path: Path
) -> None:
    folders = {name: str(fitted_runs / name / "0") for name in RUNS}
    if "{bare}" in line:
        ignored = shutil.ignore_patterns("samplers", "figures")
        folders["bare"] = str(shutil.copytree(folders["vq"], tmp_path / "bare", ignore=ignored))
    before = set(fitted_runs.rglob("samplers/*"))
    done = lit_ae(*line.format(**folders).split())
    assert done.status == status, done.err
    assert words.format(**folders) in done.err
    assert len(done.err.splitlines()) == (1 if status else 0)
    assert set(fitted_runs.rglob("samplers/*")) == before


def test_help_names_every_kind_and_imports_no_torch(tmp_path: Path) -> None:
    code = "import sys; from lit_ae.cli import main; status = main(sys.argv[1:]); assert 'torch' not in sys.modules"
    for arguments, words in (
        (["fit-sampler"], ["transformer", "pixelcnn", "gmm", "two_stage"]),
        (["sample", "--help"], ["--class"]),
    ):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert all(word in done.stdout for word in words)


def test_help_of_a_kind_names_its_settings(lit_ae: Console) -> None:
    done = lit_ae("fit-sampler", "--kind=pixelcnn", "--help")
    assert done.status == 0
    for name in ("width", "layers", "kernel", "dropout"):
        assert f"--sampler.{name}" in done.out
    for cls in (TransformerSampler, PixelCNNSampler):
        assert told(cls) == {"num_codes", "code_shape", "condition_shape", "num_classes"}
    done = lit_ae("fit-sampler", "--kind=gmm", "--help")
    assert all(f"--sampler.{name}" in done.out for name in ("components", "covariance_type", "reg_covar"))
    assert told(GMMSampler) == {"latent_dim", "condition_shape", "num_classes"}


def test_a_fit_without_metrics_is_no_sampler(tmp_path: Path) -> None:
    (tmp_path / "samplers" / "transformer").mkdir(parents=True)
    assert kept(Run(tmp_path)) == []
    assert Kept(Run(tmp_path), "transformer").partial.folder.name == "transformer.partial"
