"""What `lit_ae fit-sampler` and `lit_ae sample` refuse, and their help."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Console, environment
from lit_ae.jobs.kept import Kept, kept, told
from lit_ae.runs import Run
from lit_ae.samplers.gmm import GMMSampler
from lit_ae.samplers.pixelcnn import PixelCNNSampler
from lit_ae.samplers.transformer import TransformerSampler
from samplers_for_tests import RUNS

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
    ("fit-sampler {ae} --kind knn --sampler.neighbors 3", 2, "did you mean '--sampler.neighbours'?"),
    ("fit-sampler {ae} --kind knn --sampler.k 3", 2, "See lit_ae fit-sampler --kind knn --help."),
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
    ("sample {vae} --temperature inf", 2, "argument --temperature: inf is too large"),
    ("sample {vae} --save x.pt -n 99999999999999", 2, "do not fit into memory: --save them as .npz"),
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
