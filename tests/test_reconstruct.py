"""`lit_ae reconstruct`: the picture, the errors, and restored files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from conftest import Console
from folders_for_tests import fill, save
from lit_ae.cli import main
from lit_ae.jobs import reconstructed
from lit_ae.jobs.opening import opened
from lit_ae.plots.restored import Shown, restored
from test_decode import QUICK


@pytest.mark.parametrize("name", ["ae", "vae", "cvae", "plane", "vq", "categorical"])
def test_errors_come_sorted(name: str, trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    folder = trained_runs / name / "0"
    done = lit_ae("reconstruct", str(folder), "--errors=e.csv", "--out=x.npz", "--batch_size=50")
    assert (done.status, done.err) == (0, "")
    picture = folder / "figures" / "reconstruct.png"
    assert done.out.splitlines()[:3] == [f"picture  {picture}", "errors   e.csv", "restored x.npz"]
    assert Image.open(picture).width > 500
    found, run = pd.read_csv(tmp_path / "e.csv"), opened(folder)
    parts = [(batch, run.model.reconstruct(batch.x, batch.c, batch.mask)) for batch in run.batches("test")]
    errors = torch.cat([(batch.x - x).flatten(1).square().mean(1) for batch, x in parts]).numpy()
    labels = torch.cat([batch.y for batch, _ in parts if batch.y is not None]).numpy()
    assert list(found) == ["index", "label", "error"]
    assert found["error"].is_monotonic_decreasing
    np.testing.assert_allclose(found["error"], errors[found["index"]], rtol=1e-4)
    assert found["label"].tolist() == labels[found["index"]].tolist()
    np.testing.assert_allclose(np.load(tmp_path / "x.npz")["x"], torch.cat([x for _, x in parts]).numpy(), atol=1e-5)


def test_restored_files_keep_their_names(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    fill(tmp_path / "new", {"3": 2})
    save(tmp_path / "new/3/photo.jpg", 100)
    folder = trained_runs / "ae" / "0"
    done = lit_ae("reconstruct", str(folder), "--data=new", "--out=clean", "--overwrite")
    assert (done.status, done.err) == (0, "")
    written = sorted(path.relative_to(tmp_path / "clean").as_posix() for path in tmp_path.glob("clean/**/*.*"))
    assert written == ["3/000.png", "3/001.png", "3/photo.jpg"]
    assert Image.open(tmp_path / "clean/3/photo.jpg").format == "JPEG"
    found = pd.read_csv(folder / "reconstruct.csv")
    assert sorted(found["name"]) == written
    assert set(found["label"]) == {3}
    assert lit_ae("reconstruct", str(folder), "--data=new", "--out=clean").status == 2
    done = lit_ae("reconstruct", str(folder), "--data=new")
    assert done.status == 2
    assert "reconstruct.csv is there already: add --overwrite" in done.err


def test_the_worst_typical_and_best_are_shown() -> None:
    kept, blank = reconstructed.Kept(Random(0)), np.zeros((1, 8, 8))
    for row, error in enumerate(np.random.default_rng(0).permutation(500).tolist()):
        kept.add(error, row, partial(Shown, blank, None, blank, error, str(row)))
    bands = {name: [shown.error for shown in band] for name, band in kept.bands()}
    assert bands["worst"] == [*range(499, 491, -1)]
    assert bands["best"] == [*range(7, -1, -1)]
    assert all(150 < error < 350 for error in bands["typical"])


def test_a_mask_is_filled_in(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((5, 8, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    mask = np.full((8, 8), 255, np.uint8)
    mask[2:5, 3:] = 0
    Image.fromarray(mask).save(tmp_path / "mask.png")
    folder = str(trained_runs / "vae" / "0")
    arguments = ("--data=x.npy", "--mask=mask.png", "--out=filled.npy", "--errors=e.csv")
    assert lit_ae("reconstruct", folder, *arguments).status == 0
    filled = np.load(tmp_path / "filled.npy")[:, 0]
    assert np.array_equal(filled[:, mask > 0], x[:, mask > 0])
    seen = torch.from_numpy(np.where(mask > 0, x, 0))[:, None]
    expected = opened(folder).model.reconstruct(seen)[:, 0].numpy()
    np.testing.assert_allclose(filled[:, mask == 0], expected[:, mask == 0], atol=1e-5)
    Image.fromarray(mask[:4]).save(tmp_path / "small.png")
    assert lit_ae("reconstruct", folder, "--data=x.npy", "--mask=small.png").status == 3
    assert lit_ae("reconstruct", folder, "--data=x.npy", "--mask=none.png").status == 3
    Image.fromarray(0 * mask).save(tmp_path / "black.png")
    done = lit_ae("reconstruct", folder, "--data=x.npy", "--mask=black.png")
    assert (done.status, "black all over" in done.err) == (3, True)
    assert lit_ae("reconstruct", str(trained_runs / "plane" / "0"), "--mask=mask.png").status == 2


def test_missing_cells_of_a_table_are_filled_in(
    lit_ae: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    table = pd.DataFrame({"id": range(100), "height": random.normal(170, 10, 100), "mass": random.normal(70, 5, 100)})
    table["kind"] = random.choice(["cat", "dog", "eel"], 100)
    table.to_csv(tmp_path / "table.csv", index=False)
    holes = table.iloc[:20].copy()
    holes.loc[3, "height"] = np.nan
    holes.loc[5, "kind"] = None
    holes.to_csv(tmp_path / "holes.csv", index=False)
    columns = ["--data.columns=[height,mass,kind]", "--data.missing=mask", "--data.batch_size=16"]
    fit = ["fit", "--model=VAE", "--model.likelihood=Mixed", "--data=Arrays", "--data.path=table.csv", *columns]
    assert main([*fit, *QUICK, "--name=table"]) == 0
    drawn: list[Shown] = []

    def drawing(bands: list[tuple[str, list[Shown]]], *rest: Any) -> Figure:
        drawn.extend(sample for _, samples in bands for sample in samples)
        return restored(bands, *rest)

    monkeypatch.setattr(reconstructed, "restored", drawing)
    done = lit_ae("reconstruct", "runs/table/0", "--data=holes.csv", "--out=filled.csv")
    assert (done.status, done.err) == (0, "")
    filled = pd.read_csv(tmp_path / "filled.csv")
    assert list(filled) == ["id", "height", "mass", "kind"]
    known = holes.notna()
    assert filled.notna().all().all()
    assert filled.where(known).dropna().equals(holes.dropna())
    assert 100 < filled.loc[3, "height"] < 240
    assert filled.loc[5, "kind"] in ("cat", "dog", "eel")
    done = lit_ae("reconstruct", "runs/table/0", "--data=holes.csv", "--out=folder", "--errors=e.csv")
    assert "restored folder/holes.csv" in done.out
    for sample in drawn:  # the model's own values, of which the errors are, not the cells that a file keeps
        assert sample.seen is not None
        assert np.nanmean((sample.seen - sample.restored) ** 2) == pytest.approx(sample.error, rel=1e-4)


def test_a_masked_autoencoder_restores_what_it_hides(lit_ae: Console, tmp_path: Path) -> None:
    quick = [each for each in QUICK if "--model" not in each]
    assert main(["fit", "--config=masked_autoencoder", *quick, "--trainer.limit_train_batches=2"]) == 0
    for number in range(2):
        assert (
            lit_ae(
                "reconstruct", "runs/masked_autoencoder/0", f"--errors={number}.csv", "--out=x.npy", "--overwrite"
            ).status
            == 0
        )
    assert (tmp_path / "0.csv").read_bytes() == (tmp_path / "1.csv").read_bytes()
    run = opened(tmp_path / "runs/masked_autoencoder/0")
    x = torch.cat([batch.x for batch in run.batches("test")]).numpy()
    kept = (np.load(tmp_path / "x.npy") == x).mean()
    assert 0.2 < kept < 0.5  # a quarter of the patches, and pixels that happen to be equal


BAD = {
    "both": (("--data=new", "--split=val"), 2, "leave it out, or --data"),
    "missing": (("--data=new",), 3, "There is no new"),
    "errors": (("--errors=e.txt",), 2, "ends in .csv"),
    "table": (("--out=x.csv",), 2, "have no columns"),
    "there": (("--errors=there.csv",), 2, "add --overwrite"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str, trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_bytes(b"mine")
    arguments, status, said = BAD[name]
    done = lit_ae("reconstruct", str(trained_runs / "ae" / "0"), *arguments)
    assert done.status == status
    assert said in done.err
    assert (tmp_path / "there.csv").read_bytes() == b"mine"


def test_the_console_script(trained_runs: Path, console: Console) -> None:
    done = console("reconstruct", str(trained_runs / "vae" / "0"), "--overwrite")
    assert (done.status, done.err) == (0, "")
    assert [line.split()[0] for line in done.out.splitlines()] == ["picture", "errors", "error"]
