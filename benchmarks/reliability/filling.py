"""A disk that fills up while a run is on it, as one does that others write on, too; with room again the run goes on."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
from pathlib import Path

from lit_ae.checked import steps
from lit_ae.storage import load
from reliability import consoles
from reliability.disks import PAGE, files, left_behind, message, mounted, pages
from reliability.resumed import difference, unlike
from reliability.stopped import RUN, fit, gone_on, lines, reference

EPOCHS = 60  # several routine saves
TRIES = 40  # starts until the disk was full before the run had written all
NAMES = ("metrics.csv", "*.ckpt", "config.yaml")
OVER = "it starts over"  # what a run says that finds nothing to go on from


def early(number: int, folder: Path) -> str | None:
    """There is no room for the first checkpoints."""
    draw = random.Random(f"early-{number}")
    whole, _ = reference(EPOCHS, folder)
    with mounted(folder / "runs"):
        crowd(folder / "runs", draw.randrange(2 * size(whole)))
        console = consoles.finish(fit(EPOCHS), folder)
        return ended(console, folder) or again(folder, whole)


def amid(number: int, folder: Path) -> str | None:
    """Others take the room at a random moment after the first checkpoint."""
    draw = random.Random(f"amid-{number}")
    whole, _ = reference(EPOCHS, folder)
    last, row = folder / RUN / "checkpoints" / "last.ckpt", draw.randrange(2, 2 * EPOCHS)
    with mounted(folder / "runs"):
        for _ in range(TRIES):
            console = consoles.start(fit(EPOCHS), folder)
            if not console.wait_for(last):
                return f"there was no checkpoint: {console.said()[-300:]}"
            while lines(folder / RUN / "metrics.csv") < row and console.status(0.005) is None:
                pass
            before = steps(last) or 0
            crowd(folder / "runs", draw.randrange(size(whole)))
            if console.status() != 0:
                return ended(console, folder) or kept(last, before) or again(folder, whole, before)
            if wrong := difference(whole, folder / RUN) or best(whole, folder / RUN):
                return f"status 0, but {wrong}"
            shutil.rmtree(folder / "runs" / "vae")  # it had written all before
            (folder / "runs" / "filler").unlink()
    return f"in {TRIES} starts the disk was never full in time"


def ended(console: consoles.Console, folder: Path) -> str | None:
    """What is wrong with how a run ended for which there was no room, and with what it left; then there is room."""
    status, said = console.status(), console.said()
    (folder / "runs" / "filler").unlink()
    wrong = [message(status, said, errno.ENOSPC, name) for name in NAMES]
    if None not in wrong:
        return wrong[0]
    left = files(folder / "runs")
    if not (folder / RUN / "config.yaml").exists() and (lost := [name for name in left if not name.endswith("/")]):
        return f"{lost[0]} is left behind, and no config.yaml"
    return left_behind({}, left, training=True)


def kept(last: Path, before: int) -> str | None:
    """What is wrong with the last checkpoint, None where nothing is."""
    after = steps(last)
    return None if after is not None and after >= before else f"last.ckpt was of step {before}, and is of {after}"


def again(folder: Path, whole: Path, before: int = 0) -> str | None:
    """Go on, and see that it was from the checkpoint and to the end of the unbroken run."""
    (folder / "log.txt").unlink()
    argv = fit(EPOCHS, "--ckpt_path=last") if (folder / RUN).exists() else fit(EPOCHS)
    if wrong := gone_on(folder, argv, whole) or best(whole, folder / RUN):
        return wrong
    return "the run started over" if before and OVER in (folder / "log.txt").read_text() else None


def best(one: Path, other: Path) -> str | None:
    """Where the best weights of two runs differ first."""
    first, second = (load(folder / "checkpoints" / "best.ckpt") for folder in (one, other))
    return unlike(first["state_dict"], second["state_dict"], "best.ckpt")


def size(run: Path) -> int:
    """Pages of a checkpoint."""
    return pages((run / "checkpoints" / "last.ckpt").read_bytes())


def crowd(disk: Path, left: int) -> None:
    """Leave so many pages of a disk free, on which others write meanwhile."""
    with (disk / "filler").open("wb", buffering=0) as sink, contextlib.suppress(OSError):
        while (free := os.statvfs(disk).f_bavail - left) > 0:
            sink.write(b"\0" * (free * PAGE))
