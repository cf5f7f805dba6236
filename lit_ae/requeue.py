"""SLURM: a job whose time is up saves, and asks to be queued again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import lightning.pytorch as pl
from lightning.fabric.plugins.environments import SLURMEnvironment

from lit_ae import runs, storage


def number(trainer: pl.Trainer) -> int:
    """The signal by which SLURM says that the time is up, 0 where nobody asked to be queued again."""
    environment = trainer._accelerator_connector.cluster_environment
    if not isinstance(environment, SLURMEnvironment) or not environment.auto_requeue:
        return 0
    return int(environment.requeue_signal or 0)


def mark(trainer: pl.Trainer) -> None:
    """Let the run's folder say that this job goes on in it.

    Lightning copies the checkpoint to hpc_ckpt_1.ckpt, hpc_ckpt_2.ckpt and so on for this; last.ckpt is enough.

    Raises:
        StorageError: The disk is full.
    """
    if trainer.is_global_zero:
        text = runs.mark().encode()
        storage.write(Path(trainer.default_root_dir) / runs.QUEUED, lambda sink: sink.write(text))
    trainer.strategy.barrier("requeue")


def unmark(trainer: pl.Trainer) -> None:
    """Training is done: the same job makes a new folder for its next run."""
    if trainer.is_global_zero:
        (Path(trainer.default_root_dir) / runs.QUEUED).unlink(missing_ok=True)


def ask() -> None:
    """Queue this job again."""
    job = runs.queued_job().partition(".")[0]
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
