"""The run folder: what is in it, how it is opened, and how a run goes on in it."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import yaml

from conftest import QUICK, Console
from lit_ae import runs
from lit_ae.errors import RunError

PLAIN = ("--config=vae", "--trainer.callbacks=[KLAnnealing]", *QUICK)
Weights = dict[str, torch.Tensor]


def weights(run: Path, name: str = "last") -> Weights:
    return torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True)["state_dict"]


def equal(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a trained run, to be written into."""
    return Path(shutil.copytree(trained, tmp_path / "runs/vae/0"))


def test_layout(trained: Path) -> None:
    names = {path.relative_to(trained).as_posix() for path in trained.rglob("*") if path.is_file()}
    kept = {f"checkpoints/{name}.ckpt" for name in ("best", "last", "previous")}
    assert names == {".stamp", "config.yaml", "metrics.csv", *kept}
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["model"]["init_args"]["spec"]["input_shape"] == [1, 8, 8]
    assert "val/elbo" in (trained / "metrics.csv").read_text().splitlines()[0].split(",")
    stored = torch.load(trained / "checkpoints/best.ckpt", weights_only=True)["hyper_parameters"]
    assert stored["spec"]["input_shape"] == [1, 8, 8]


def test_pictures_are_in_figures_and_are_named_at_the_end(lit_ae: Console, tmp_path: Path) -> None:
    done = lit_ae("fit", "--config=vae", "--trainer.max_epochs=1", *QUICK)
    assert done.status == 0, done.err
    pictures = sorted((tmp_path / "runs/vae/0/figures").glob("*.png"))
    assert pictures
    assert [line.split()[1] for line in done.out.splitlines() if line.startswith("picture")] == [
        str(path.relative_to(tmp_path)) for path in pictures
    ]


def test_runs_are_numbered(tmp_path: Path) -> None:
    for number in (0, 3, 10):
        (tmp_path / "vae" / str(number)).mkdir(parents=True)
    (tmp_path / "vae/notes").mkdir()
    assert runs.new_run(tmp_path, "vae").folder == tmp_path / "vae/11"
    assert runs.new_run(tmp_path, "ae").folder == tmp_path / "ae/0"


def test_runs_that_start_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: runs.new_run(tmp_path, "vae").folder, range(24)))
    assert sorted(int(folder.name) for folder in folders) == list(range(24))


def test_processes_of_a_launcher_share_the_first_ones_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = runs.new_run(tmp_path, "vae")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert runs.new_run(tmp_path, "vae").folder == first.folder.resolve()


def test_a_discarded_run_leaves_nothing_but_a_checkpoint_is_kept(tmp_path: Path) -> None:
    run = runs.new_run(tmp_path / "runs", "vae")
    run.config.write_text("name: vae")
    run.discard()
    assert not (tmp_path / "runs").exists()
    run = runs.new_run(tmp_path / "runs", "vae")
    run.checkpoints.mkdir()
    (run.checkpoints / "last.ckpt").write_text("")
    run.discard()
    assert (run.checkpoints / "last.ckpt").exists()


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
@pytest.mark.parametrize("part", ["", "checkpoints/last.ckpt"], ids=["folder", "file"])
def test_a_run_is_opened_without_naming_a_class(command: str, part: str, run: Path, lit_ae: Console) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = lit_ae(command, str(run / part))
    assert done.status == 0, done.err
    assert f"{'val' if command == 'validate' else command}" in done.out
    assert all(path.read_bytes() == content for path, content in before.items())
    assert os.listdir(run.parent) == ["0"]


def test_predictions_are_where_the_command_says(run: Path, lit_ae: Console) -> None:
    done = lit_ae("predict", str(run))
    path = Path(done.out.split()[-1])
    assert path.is_file()
    assert path.parent == run


def test_a_lone_checkpoint_file(run: Path, lit_ae: Console, tmp_path: Path) -> None:
    shutil.copy(run / "checkpoints/best.ckpt", tmp_path / "lone.ckpt")
    shutil.rmtree(tmp_path / "runs")
    assert lit_ae("test", "lone.ckpt").status == 0
    assert not (tmp_path / "runs").exists()
    assert (
        lit_ae("fit", "--ckpt_path=lone.ckpt", "--trainer.max_epochs=3", "--trainer.enable_progress_bar=false").status
        == 0
    )
    assert torch.load(tmp_path / "runs/vae/0/checkpoints/last.ckpt", weights_only=True)["epoch"] == 2


def test_a_lone_checkpoint_keeps_its_own_class(lit_ae: Console, tmp_path: Path) -> None:
    assert lit_ae("fit", "--config=ae", "--trainer.callbacks=[]", *QUICK).status == 0
    (checkpoint,) = tmp_path.glob("runs/ae/0/checkpoints/last.ckpt")
    shutil.copy(checkpoint, tmp_path / "lone.ckpt")
    done = lit_ae("test", "lone.ckpt")
    assert done.status == 0, done.err
    assert "test/rate" not in done.out


def test_a_lone_checkpoint_that_is_not_ours(lit_ae: Console, tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    done = lit_ae("test", "other.ckpt")
    assert done.status == 4
    assert "was not written by lit_ae" in done.err


@pytest.mark.parametrize("wanted", ["runs/vae/0", "last", "runs/vae/0/checkpoints/last.ckpt"])
def test_a_continued_run_ends_as_an_uninterrupted_one(wanted: str, lit_ae: Console, tmp_path: Path) -> None:
    assert lit_ae("fit", *PLAIN, "--trainer.max_epochs=4", "--runs=whole").status == 0
    assert lit_ae("fit", *PLAIN, "--trainer.max_epochs=2").status == 0
    done = lit_ae("fit", f"--ckpt_path={wanted}", "--trainer.max_epochs=4")
    assert done.status == 0, done.err
    assert "trainer.max_epochs is 4: given explicitly, it beats the run's 2." in done.err
    assert done.err.count("given explicitly") == 1
    assert os.listdir(tmp_path / "runs/vae") == ["0"]
    for name in ("last", "best"):
        assert equal(weights(tmp_path / "runs/vae/0", name), weights(tmp_path / "whole/vae/0", name))
    assert yaml.safe_load((tmp_path / "runs/vae/0/config.yaml").read_text())["trainer"]["max_epochs"] == 4
    tables = [(folder / "metrics.csv").read_text() for folder in (tmp_path / "runs/vae/0", tmp_path / "whole/vae/0")]
    assert tables[0] == tables[1]  # schedules, too: every coefficient is a column
    assert "coefficient/rate" in tables[0]


def test_the_same_command_again_with_ckpt_path_doubles_no_overlay(run: Path, lit_ae: Console) -> None:
    arguments = ("--config=vae", "--config=logger/tensorboard", "--trainer.callbacks=[]", *QUICK)
    assert lit_ae("fit", *arguments, "--trainer.max_epochs=1").status == 0
    assert lit_ae("fit", *arguments, "--trainer.max_epochs=2", "--ckpt_path=last").status == 0
    config = yaml.safe_load((run.parent / "1/config.yaml").read_text())
    assert len(config["trainer"]["logger"]) == 1


def test_an_explicit_learning_rate_beats_the_stored_one(run: Path, lit_ae: Console) -> None:
    done = lit_ae("fit", f"--ckpt_path={run}", "--trainer.max_epochs=3", "--model.optimizer.lr=0.0")
    assert done.status == 0, done.err
    assert "optimizer.init_args.lr is 0.0: given explicitly" in done.err
    assert equal(weights(run), torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"])
    (group,) = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["optimizer_states"][0]["param_groups"]
    assert group["lr"] == 0


def test_an_explicit_optimizer_starts_afresh(run: Path, lit_ae: Console) -> None:
    done = lit_ae(
        "fit", f"--ckpt_path={run}", "--trainer.max_epochs=3", "--model.optimizer=SGD", "--model.optimizer.lr=1e-4"
    )
    assert done.status == 0, done.err
    stored = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert "optimizer.class_path is torch.optim" in done.err  # and no word of the values that came with the class
    assert not [line for line in done.err.splitlines() if line.startswith("model.init_args.optimizer.init_args")]
    assert "momentum" in stored["optimizer_states"][0]["param_groups"][0]
    assert stored["epoch"] == 2


def test_a_run_that_was_moved_keeps_its_best_checkpoint(run: Path, lit_ae: Console, tmp_path: Path) -> None:
    shutil.move(run, tmp_path / "moved")
    best = (tmp_path / "moved/checkpoints/best.ckpt").read_bytes()
    worse = ("--model.optimizer=SGD", "--model.optimizer.lr=1e-9")
    stored = torch.load(tmp_path / "moved/checkpoints/last.ckpt", weights_only=True)
    for name, state in stored["callbacks"].items():
        if "val/loss" in name:
            state["best_model_score"] = torch.tensor(-1e9)
            state["best_k_models"] = {path: torch.tensor(-1e9) for path in state["best_k_models"]}
            state["kth_value"] = torch.tensor(-1e9)
    torch.save(stored, tmp_path / "moved/checkpoints/last.ckpt")
    assert lit_ae("fit", "--ckpt_path=moved", "--trainer.max_epochs=3", *worse).status == 0
    assert (tmp_path / "moved/checkpoints/best.ckpt").read_bytes() == best


def test_weights_that_are_not_finite_never_replace_a_good_checkpoint(run: Path, lit_ae: Console) -> None:
    before = (run / "checkpoints/last.ckpt").read_bytes()
    done = lit_ae("fit", f"--ckpt_path={run}", "--trainer.max_epochs=3", "--model.optimizer.lr=1e30")
    assert done.status == 5, done.err
    assert (run / "checkpoints/last.ckpt").read_bytes() == before


def test_a_trial_of_a_few_batches_leaves_nothing(lit_ae: Console, tmp_path: Path) -> None:
    assert lit_ae("fit", *PLAIN, "--trainer.fast_dev_run=2").status == 0
    assert not (tmp_path / "runs").exists()


def test_a_new_run_of_no_epochs_has_not_trained_already(lit_ae: Console) -> None:
    done = lit_ae("fit", *PLAIN, "--trainer.max_epochs=0")
    assert done.status == 0
    assert "already" not in done.err


def test_a_finished_run_says_so(run: Path, lit_ae: Console) -> None:
    before = (run / "checkpoints/last.ckpt").read_bytes()
    done = lit_ae("fit", f"--ckpt_path={run}")
    assert done.status == 0
    assert "raise --trainer.max_epochs" in done.err
    assert (run / "checkpoints/last.ckpt").read_bytes() == before


@pytest.mark.parametrize("damage", ["empty", "truncated", "random"])
@pytest.mark.parametrize("command", ["fit --ckpt_path", "test"])
def test_a_damaged_checkpoint(damage: str, command: str, run: Path, lit_ae: Console) -> None:
    for path in run.glob("checkpoints/*.ckpt"):
        content = path.read_bytes()
        damaged = {"empty": b"", "truncated": content[: len(content) // 2], "random": os.urandom(5000)}
        path.write_bytes(damaged[damage])
    done = lit_ae(*command.split(), str(run))
    assert done.status == 4, done.err
    assert "is no checkpoint, or is damaged" in done.err
    assert len(done.err.splitlines()) <= 10


@pytest.mark.parametrize("content", ["lit_ae fit\n", "error: no such file\n", "a list\n", "tensor"])
def test_a_file_that_is_no_checkpoint(content: str, lit_ae: Console, tmp_path: Path) -> None:
    (tmp_path / "err.sh").write_text(content)
    if content == "tensor":
        torch.save(torch.zeros(2), tmp_path / "err.sh")
    done = lit_ae("fit", "--config=vae", "--ckpt_path=err.sh")
    assert (done.status, len(done.err.splitlines())) == (4, 1), done.err
    assert "err.sh is no checkpoint" in done.err


@pytest.mark.parametrize("command", ["fit --ckpt_path", "test"])
def test_a_checkpoint_that_does_not_fit(command: str, run: Path, lit_ae: Console) -> None:
    done = lit_ae(*command.split(), str(run), "--model.latent_dim=3")
    assert done.status == 4
    assert "does not fit the model" in done.err


def test_other_data_than_the_runs(run: Path, lit_ae: Console) -> None:
    done = lit_ae("test", str(run), '--data.transforms=[{"class_path": "Pad", "init_args": {"size": 12}}]')
    assert done.status == 3
    assert "(1, 8, 8)" in done.err


def test_a_damaged_config(run: Path, lit_ae: Console) -> None:
    (run / "config.yaml").write_text("model: {")
    done = lit_ae("test", str(run))
    assert done.status == 4
    assert "config.yaml is not valid YAML" in done.err


def test_a_run_without_checkpoints(run: Path, lit_ae: Console) -> None:
    shutil.rmtree(run / "checkpoints")
    done = lit_ae("fit", f"--ckpt_path={run}")
    assert done.status == 4
    assert "holds no checkpoint" in done.err


def test_the_newest_run_of_a_name(tmp_path: Path) -> None:
    for number in ("2", "9", "10"):
        (tmp_path / "vae" / number / "checkpoints").mkdir(parents=True)
        (tmp_path / "vae" / number / "config.yaml").touch()
    for number in ("2", "9"):
        (tmp_path / "vae" / number / "checkpoints/last.ckpt").touch()
    assert runs.latest(tmp_path, "vae").folder.name == "9"
    with pytest.raises(RunError, match="no run to continue"):
        runs.latest(tmp_path, "ae")
