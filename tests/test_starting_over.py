"""`--ckpt_path last` where the newest run was killed before its first checkpoint."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from conftest import QUICK, Console
from lit_ae import runs


def test_the_newest_run_to_train_may_hold_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in ("0", "1"):
        (tmp_path / "vae" / number / "checkpoints").mkdir(parents=True)
        (tmp_path / "vae" / number / "config.yaml").touch()
    (tmp_path / "vae/0/checkpoints/last.ckpt").touch()
    assert runs.latest(tmp_path, "vae").folder.name == "0"
    assert runs.latest(tmp_path, "vae", train=True).folder.name == "1"


@pytest.mark.parametrize("names", [(), (".stamp.partial",), (".stamp",), (".stamp", "config.yaml.partial")], ids=str)
def test_a_run_that_was_killed_while_its_config_was_written_starts_over(
    names: tuple[str, ...], lit_ae: Console, tmp_path: Path, trained: Path
) -> None:
    first = tmp_path / "runs/vae/0"
    first.mkdir(parents=True)
    for name in names:
        (first / name).write_text("seed_every")
    command = ("fit", "--config=vae", "--trainer.callbacks=[]", "--trainer.max_epochs=1", "--ckpt_path=last", *QUICK)
    done = lit_ae(*command)
    assert done.status == 0, done.err
    assert "ended before its first checkpoint: it starts over" in done.err


def test_a_run_with_checkpoints_of_other_names_is_not_started_over(
    lit_ae: Console, tmp_path: Path, trained: Path
) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "runs/vae/0"))
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    (run / "checkpoints/last.ckpt").mkdir()  # as strategies that shard write it
    done = lit_ae("fit", "--config=vae", "--ckpt_path=last", *QUICK)
    assert done.status == 4, done.err
    assert "starts over" not in done.err
    (run / "checkpoints/last.ckpt").rmdir()
    (run / "checkpoints/epoch=3.ckpt").touch()
    assert lit_ae("fit", "--config=vae", "--ckpt_path=last", *QUICK).status == 4


def test_a_mark_takes_any_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["lit_ae", "fit", os.fsdecode(b"--data.root=\xff")])
    assert runs.mark() == runs.mark()


def test_a_job_that_is_queued_again_finds_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SLURM_")] + ["LOCAL_RANK"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(runs.ENVIRONMENT, "")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    first, second = (runs.new_run(tmp_path, "vae").folder for _ in range(2))
    (first / runs.QUEUED).write_text(runs.mark())
    (second / runs.QUEUED).write_text(runs.mark().replace("77", "78"))
    assert runs.new_run(tmp_path, "vae").folder.name == "2"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert runs.new_run(tmp_path, "vae").folder == first
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--seed=2"])  # the next command of the same job
    assert runs.new_run(tmp_path, "vae").folder.name == "3"


def test_a_job_that_ends_after_it_was_queued_again_makes_a_new_folder_for_its_next_run(
    lit_ae: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"JOB_ID": "77", "RESTART_COUNT": "1", "NTASKS": "1", "PROCID": "0", "LOCALID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    for name in ("NODEID", "NODELIST", "JOB_NAME"):
        monkeypatch.setenv(f"SLURM_{name}", "0")
    command = ("fit", "--config=vae", "--trainer.callbacks=[]", "--trainer.max_epochs=1", *QUICK)
    assert lit_ae(*command).status == 0
    (tmp_path / "runs/vae/0" / runs.QUEUED).write_text(runs.mark())
    assert lit_ae(*command).status == 0
    assert os.listdir(tmp_path / "runs/vae") == ["0"]
    assert not (tmp_path / "runs/vae/0" / runs.QUEUED).exists()
    assert lit_ae(*command).status == 0
    assert sorted(os.listdir(tmp_path / "runs/vae")) == ["0", "1"]


def test_a_run_without_a_checkpoint_starts_over_in_its_folder(lit_ae: Console, tmp_path: Path, trained: Path) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "runs/vae/0"))
    shutil.rmtree(run / "checkpoints")
    done = lit_ae("fit", "--config=vae", "--trainer.callbacks=[]", "--trainer.max_epochs=1", "--ckpt_path=last", *QUICK)
    assert done.status == 0, done.err
    assert "ended before its first checkpoint: it starts over, in that folder" in done.err
    assert os.listdir(tmp_path / "runs/vae") == ["0"]
    assert (run / "checkpoints/last.ckpt").is_file()
    assert lit_ae("fit", "--config=ae", "--ckpt_path=last").status == 4
