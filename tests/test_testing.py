"""`lit_ae test`: one table and metrics.json, whatever the run and its data allow."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from conftest import Console
from lit_ae import functional
from lit_ae.batch import key
from lit_ae.cli import main
from lit_ae.jobs.opening import Opened, opened
from lit_ae.models.generative import Variational
from lit_ae.models.randomness import reseed

FAST = ("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.callbacks=[]")
SHORT = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=3", "--trainer.logger=false")
FEW = ("--nll_samples=20",)


def copied(run: Path, folder: Path) -> Path:
    """A copy of a run, to write into."""
    shutil.copytree(run, folder / run.parent.name)
    return folder / run.parent.name


def values(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return found


def joined(run: Opened, split: Any = "test") -> tuple[torch.Tensor, torch.Tensor]:
    """All embeddings and labels of a split."""
    parts = [(run.model.embed(batch.x, batch.c, batch.mask), batch.y) for batch in run.ordered(split)]
    z, y = (torch.cat([part for part in column if part is not None]) for column in zip(*parts, strict=True))
    return z, y


@pytest.fixture(scope="session")
def measured(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A VAE on digits, measured by the real main, and what was printed is asked for again by the console script."""
    run = copied(trained, tmp_path_factory.mktemp("measured"))
    assert main(["test", str(run), *FAST, *FEW]) == 0
    return run, (run / "metrics.json").read_text(encoding="utf-8")


def test_elbo_and_its_parts_are_those_of_a_bare_loop(measured: tuple[Path, str]) -> None:
    found, run = values(measured[0]), opened(measured[0])
    model, rows = run.model, []
    assert isinstance(model, Variational)
    for number, batch in enumerate(run.ordered("test")):
        reseed(key(0, number), torch.device("cpu"))
        q = model.encode(batch.x)
        distortion = -model.decode(q.rsample(torch.Size((1,)))).log_prob(batch.x)[0]
        rows.append(torch.stack([distortion, functional.rate(q, model.prior(), q.mode[None])]))
    distortion, rate = torch.cat(rows, 1).double().numpy()
    wanted = {"elbo": -(distortion + rate), "distortion": distortion, "rate": rate}
    for name, column in wanted.items():
        np.testing.assert_allclose(found[name], column.mean(), rtol=1e-5)
        np.testing.assert_allclose(found[f"{name}_standard_error"], column.std(ddof=1) / len(column) ** 0.5, rtol=1e-4)
    assert found["samples"] == len(rate) == 360
    bits = (distortion + rate).mean() / 64 / np.log(2)
    np.testing.assert_allclose(found["bits_per_dim"], bits, rtol=1e-5)


def test_errors_are_those_of_the_whole_split(measured: tuple[Path, str], lit_ae: Console, tmp_path: Path) -> None:
    run = copied(measured[0], tmp_path)
    assert lit_ae("test", str(run), *FAST, "--n=100", *FEW, "--metrics", "likelihood", "mse_sampled").status == 0
    part, whole = values(run), json.loads(measured[1])
    for name in ("elbo", "distortion", "rate", "mse_sampled"):  # from fewer samples, but of the same mean
        assert part[name] == pytest.approx(whole[name], rel=1e-6)
        assert part[f"{name}_standard_error"] == pytest.approx(whole[f"{name}_standard_error"], rel=0.4)


def test_log_px_lies_above_the_elbo_and_says_its_error(measured: tuple[Path, str]) -> None:
    found = values(measured[0])
    assert found["log_px"] > found["elbo"]
    assert found["log_px_importance_samples"] == 20
    assert 0 < found["log_px_importance_error"] < found["log_px_standard_error"]
    assert 0 < found["mutual_information"] <= np.log(360)


def test_errors_and_probes_agree_with_numpy_and_scikit_learn(measured: tuple[Path, str]) -> None:
    found, run = values(measured[0]), opened(measured[0])
    batches = [*run.ordered("test")]
    x = torch.cat([batch.x for batch in batches]).numpy()
    x_hat = torch.cat([run.model.reconstruct(batch.x) for batch in batches]).numpy()
    errors = np.square(x - x_hat).reshape(len(x), -1)
    np.testing.assert_allclose(found["mse"], errors.sum(1).mean(), rtol=1e-5)
    np.testing.assert_allclose(found["mse_mean"], errors.mean(), rtol=1e-5)
    low, high = run.model.spec.value_range or (0, 1)
    decibels = 10 * np.log10((high - low) ** 2 / errors.mean(1))
    np.testing.assert_allclose(found["psnr"], decibels.mean(), rtol=1e-5)
    (z_train, y_train), (z, y) = joined(run, "train"), joined(run)
    accuracy = KNeighborsClassifier(5).fit(z_train.numpy(), y_train.numpy()).score(z.numpy(), y.numpy())
    assert found["knn_accuracy"] == pytest.approx(accuracy)
    assert found["knn_accuracy_standard_error"] == pytest.approx((accuracy * (1 - accuracy) / 360) ** 0.5)
    assert found["active_units"] == int((z.var(0, correction=0) > 0.01).sum())


def test_the_features_of_fid_are_named(measured: tuple[Path, str]) -> None:
    found = values(measured[0])
    assert found["features"].startswith("classifier trained on ")
    assert "Digits" in found["features"]
    assert "Inception" not in measured[1]
    assert found["fid"] > 0
    assert all(0 <= found[name] <= 1 for name in ("precision", "recall", "coverage"))


def test_the_console_script_prints_one_table_with_the_same_numbers(
    measured: tuple[Path, str], console: Console, tmp_path: Path
) -> None:
    run = copied(measured[0], tmp_path)
    done = console("test", str(run), *FAST, *FEW)
    assert done.status == 0, done.err
    assert (run / "metrics.json").read_text(encoding="utf-8") == measured[1]  # same seed, same numbers
    lines = done.out.splitlines()
    assert lines[0] == f"{run}: VAE, checkpoints/best.ckpt, 360 test samples"
    assert lines[-1] == f"metrics  {run / 'metrics.json'}"
    assert "━" not in done.out  # nor Lightning's table
    found = values(run)
    (row,) = [line for line in lines if line.startswith("  ELBO  ")]
    elbo, error, unit = re.findall(r"(-?[\d.]+) +± ([\d.]+) +(\w+)", row)[0]
    assert float(elbo) == pytest.approx(found["elbo"], abs=float(error))
    assert unit == "nats"
    assert len(elbo.split(".")[1]) == len(error.split(".")[1])
    points = {line.index(".", 20) for line in lines if re.match(r"  \S.* ± ", line)}
    assert len(points) == 1
    assert any("classifier trained on" in line for line in lines)
    assert any(line.startswith("  codes  ") and "VAE has no codes" in line for line in lines)
    assert max(map(len, lines)) <= 140


def test_a_plain_autoencoder_has_no_rate(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    run = copied(trained_runs / "ae" / "0", tmp_path)
    assert lit_ae("test", str(run), *FAST).status == 0
    found = values(run)
    assert found.keys() >= {"distortion", "mse", "psnr", "ssim", "knn_accuracy"}
    assert found.keys().isdisjoint({"elbo", "rate", "log_px", "active_units", "mutual_information", "fid"})
    assert found["features"] is None
    for name, said in (("fid", "AE has no prior to sample from"), ("log_px", "AE on Digits does not allow")):
        done = lit_ae("test", str(run), *FAST, "--metrics", name)
        assert done.status == 2
        assert said in done.err


def test_codes_and_a_fitted_sampler(fitted_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    run = copied(fitted_runs / "vq" / "0", tmp_path)
    done = lit_ae("test", str(run), *FAST, "--quick", "--n=100", "--sampler=pixelcnn")
    assert done.status == 0, done.err
    found, model = values(run), opened(run)
    chance = torch.randperm(360, generator=torch.Generator().manual_seed(key(0)))[:100]
    codes = torch.cat([model.model.codes(batch.x) for batch in model.ordered("test")])[chance].flatten()
    counts = codes.bincount(minlength=8).double()
    share = counts[counts > 0] / counts.sum()
    assert found["codes_used"] == pytest.approx((counts > 0).double().mean().item())
    assert found["codes_perplexity"] == pytest.approx((-share * share.log()).sum().exp().item(), rel=1e-5)
    assert "100 test samples and 100 from the sampler pixelcnn" in done.out
    assert {"fid", "kid", "kid_deviation", "density"} <= found.keys()
    assert lit_ae("test", str(run), *FAST, "--metrics", "fid", "--sampler=gm").status == 2


@pytest.mark.parametrize("name", ["plane", "cvae", "categorical"])
def test_points_conditions_and_code_distributions(
    name: str, trained_runs: Path, lit_ae: Console, tmp_path: Path
) -> None:
    run = copied(trained_runs / name / "0", tmp_path)
    done = lit_ae("test", str(run), *FAST, "--quick", "--n=100")
    assert done.status == 0, done.err
    found = values(run)
    assert found["log_px"] > found["elbo"] - 3 * found["elbo_standard_error"]
    assert ("psnr" in found) == (name != "plane")
    assert found["n"] == min(100, found["samples"])
    assert all(value is None or isinstance(value, str) or np.isfinite(value) for value in found.values())


def test_a_subset_overwrites_the_earlier_report(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    run = copied(trained_runs / "vae" / "0", tmp_path)
    assert lit_ae("test", str(run), *FAST, "--metrics", "mse", "psnr").status == 0
    facts = {"variant", "checkpoint", "samples", "n", "seed", "features"}
    assert values(run).keys() == facts | {"mse", "mse_standard_error", "psnr", "psnr_standard_error"}
    drawn = []
    for seed in (0, 1):
        done = lit_ae("test", str(run), *FAST, f"--seed={seed}", "--metrics", "log_px", "--quick")
        assert done.status == 0, done.err
        assert values(run).keys() - facts == {
            "log_px", "log_px_standard_error", "log_px_importance_samples", "log_px_importance_error"
        }  # fmt: skip
        drawn.append(values(run)["log_px"])
    assert drawn[0] != drawn[1]


def test_part_of_the_test_split(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    run = copied(trained_runs / "vae" / "0", tmp_path)
    limited = ("--trainer.limit_test_batches=2", "--data.batch_size=50", "--metrics", "likelihood", "--quick")
    assert lit_ae("test", str(run), *FAST, *limited).status == 0
    assert values(run)["samples"] == 100


def test_part_of_sorted_data_is_of_all_classes(lit_ae: Console, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    y = np.arange(1000) // 250  # as folders of pictures are read: one class after another
    x = np.eye(4)[y] * 9 + draw.normal(size=(1000, 4))
    np.savez(tmp_path / "sorted.npz", x=x.astype("float32"), y=y)
    model = ("--model=AE", "--model.latent_dim=4", "--model.encoder.hidden=[]", "--model.decoder.hidden=[]")
    assert lit_ae("fit", *model, "--data=Arrays", "--data.path=sorted.npz", *FAST, *SHORT).status == 0
    run = opened(tmp_path / "runs/ae/0")
    z, labels = joined(run)
    z_train, train_labels = joined(run, "train")
    whole = KNeighborsClassifier(5).fit(z_train, train_labels).score(z, labels)
    assert whole > 0.9
    for flags in ((), ("--trainer.limit_test_batches=2", "--data.batch_size=45")):
        done = lit_ae("test", "runs/ae/0", *FAST, "--n=60", "--metrics", "embedding", "mse", *flags)
        assert done.status == 0, done.err
        assert values(run.run.folder)["knn_accuracy"] > 0.8
        assert "60 samples, 60 training samples" in done.out


def test_a_lone_checkpoint_has_a_table_alone(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    shutil.copy(trained_runs / "ae" / "0" / "checkpoints" / "best.ckpt", tmp_path / "lone.ckpt")
    done = lit_ae("test", "lone.ckpt", *FAST, "--metrics", "mse")
    assert done.status == 0, done.err
    assert "MSE, sum over x" in done.out
    assert [path.name for path in tmp_path.rglob("*.json")] == []


BAD = [
    (("--metrics", "psnt"), "did you mean 'psnr'?"),
    (("--metrics", "nothing-like-it"), "there are likelihood, "),
    (("--n=1",), "--n is 1: give at least 2."),
    (("--n=many",), "n: 'many' does not fit"),
    (("--nll_samples=0",), "--nll_samples is 0: give at least 1."),
    (("--seed=-1",), "--seed is -1: give at least 0."),
    (("--features=absent.onnx",), "there is no such file"),
    (("--metrics", "disentanglement"), "its data have no known factors"),
    (("--metrics", "codes_used"), "VAE has no codes"),
    (("--metrics", "fid", "--n=4"), "that takes more than 5 test samples"),
    (("--nll_sample=3",), "did you mean '--nll_samples'?"),
]


@pytest.mark.parametrize(("flags", "said"), BAD, ids=[" ".join(flags) for flags, _ in BAD])
def test_mistakes_are_said_in_one_sentence(
    flags: tuple[str, ...], said: str, trained_runs: Path, lit_ae: Console, tmp_path: Path
) -> None:
    done = lit_ae("test", str(trained_runs / "vae" / "0"), *FAST, *flags)
    (line,) = [line for line in done.err.splitlines() if line.startswith("lit_ae: ")]
    assert done.status == 2
    assert said in line


def test_help_has_the_flags_and_other_commands_do_not(lit_ae: Console) -> None:
    done = lit_ae("test", "--help")
    assert done.status == 0
    assert all(f"--{name}" in done.out for name in ("metrics", "n", "nll_samples", "features", "seed", "quick"))
    assert lit_ae("validate", "--help").out.count("--nll_samples") == 0
    assert lit_ae("fit", "--nll_samples=3").status == 2


@pytest.mark.slow
def test_two_processes_report_what_one_does(trained: Path, console: Console, lit_ae: Console, tmp_path: Path) -> None:
    found = []
    for call, world in ((lit_ae, ()), (console, ("--trainer.devices=2", "--trainer.strategy=ddp"))):
        (tmp_path / str(len(found))).mkdir()
        run = copied(trained, tmp_path / str(len(found)))
        done = call("test", str(run), *FAST, *FEW, *world, "--data.batch_size=50")
        assert done.status == 0, done.err
        assert done.out.count("metrics  ") == 1
        found.append(values(run))
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        assert found[1][name] == (value if isinstance(value, str | None) else pytest.approx(value, rel=1e-5)), name
