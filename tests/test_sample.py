"""`lit_ae sample`: pictures and files from samplers and priors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from conftest import Console
from lit_ae.jobs.opening import opened
from lit_ae.jobs.poured import Drawn, Page, across
from samplers_for_tests import LATENT


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("L"))


SOURCES = [
    ("vq", (), "transformer"),  # the newest
    ("vq", ("--sampler=pixelcnn",), "pixelcnn"),
    ("vq", ("--temperature=0.5", "--top_k=3", "--top_p=0.9"), "transformer"),
    ("residual", (), "pixelcnn"),
    ("classes", (), "transformer"),
    ("categorical", (), "transformer"),
    ("categorical", ("--sampler=prior",), "prior"),
    ("vae", (), "prior"),
    ("vae", ("--temperature=0.5",), "prior"),
    ("cvae", (), "prior"),
    ("plane", (), "prior"),
]


@pytest.mark.parametrize(("name", "arguments", "source"), SOURCES)
def test_pictures_of_every_source(
    name: str, arguments: tuple[str, ...], source: str, fitted_runs: Path, lit_ae: Console
) -> None:
    folder = fitted_runs / name / "0"
    done = lit_ae("sample", str(folder), "--n=10", *arguments)
    path = folder / "figures" / f"samples_{source}.png"
    assert (done.status, done.out, done.err) == (0, f"picture  {path}\n", "")
    assert read(path).shape[1] >= 500
    assert read(path).std() > 1


def test_a_file_is_no_folder(fitted_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    done = lit_ae("sample", str(fitted_runs / "vae" / "0"), "--out=mine", "--overwrite")
    assert (done.status, done.err) == (2, "lit_ae: mine is a file: name a folder.\n")


@pytest.mark.parametrize("name", ["vq", "vae"])
def test_same_seed_same_samples(name: str, fitted_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    drawn = []
    for number, seed in enumerate((0, 0, 1)):
        file = tmp_path / f"{number}.pt"
        assert lit_ae("sample", str(fitted_runs / name / "0"), "--n=5", f"--seed={seed}", f"--save={file}").status == 0
        drawn.append(torch.load(file, weights_only=True)["x"])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_samples_are_saved(suffix: str, fitted_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    file, singles = tmp_path / f"samples{suffix}", tmp_path / "singles"
    arguments = ("--n=300", "--class=3", f"--save={file}", f"--out={singles}")
    done = lit_ae("sample", str(fitted_runs / "classes" / "0"), *arguments)
    assert done.status == 0, done.err
    assert done.out.splitlines()[0].endswith("samples_transformer_class3.png")
    assert done.out.splitlines()[1:] == [f"samples  {file}", f"pictures {singles}"]
    saved = np.load(file) if suffix == ".npz" else torch.load(file, weights_only=True)
    x, c, values = (torch.as_tensor(saved[name]) for name in ("x", "c", "values"))
    assert (x.shape, c.tolist(), values.shape) == ((300, 1, 8, 8), [3] * 300, (300, 2, 2))
    model = opened(fitted_runs / "classes" / "0").model
    torch.testing.assert_close(model.decode_codes(values, c), x)
    pictures = sorted(singles.iterdir())
    assert [path.name for path in pictures[:2]] == ["000.png", "001.png"]
    assert len(pictures) == 300
    torch.testing.assert_close(torch.tensor(read(pictures[7])) / 255, x[7, 0].clamp(0, 1), atol=2.1 / 255, rtol=0)
    done = lit_ae("sample", str(fitted_runs / "classes" / "0"), f"--save={file}")
    assert done.status == 2
    assert "add --overwrite" in done.err
    (singles / "notes.png").write_bytes(b"of somebody else")
    done = lit_ae("sample", str(fitted_runs / "classes" / "0"), "-n=7", *arguments[1:], "--overwrite")
    assert done.status == 0, done.err
    assert sorted(path.name for path in singles.iterdir()) == [*(f"{i}.png" for i in range(7)), "notes.png"]
    saved = np.load(file) if suffix == ".npz" else torch.load(file, weights_only=True)
    assert len(saved["x"]) == 7


def test_the_first_of_many_samples_are_those_of_few(fitted_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    run, found = str(fitted_runs / "vae" / "0"), []
    for n in (256, 600):
        assert lit_ae("sample", run, "-n", str(n), f"--save={n}.npz").status == 0
        found.append(np.load(tmp_path / f"{n}.npz")["x"])
        assert found[-1].shape == (n, 1, 8, 8)
        assert found[-1].dtype == np.float32
    assert np.array_equal(found[0], found[1][:256])
    assert not np.array_equal(found[1][:256], found[1][256:512])


def test_a_page_shows_the_first_hundred_and_says_so() -> None:
    page = Page((0.0, 1.0))
    x = torch.rand(250, 1, 4, 4)
    passed = list(page.watch(Drawn(part) for part in x.split(60)))
    assert torch.equal(torch.cat([part.x for part in passed]), x)
    assert torch.equal(page.x, x[:100])
    assert page.figure("Samples").axes[0].get_title(loc="left") == "Samples: the first 100 of 250"
    few = Page(None)
    assert len(list(few.watch([Drawn(2 * x[:3])]))) == 1
    assert few.span == pytest.approx((2 * x[:3].min().item(), 2 * x[:3].max().item()))
    assert few.figure("Samples").axes[0].get_title(loc="left") == "Samples"


@pytest.mark.parametrize("kind", LATENT)
def test_latents_of_a_plain_autoencoder_are_sampled(
    kind: str, latent_runs: Path, lit_ae: Console, tmp_path: Path
) -> None:
    folder = latent_runs / "ae" / "0"
    done = lit_ae("sample", str(folder), "-n=300", f"--sampler={kind}", "--save=new.pt", "--temperature=0.5")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[0] == f"picture  {folder}/figures/samples_{kind}.png"
    saved = torch.load(tmp_path / "new.pt", weights_only=True)
    assert (saved["x"].shape, saved["values"].shape) == ((300, 1, 8, 8), (300, 16))
    assert saved["x"].isfinite().all()
    torch.testing.assert_close(opened(folder).model.decode(saved["values"]).mean, saved["x"])
    done = lit_ae("sample", str(folder), "-n=4", f"--sampler={kind}", "--save=cold.pt", "--temperature=0")
    assert done.status == 0, done.err


@pytest.mark.parametrize("kind", LATENT)
def test_latents_of_a_class_are_sampled(kind: str, latent_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    folder = latent_runs / "vae" / "0"
    done = lit_ae("sample", str(folder), "-n=20", f"--sampler={kind}", "--class=3", "--save=new.npz")
    assert done.status == 0, done.err
    assert done.out.splitlines()[0].endswith(f"samples_{kind}_class3.png")
    assert np.load(tmp_path / "new.npz")["c"].tolist() == [3] * 20
    assert lit_ae("sample", str(folder), f"--sampler={kind}", "--class=10").status == 2


def test_rows_of_a_table_are_saved_in_its_own_units(lit_ae: Console, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(50, 10, (200, 3))
    text = "\n".join(["a,b,c", *(",".join(f"{value:.3f}" for value in row) for row in values)])
    (tmp_path / "table.csv").write_text(text + "\n")
    fit = ["fit", "--model=VAE", "--data=Arrays", "--data.path=table.csv", "--trainer.max_epochs=1", "--name=table"]
    fit += ["--trainer.callbacks=[]", "--trainer.logger=false", "--trainer.accelerator=cpu"]
    assert lit_ae(*fit).status == 0
    for name in ("new.csv", "new.parquet", "new.npz", "new.pt"):
        done = lit_ae("sample", "runs/table/0", "-n=300", f"--save={name}")
        assert done.status == 0, done.err
    read, again = pd.read_csv("new.csv"), pd.read_parquet("new.parquet")
    assert list(read) == list(again) == ["a", "b", "c"]
    assert len(read) == len(again) == 300
    assert (read.mean() - 50).abs().max() < 10
    np.testing.assert_allclose(read, again, rtol=1e-5)
    for x in (np.load("new.npz")["x"], torch.load("new.pt", weights_only=True)["x"]):
        np.testing.assert_allclose(x, read, rtol=1e-5)


def test_no_picture_of_the_fit_is_replaced(fitted_runs: Path, lit_ae: Console) -> None:
    figures = fitted_runs / "vae" / "0" / "figures"
    figures.mkdir(exist_ok=True)
    (figures / "samples.png").write_bytes(b"of the fit")
    assert lit_ae("sample", str(figures.parent)).status == 0
    assert (figures / "samples.png").read_bytes() == b"of the fit"


def test_pages_leave_few_places_empty() -> None:
    assert [across(n) for n in (1, 2, 10, 60, 64, 100)] == [1, 2, 5, 10, 8, 10]
    assert all(-n % across(n) < across(n) / 2 for n in range(1, 300))


@pytest.mark.slow
def test_the_console_script_from_fit_to_picture(console: Console, lit_ae: Console, tmp_path: Path) -> None:
    few = ("--trainer.max_epochs=2", "--trainer.callbacks=[]", "--trainer.accelerator=cpu")
    assert lit_ae("fit", "--config=vq_vae", *few).status == 0
    for call, kind in ((lit_ae, "transformer"), (console, "pixelcnn")):
        done = call("fit-sampler", "runs/vq_vae/0", "--kind", kind, "--epochs=2")
        assert done.status == 0, done.err
        assert "nats per sample" in done.out
    done = console("sample", "runs/vq_vae/0", "--n=16", "--out=singles")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[0] == "picture  runs/vq_vae/0/figures/samples_pixelcnn.png"
    page = read(tmp_path / "runs/vq_vae/0/figures/samples_pixelcnn.png")
    assert page.std() > 10
    assert {read(path).shape for path in (tmp_path / "singles").iterdir()} == {(8, 8)}
    assert len(list((tmp_path / "singles").iterdir())) == 16
    assert lit_ae("sample", "runs/vq_vae/1").status == 4
