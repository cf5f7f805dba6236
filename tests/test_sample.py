"""`lit_ae sample`: pictures and files from samplers and priors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import Console
from lit_ae.jobs.opening import opened
from lit_ae.jobs.sampled import across


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
    assert lit_ae("sample", str(fitted_runs / "classes" / "0"), f"--save={file}").status == 2


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
def test_the_console_script_from_fit_to_picture(console: Console, tmp_path: Path) -> None:
    few = ("--trainer.max_epochs=2", "--trainer.callbacks=[]", "--trainer.accelerator=cpu")
    assert console("fit", "--config=vq_vae", *few).status == 0
    for kind in ("transformer", "pixelcnn"):
        done = console("fit-sampler", "runs/vq_vae/0", "--kind", kind, "--epochs=2")
        assert done.status == 0, done.err
        assert "nats per sample" in done.out
    done = console("sample", "runs/vq_vae/0", "--n=16", "--out=singles")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[0] == "picture  runs/vq_vae/0/figures/samples_pixelcnn.png"
    page = read(tmp_path / "runs/vq_vae/0/figures/samples_pixelcnn.png")
    assert page.std() > 10
    assert {read(path).shape for path in (tmp_path / "singles").iterdir()} == {(8, 8)}
    assert len(list((tmp_path / "singles").iterdir())) == 16
    assert console("sample", "runs/vq_vae/1").status == 4
