"""The run folder: its layout, how a new one is made and an old one is opened. Imports no torch."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from lit_ae.errors import RunError, StorageError

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
    """Folders of all runs of a name, oldest first."""
    found = [path for path in (root / name).glob("*") if path.is_dir() and path.name.isdigit()]
    return sorted(found, key=lambda path: int(path.name))


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


def latest(root: Path, name: str) -> Run:
    """The newest run of a name that holds a checkpoint.

    Raises:
        RunError: There is none.
    """
    for folder in reversed(versions(root, name)):
        run = Run(folder)
        if run.config.is_file() and (run.checkpoints / "last.ckpt").is_file():
            return run
    raise RunError(f"There is no run to continue under {root / name}: leave --ckpt_path out to start one.")


def new_run(root: Path, name: str) -> Run:
    """Make the folder of a new run, numbered after the newest; two processes at once get two folders.

    Processes that a launcher started get the folder that the first process made.

    Raises:
        StorageError: The folder cannot be made.
    """
    if "LOCAL_RANK" in os.environ and (made := os.environ.get(ENVIRONMENT)):
        return Run(Path(made))
    try:
        folder = made_by_all(root / name) or made_by_one(root, name)
    except OSError as error:
        raise StorageError(f"Cannot make a run folder in {root} ({error.strerror}): set --runs.") from error
    os.environ[ENVIRONMENT] = str(folder.resolve())
    return Run(folder)


def made_by_one(root: Path, name: str) -> Path:
    """The next free number."""
    number = max((int(path.name) for path in versions(root, name)), default=-1) + 1
    while True:
        try:
            (root / name / str(number)).mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return root / name / str(number)


def made_by_all(parent: Path) -> Path | None:
    """The folder that every process of a job names alike where a cluster started them all, None elsewhere."""
    get = os.environ.get
    tasks = int(get("WORLD_SIZE") or get("SLURM_NTASKS") or 1)
    job = [part for part in (get("SLURM_JOB_ID"), get("SLURM_STEP_ID"), get("TORCHELASTIC_RUN_ID")) if part]
    if tasks < 2 or not job:
        return None
    folder = parent / "-".join(["job", *job])
    folder.mkdir(parents=True, exist_ok=True)
    return folder
