"""`lit_ae detect`: scores, their threshold, and how they agree with labels."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from conftest import QUICK, Console
from lit_ae.cli import main
from lit_ae.jobs.detected import is_normal
from lit_ae.jobs.opening import opened
from lit_ae.metrics import nll


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a VAE that was trained on the digits 0 to 4, and all.npz with others of all digits."""
    folder = tmp_path_factory.mktemp("few")
    x, y = load_digits(return_X_y=True)
    x = (255 * (x > 7)).astype(np.uint8).reshape(-1, 8, 8)
    seen = np.arange(len(x)) < 1200
    np.savez(folder / "few.npz", x=x[seen & (y < 5)])
    np.savez(folder / "all.npz", x=x[~seen], y=y[~seen])
    common = ["--trainer.callbacks=[]", "--trainer.logger=false", "--trainer.max_epochs=40", f"--runs={folder}"]
    data = ["--data=Arrays", f"--data.path={folder / 'few.npz'}", "--data.batch_size=32"]
    model = [
        "--model=VAE",
        "--model.latent_dim=4",
        "--model.likelihood=Bernoulli",
        "--model.encoder.hidden=[128]",
        "--model.decoder.hidden=[128]",
    ]
    assert main(["fit", *model, *data, *common, "--name=few", *QUICK[:2]]) == 0
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_digits_that_were_never_seen_score_higher(few: Path, console: Console) -> None:
    arguments = ("--data=all.npz", "--labels=all.npz", "--normal", "0", "1", "2", "3", "4", "--out=scores.csv")
    done = console("detect", str(few / "few" / "0"), *arguments, cwd=few)
    assert (done.status, done.err) == (0, "")
    said = {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1] for line in done.out.splitlines()}
    assert said["scores"] == "scores.csv"
    rows = table(few / "scores.csv")
    score = np.array([float(row["score"]) for row in rows])
    y = np.load(few / "all.npz")["y"]
    assert [int(row["index"]) for row in rows] == list(range(len(y)))
    assert [int(row["label"]) for row in rows] == y.tolist()
    auroc = roc_auc_score(y > 4, score)
    assert auroc > 0.75
    assert said["auroc"].startswith(f"{auroc:.4f},")
    threshold = float(said["threshold"].split()[0])
    assert [row["anomalous"] == "True" for row in rows] == pytest.approx(score > threshold)
    with Image.open(few / "few" / "0" / "figures" / "anomalies.png") as picture:
        assert picture.width > 800


@pytest.mark.parametrize("score", ["reconstruction", "elbo", "log_px"])
def test_the_threshold_is_a_quantile_of_validation_scores(
    score: str, few: Path, lit_ae: Console, tmp_path: Path
) -> None:
    arguments = (str(few / "few" / "0"), f"--score={score}", "--samples=4", "--device=cpu")
    assert lit_ae("detect", *arguments, "--split=val", "--out=val.npz").status == 0
    done = lit_ae("detect", *arguments, "--quantile=0.8", "--out=test.npz")
    expected = np.quantile(np.load(tmp_path / "val.npz")["score"], 0.8)
    assert f"threshold {expected:.2f} nats, the 0.8 quantile" in done.out
    found = np.load(tmp_path / "test.npz")
    np.testing.assert_array_equal(found["anomalous"], found["score"] > expected)


@pytest.mark.parametrize("score", ["reconstruction", "elbo", "log_px"])
def test_no_score_depends_on_the_batch_size(score: str, few: Path, lit_ae: Console, tmp_path: Path) -> None:
    found = []
    for size in (7, 64):
        arguments = (f"--score={score}", "--samples=3", f"--data.batch_size={size}", f"--out={size}.npz")
        assert lit_ae("detect", str(few / "few" / "0"), *arguments).status == 0
        found.append(np.load(tmp_path / f"{size}.npz")["score"])
    np.testing.assert_array_equal(found[0], found[1])


def test_scores_are_what_they_say(few: Path, lit_ae: Console, tmp_path: Path) -> None:
    run = opened(few / "few" / "0")
    batch = run.first(40)
    found = {}
    for score, samples in (("reconstruction", 1), ("elbo", 200), ("log_px", 200)):
        arguments = (f"--score={score}", f"--samples={samples}", f"--out={score}.npz")
        assert lit_ae("detect", str(few / "few" / "0"), *arguments).status == 0
        found[score] = torch.from_numpy(np.load(tmp_path / f"{score}.npz")["score"])[:40].float()
    distortion = -run.model.decode(run.model.embed(batch.x)).log_prob(batch.x)
    torch.testing.assert_close(found["reconstruction"], distortion, atol=1e-3, rtol=1e-4)
    torch.manual_seed(0)
    out = run.model(batch, 500)
    elbo = run.model.rate(out) - out.p.log_prob(batch.x).mean(0)  # type: ignore[operator]
    torch.testing.assert_close(found["elbo"], elbo, atol=1.0, rtol=0.02)
    nats = nll(run.model, batch, 500).nats  # type: ignore[arg-type]
    torch.testing.assert_close(found["log_px"], nats, atol=1.0, rtol=0.02)


def test_what_is_normal() -> None:
    words = np.array(["good", "scratch", "good"])
    assert np.array_equal(is_normal(words, None, None), [True, False, True])  # type: ignore[arg-type]
    assert np.array_equal(is_normal(words, ["scratch"], None), [False, True, False])  # type: ignore[arg-type]
    assert np.array_equal(is_normal(words, ["1"], ["good", "scratch"]), [False, True, False])  # type: ignore[arg-type]
    assert is_normal(np.array(["cat"]), None, None) is None
    assert is_normal(None, None, None) is None


def test_folders_say_what_is_normal_and_files_have_names(few: Path, lit_ae: Console, tmp_path: Path) -> None:
    data = np.load(few / "all.npz")
    for i, (x, y) in enumerate(zip(data["x"][:60], data["y"][:60], strict=True)):
        folder = tmp_path / "photos" / ("good" if y < 5 else "broken")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x).save(folder / f"{i:03d}.png")
    done = lit_ae("detect", str(few / "digits"), "--data=photos", "--out=scores.parquet")
    assert done.status == 4  # no such run
    folder = few / "pictures" / "0"
    if not folder.exists():
        common = ["--trainer.callbacks=[]", "--trainer.logger=false", "--trainer.max_epochs=1", f"--runs={few}"]
        assert main(["fit", "--model=AE", *common, "--name=pictures", *QUICK]) == 0
    done = lit_ae("detect", str(folder), "--data=photos", "--out=scores.csv")
    assert (done.status, done.err) == (0, "")
    assert "\nauroc     " in done.out
    rows = table(tmp_path / "scores.csv")
    assert sorted(row["name"] for row in rows) == sorted(
        str(path.relative_to(tmp_path / "photos")) for path in (tmp_path / "photos").glob("*/*")
    )
    assert {row["label"] for row in rows} == {"good", "broken"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--quantile=2",), "from 0 to 1"),
        (("--score=beauty",), "beauty"),
        (("--out=scores.xyz",), ".parquet"),
        (("--normal", "cat"), "give --labels"),
        (("--out=there.csv",), "--overwrite"),
        (("--data=there.csv", "--split=val"), "leave it out, or --data"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], words: str, few: Path, lit_ae: Console, tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("")
    done = lit_ae("detect", str(few / "few" / "0"), *arguments)
    assert done.status == 2
    assert words in done.err
    assert len(done.err.splitlines()) == 1


def test_without_a_rate_there_is_reconstruction_alone(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    done = lit_ae("detect", str(trained_runs / "ae" / "0"), "--score=elbo")
    assert done.status == 2
    assert "use --score reconstruction" in done.err
    for name in ("ae", "vq", "plane"):
        assert lit_ae("detect", str(trained_runs / name / "0"), f"--out={name}.csv").status == 0
        assert len(table(tmp_path / f"{name}.csv")) > 10
