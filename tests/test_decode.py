"""`lit_ae decode`: latents and codes back to pictures, tables and arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from conftest import Console
from folders_for_tests import fill
from lit_ae.cli import main
from lit_ae.jobs.opening import opened
from lit_ae.jobs.outputs import safe

QUICK = ["--trainer.max_epochs=1", "--trainer.callbacks=[]", "--trainer.logger=false", "--trainer.accelerator=cpu"]
QUICK += ["--trainer.enable_progress_bar=false", "--model.encoder.hidden=[8]", "--model.decoder.hidden=[8]"]


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a table of numbers and classes."""
    folder = tmp_path_factory.mktemp("wine")
    assert main(["fit", "--config=mixed_table", f"--runs={folder}", *QUICK]) == 0
    return folder / "mixed_table" / "0"


def reconstructed(folder: Path) -> np.ndarray:
    run = opened(folder)
    found = [run.model.reconstruct(batch.x, batch.c, batch.mask) for batch in run.batches("test")]
    return torch.cat(found).numpy()


@pytest.mark.parametrize("name", ["ae", "vae", "cvae", "plane", "vq", "residual", "classes", "categorical"])
@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
def test_embed_and_decode_give_the_reconstruction(
    name: str, suffix: str, trained_runs: Path, lit_ae: Console, tmp_path: Path
) -> None:
    folder = str(trained_runs / name / "0")
    assert lit_ae("embed", folder, f"--out=z{suffix}").status == 0
    done = lit_ae("decode", folder, f"z{suffix}", "--out=x.npz", "--batch_size=50")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[0] == "samples  x.npz"
    assert "bits per sample" in done.out
    np.testing.assert_allclose(np.load(tmp_path / "x.npz")["x"], reconstructed(Path(folder)), atol=1e-5)


def test_pictures_get_their_names_back(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    fill(tmp_path / "new", {"3": 3, "7": 2})
    folder = str(trained_runs / "vq" / "0")
    assert lit_ae("embed", folder, "--data=new", "--out=z.parquet").status == 0
    done = lit_ae("decode", folder, "z.parquet")
    assert (done.status, done.out.splitlines()[0]) == (0, "samples  z_decoded")
    written = sorted(path.relative_to(tmp_path / "z_decoded").as_posix() for path in tmp_path.glob("z_decoded/*/*"))
    assert written == ["3/000.png", "3/001.png", "3/002.png", "7/000.png", "7/001.png"]
    assert Image.open(tmp_path / "z_decoded/7/001.png").size == (8, 8)
    assert lit_ae("decode", folder, "z.parquet").status == 2
    assert lit_ae("decode", folder, "z.parquet", "--overwrite").status == 0


def test_pictures_without_names_are_numbered(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    z = np.zeros((3, 16), np.float32)
    np.save(tmp_path / "z.npy", z)
    assert lit_ae("decode", str(trained_runs / "ae" / "0"), "z.npy", "--out=new").status == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["000000.png", "000001.png", "000002.png"]
    x = opened(trained_runs / "ae" / "0").model.decode(torch.from_numpy(z)).mean[0, 0].clamp(0, 1)
    pixels = torch.tensor(np.asarray(Image.open(tmp_path / "new/000000.png"))) / 255
    torch.testing.assert_close(pixels, x, atol=0.6 / 255, rtol=0)


def test_tables_get_their_columns_and_classes(wine: Path, lit_ae: Console, tmp_path: Path) -> None:
    assert lit_ae("embed", str(wine), "--out=z.parquet", "--split=train").status == 0
    for name in ("x.csv", "x.parquet"):
        assert lit_ae("decode", str(wine), "z.parquet", f"--out={name}").status == 0
    first, second = pd.read_csv(tmp_path / "x.csv"), pd.read_parquet(tmp_path / "x.parquet")
    assert list(first) == list(second)
    assert set(first["class"]) <= {"class_0", "class_1", "class_2"}
    assert 12 < first["alcohol"].mean() < 14  # per cent: in the units of the file
    np.testing.assert_allclose(first["alcohol"], second["alcohol"], rtol=1e-5)


def test_a_class_for_all(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    folder = trained_runs / "cvae" / "0"
    z = np.random.default_rng(0).normal(size=(4, 16)).astype(np.float32)
    np.save(tmp_path / "z.npy", z)
    assert lit_ae("decode", str(folder), "z.npy", "--out=x.npy", "--class=3").status == 0
    expected = opened(folder).model.decode(torch.from_numpy(z), torch.full((4,), 3)).mean
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), expected.numpy(), atol=1e-6)
    assert "has no condition" in lit_ae("decode", str(folder), "z.npy", "--out=y.npy").err
    assert lit_ae("decode", str(folder), "z.npy", "--out=y.npy", "--class=10").status == 2


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet"])
def test_latents_of_half_the_precision_are_half_the_bits(
    suffix: str, trained_runs: Path, lit_ae: Console, tmp_path: Path
) -> None:
    folder = str(trained_runs / "vae" / "0")
    embedded = lit_ae("embed", folder, f"--out=z{suffix}", "--dtype=float16")
    decoded = lit_ae("decode", folder, f"z{suffix}", "--out=x.npz")
    assert "16 x 16" in embedded.out
    assert decoded.out.splitlines()[1] == embedded.out.splitlines()[1]


def test_csv_files_of_latents(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    z = np.random.default_rng(0).normal(size=(4, 16))
    pd.DataFrame(z, columns=[f"z{i}" for i in range(16)]).to_csv(tmp_path / "z.csv", index=False)
    assert lit_ae("decode", str(trained_runs / "ae" / "0"), "z.csv", "--out=x.npy").status == 0
    assert np.load(tmp_path / "x.npy").shape == (4, 1, 8, 8)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("name", ["vae", "vq"])
def test_columns_in_any_order(name: str, suffix: str, trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    folder = str(trained_runs / name / "0")
    assert lit_ae("embed", folder, "--out=z.parquet").status == 0
    held = pd.read_parquet(tmp_path / "z.parquet")
    held = held[sorted(held, reverse=True)]  # z9, z8, ..., z15, ..., z1, z0
    if suffix == ".parquet":
        held.to_parquet(tmp_path / "sorted.parquet")
    else:
        held.to_csv(tmp_path / "sorted.csv", index=False)
    done = lit_ae("decode", folder, f"sorted{suffix}", "--out=x.npy")
    assert done.status == 0, done.err
    assert ("12 bits per sample (4 x 3)" in done.out) == (name == "vq")  # 8 codes are 3 bits each
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), reconstructed(Path(folder)), atol=1e-5)


def test_a_dot_in_the_name_makes_no_format(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    np.save(tmp_path / "z.v1.npy", np.zeros((3, 16)))
    done = lit_ae("decode", str(trained_runs / "ae" / "0"), "z.v1.npy")
    assert (done.status, done.out.splitlines()[0]) == (0, "samples  z_v1_decoded")
    assert len(list((tmp_path / "z_v1_decoded").iterdir())) == 3


@pytest.mark.parametrize("name", ["../../etc/x.png", "/etc/x.png", "a/../x.png", "..", "x.jpg", "x.npy"])
def test_names_stay_in_the_folder(name: str) -> None:
    path = safe(name)
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert path.suffix in (".png", ".jpg")


def frame(**more: object) -> pd.DataFrame:
    """A table of latents, with other columns, or some of these themselves."""
    return pd.DataFrame({f"z{i}": np.zeros(3) for i in range(16)} | more)


DAMAGED = {
    "text": ("ae", frame(z3=["a", "b", "c"]), "has text for numbers of its latents"),
    "gap": ("ae", frame(z3=pd.array([0.5, None, 0.5])), "no finite number in row 1"),
    "large": ("ae", frame(z3=[0.0, 0.0, 1e300]), "no finite number in row 2"),
    "class": ("cvae", frame(label=["a", "b", "c"]), "has text for numbers of its condition"),
    "unknown": ("cvae", frame(label=[1.0, np.nan, 2.0]), "a condition that is no class"),
    "between": ("cvae", frame(label=[1.0, 0.5, 2.0]), "a condition that is no class"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_tables(name: str, trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    run, table, said = DAMAGED[name]
    table.to_parquet(tmp_path / "z.parquet")
    done = lit_ae("decode", str(trained_runs / run / "0"), "z.parquet", "--out=x.npz")
    assert done.status == 3, done.err
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["z.parquet"]


def test_arrays_of_different_lengths(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    np.savez(tmp_path / "z.npz", mean=np.zeros((5, 16)), name=np.array(["a", "b"]))
    done = lit_ae("decode", str(trained_runs / "ae" / "0"), "z.npz", "--out=x")
    assert (done.status, done.err) == (3, "lit_ae: z.npz has 2 of 'name' for 5 samples: write it anew.\n")


WRONG = {
    "width": ("ae", np.zeros((3, 5)), "has 5 latents per sample, the run has 16"),
    "nan": ("ae", np.full((3, 16), np.nan), "row 0 (counted from 0)"),
    "code": ("vq", np.full((3, 2, 2), 99), "has the code 99: this run's are 0 to 7"),
    "codes": ("vq", np.zeros((3, 5), int), "has 5 codes per sample, the run has 4"),
}


@pytest.mark.parametrize("name", WRONG)
def test_files_of_another_run(name: str, trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    run, values, said = WRONG[name]
    np.save(tmp_path / "z.npy", values)
    done = lit_ae("decode", str(trained_runs / run / "0"), "z.npy", "--out=x.npz")
    assert done.status == 3
    assert said in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["z.npy"]


def test_bad_input(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    folder = str(trained_runs / "ae" / "0")
    assert "There is no file z.npy" in lit_ae("decode", folder, "z.npy").err
    assert lit_ae("decode", folder, "z.txt").status == 2
    (tmp_path / "z.parquet").write_bytes(b"no table")
    assert lit_ae("decode", folder, "z.parquet").status == 3
    pd.DataFrame({"a": [1.0]}).to_parquet(tmp_path / "z.parquet")
    assert "holds no latents" in lit_ae("decode", folder, "z.parquet").err
    np.save(tmp_path / "z.npy", np.zeros((3, 16)))
    assert "have no columns" in lit_ae("decode", folder, "z.npy", "--out=x.csv").err
    assert lit_ae("decode", folder, "z.npy", "--out=x.txt").status == 2


def test_the_console_script(trained_runs: Path, console: Console, tmp_path: Path) -> None:
    np.save(tmp_path / "z.npy", np.zeros((3, 16)))
    done = console("decode", str(trained_runs / "ae" / "0"), "z.npy")
    assert (done.status, done.err) == (0, "")
    assert len(list((tmp_path / "z_decoded").iterdir())) == 3
