"""The run folder: its layout, how a new one is made and an old one is opened. Imports no torch."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from lit_ae import stamps
from lit_ae.checked import KNOWN
from lit_ae.errors import RunError, StorageError

QUEUED = "queued"  # file in the folder of a run that asked SLURM to start its job again
ENVIRONMENT = "LIT_AE_RUN"  # tells processes that a launcher starts which folder the first one made


@dataclass(frozen=True)
class Run:
    """`runs/<name>/<version>/`: config.yaml, metrics.csv, checkpoints/, figures/."""

    folder: Path

    @property
    def config(self) -> Path:
        """The whole configuration, defaults included."""
        return self.folder / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        """Folder of best.ckpt and last.ckpt."""
        return self.folder / "checkpoints"

    @property
    def figures(self) -> Path:
        """Folder of pictures."""
        return self.folder / "figures"

    def discard(self) -> None:
        """Remove the folder of a run that ended before its first checkpoint, and its parents where they are empty."""
        if not any(self.checkpoints.glob("*.ckpt")):
            shutil.rmtree(self.folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.folder.parent.rmdir()
                self.folder.parent.parent.rmdir()

    def checkpoint(self, *preferred: str) -> Path:
        """The first of the preferred checkpoints (`best`, `last`) that exists.

        Raises:
            RunError: There is none.
        """
        for name in preferred:
            if (path := self.checkpoints / f"{name}.ckpt").is_file():
                return path
        raise RunError(f"The run {self.folder} holds no checkpoint: train it, or name another run.")


def versions(root: Path, name: str) -> list[Path]:
    """Folders of all runs of a name, oldest first: by number, or by start where a launcher named some of them."""
    jobs = [path for path in (root / name).glob("job-*") if path.is_dir()]
    return sorted(numbered(root / name) + jobs, key=started) if jobs else numbered(root / name)


def numbered(parent: Path) -> list[Path]:
    """Folders with a number for a name, in their order."""
    found = [path for path in parent.glob("*") if path.is_dir() and path.name.isdigit()]
    return sorted(found, key=lambda path: int(path.name))


def started(folder: Path) -> float:
    """When training last started in the folder of a run."""
    config = Run(folder).config
    return (config if config.is_file() else folder).stat().st_mtime


def open_run(path: str | Path) -> Run:
    """Open a run by its folder, or by a checkpoint inside it.

    Raises:
        RunError: There is no run.
    """
    path = Path(path)
    folder = path.parent.parent if path.suffix == ".ckpt" else path
    run = Run(folder)
    if not run.config.is_file():
        raise RunError(f"There is no run in {folder}: it has no config.yaml. Name a folder such as runs/vae/0.")
    return run


def latest(root: Path, name: str, train: bool = False) -> Run:
    """The newest run of a name that holds a checkpoint.

    Args:
        root: Folder of all runs.
        name: The run's name.
        train: Also one that was killed before its first checkpoint, with or without a config.yaml.

    Raises:
        RunError: There is none.
    """
    for folder in reversed(versions(root, name)):
        run = Run(folder)
        if run.config.is_file() and (train or any((run.checkpoints / known).is_file() for known in KNOWN)):
            return run
        if train and bare(folder):
            return run
    raise RunError(f"There is no run to continue under {root / name}: leave --ckpt_path out to start one.")


def bare(folder: Path) -> bool:
    """Whether a run ended before its config.yaml was there: the stamp comes first."""
    return all(path.suffix == ".partial" or path.name == stamps.NAME for path in folder.iterdir())


def new_run(root: Path, name: str) -> Run:
    """Make the folder of a new run, numbered after the newest; two processes at once get two folders.

    Processes that a launcher started get the folder that the first process made.

    Raises:
        StorageError: The folder cannot be made.
    """
    if "LOCAL_RANK" in os.environ and (made := os.environ.get(ENVIRONMENT)):
        return Run(Path(made))
    try:
        folder = made_before(root, name) or made_by_all(root / name) or made_by_one(root, name)
    except OSError as error:
        raise StorageError(f"Cannot make a run folder in {root} ({error.strerror}): set --runs.") from error
    os.environ[ENVIRONMENT] = str(folder.resolve())
    return Run(folder)


def made_before(root: Path, name: str) -> Path | None:
    """The folder in which this very job was told that its time was up, where SLURM has started it again."""
    return next((folder for folder in reversed(versions(root, name)) if requeued(folder)), None)


def queued_job() -> str:
    """SLURM's name for this job and the step in it, empty elsewhere."""
    get = os.environ.get
    array = get("SLURM_ARRAY_JOB_ID")
    job = f"{array}_{get('SLURM_ARRAY_TASK_ID')}" if array else get("SLURM_JOB_ID", "")
    return f"{job}.{get('SLURM_STEP_ID', '')}".rstrip(".")


def made_by_one(root: Path, name: str) -> Path:
    """The next free number."""
    number = max((int(path.name) for path in numbered(root / name)), default=-1) + 1
    while True:
        try:
            (root / name / str(number)).mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return root / name / str(number)


def made_by_all(parent: Path) -> Path | None:
    """The folder that every process of a job names alike where torchrun or srun started them all, None elsewhere.

    Where earlier runs of the same job name hold it, -1, -2 and so on are added. The processes need no word from each
    other for that: the first writes config.yaml once it has met all the others, who by then know their folder.
    """
    job = job_name()
    if job is None:
        return None
    folder, number = parent / job, 0
    while Run(folder).config.is_file() and not requeued(folder):
        number += 1
        folder = parent / f"{job}-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def job_name() -> str | None:
    """What tells this launch of several processes from others at the same time, None where there is no launcher."""
    get = os.environ.get
    parts = ["job"]
    stepped = bool(get("SLURM_PROCID") and get("SLURM_STEP_ID"))  # srun's: salloc and sbatch alone start one process
    tasks = int(get("WORLD_SIZE") or (get("SLURM_NTASKS") if stepped else None) or 1)
    if stepped:
        parts += [get("SLURM_JOB_ID", ""), get("SLURM_STEP_ID", "")]
    launch = get("TORCHELASTIC_RUN_ID")
    if launch == "none":  # torchrun's default for every launch, but no two at once share an address and a port
        nodes = int(get("GROUP_WORLD_SIZE") or 1)
        host = get("MASTER_ADDR", "") if nodes > 1 else socket.gethostname()  # alone, every machine is localhost
        parts += [re.sub(r"[^\w.]", "_", host), get("MASTER_PORT", "")]
    elif launch:
        parts.append(launch)
    return "-".join(part for part in parts if part) if tasks > 1 and len(parts) > 1 else None


def requeued(folder: Path) -> bool:
    """Whether SLURM started this job again, and it is in this folder that the same command was told to stop."""
    if not queued_job() or int(os.environ.get("SLURM_RESTART_COUNT") or 0) < 1:
        return False
    marked = folder / QUEUED
    return marked.is_file() and marked.read_text(encoding="utf-8") == mark()


def mark() -> str:
    """What tells a command of this job from others: one job may train several runs, one after the other."""
    command = b"\0".join(map(os.fsencode, sys.argv[1:]))
    return f"{queued_job()} {sha256(command).hexdigest()[:16]}"
