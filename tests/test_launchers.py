"""The run folder under torchrun and SLURM: one for all processes of a launch, another for the next launch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lit_ae import runs

NAMES = ("WORLD_SIZE", "LOCAL_RANK", "LIT_AE_RUN", "MASTER_ADDR", "MASTER_PORT", "GROUP_WORLD_SIZE")
TORCHRUN = {"WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
SRUN = {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_PROCID": "1"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name in NAMES or name.startswith(("SLURM_", "TORCHELASTIC_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv(runs.ENVIRONMENT, "")


def launched(root: Path, monkeypatch: pytest.MonkeyPatch, env: dict[str, str], start: bool = True) -> Path:
    """The folder that both processes of a launch get; the first then writes its configuration."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    first = runs.new_run(root, "vae")
    if "WORLD_SIZE" in env or "SLURM_PROCID" in env:
        assert runs.new_run(root, "vae").folder == first.folder
    if start:
        first.config.write_text("name: vae")
        first.checkpoints.mkdir()
        (first.checkpoints / "last.ckpt").touch()
    return first.folder


@pytest.mark.parametrize(
    "env",
    [
        TORCHRUN,
        {**TORCHRUN, "GROUP_WORLD_SIZE": "2"},
        {**TORCHRUN, "TORCHELASTIC_RUN_ID": "mine"},
        SRUN,
        {**SRUN, **TORCHRUN},
    ],
    ids=["torchrun", "torchrun on two nodes", "torchrun with an id", "srun", "torchrun under srun"],
)
def test_processes_share_a_folder_and_a_later_launch_overwrites_none(
    env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [launched(tmp_path, monkeypatch, env) for _ in range(3)]
    assert len(set(folders)) == 3
    assert all("none" not in folder.name for folder in folders)


def test_launches_on_two_ports_at_once_get_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = ("29500", "29501")
    folders = {launched(tmp_path, monkeypatch, {**TORCHRUN, "MASTER_PORT": port}, start=False) for port in ports}
    assert len(folders) == 2


def test_an_allocation_without_a_step_numbers_its_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    assert [runs.new_run(tmp_path, "vae").folder.name for _ in range(2)] == ["0", "1"]


def test_a_requeued_job_goes_on_only_where_it_was_told_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = launched(tmp_path, monkeypatch, SRUN)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert runs.new_run(tmp_path, "vae").folder.name == "job-77-0-1"
    (first / runs.QUEUED).write_text(runs.mark())
    assert runs.new_run(tmp_path, "vae").folder == first


def test_the_newest_run_may_be_a_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = launched(tmp_path, monkeypatch, {})
    job = launched(tmp_path, monkeypatch, SRUN)
    for seconds, newest, other in ((100, job, first), (200, first, job)):
        os.utime(other / "config.yaml", (seconds, seconds))
        os.utime(newest / "config.yaml", (seconds + 1, seconds + 1))
        assert runs.latest(tmp_path, "vae").folder == newest
    assert [path.name for path in runs.versions(tmp_path, "vae")] == [job.name, "0"]
