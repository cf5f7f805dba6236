"""SLURM: a job whose time is up saves, and asks to be queued again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import lightning.pytorch as pl
from lightning.fabric.plugins.environments import SLURMEnvironment

from lit_ae.runs import QUEUED, queued_job


def number(trainer: pl.Trainer) -> int:
    """The signal by which SLURM says that the time is up, 0 where nobody asked to be queued again."""
    environment = trainer._accelerator_connector.cluster_environment
    if not isinstance(environment, SLURMEnvironment) or not environment.auto_requeue:
        return 0
    return int(environment.requeue_signal or 0)


def save(trainer: pl.Trainer, checkpoint: Path) -> None:
    """Let the run's folder hold the checkpoint under the name that tells a queued job where to go on."""
    if trainer.is_global_zero:
        path = Path(trainer._checkpoint_connector.hpc_save_path(trainer.default_root_dir))
        partial = path.with_name(f"{path.name}.partial")
        try:
            os.link(checkpoint, partial)
        except OSError:  # a file system without links
            shutil.copyfile(checkpoint, partial)
        partial.replace(path)
        (path.parent / QUEUED).write_text(queued_job(), encoding="utf-8")
    trainer.strategy.barrier("requeue")


def ask() -> None:
    """Queue this job again."""
    job = queued_job().partition(".")[0]
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
    except OSError as error:
        print(f"lit_ae: cannot queue job {job} again ({error.strerror}: scontrol).", file=sys.stderr)
        return
    said = " ".join((done.stderr or done.stdout).split())
    if done.returncode:
        print(f"lit_ae: scontrol did not queue job {job} again ({said}): submit it anew.", file=sys.stderr)
    else:
        print(f"lit_ae: job {job} is queued again.", file=sys.stderr)
