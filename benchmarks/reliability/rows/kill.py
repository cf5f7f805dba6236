"""`kill -9` at a random moment, amid a checkpoint or elsewhere, then the same command again with `--ckpt_path last`."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import time
from pathlib import Path

from lit_ae.errors import RunError
from lit_ae.storage import load
from reliability import consoles
from reliability.row import Row
from reliability.stopped import RUN, fit, gone_on, reference

EPOCHS = 10
MOMENT, WRITE = "at a random moment", "in a checkpoint write"
TRIES = 40  # starts until every kill of a trial has hit
Seen = set[tuple[Path, int, int]]


def trial(form: str, number: int, folder: Path) -> str | None:
    """Kill once or twice, the first time maybe before the first checkpoint; a kill that comes too late is drawn anew.

    Too late is after the end of the process, or where no checkpoint lies half written though one should: the trial
    begins again then, as what is left is another state than that to be hit.
    """
    draw = random.Random(f"{form}-{number}")
    whole, seconds = reference(EPOCHS, folder)
    kills, hits, argv = draw.choice([1, 2]), 0, fit(EPOCHS)
    checkpoints = folder / RUN / "checkpoints"
    for _ in range(TRIES):
        stale = partial(checkpoints)
        console = consoles.start(argv, folder)
        if form == WRITE:
            wait_for_write(console, checkpoints, stale, draw)
        else:
            console.status(draw.uniform(0.05, 1.0) * seconds)
        console.send(signal.SIGKILL)
        if (status := console.status()) not in (0, -signal.SIGKILL):
            return f"status {status}: {console.said()[-300:]}"
        try:
            for path in checkpoints.glob("*.ckpt"):
                load(path)
        except RunError as error:
            return f"after the kill: {error}"
        hit = status != 0 and (form == MOMENT or bool(partial(checkpoints) - stale))
        hits = hits + 1 if hit else 0
        if not hit:
            shutil.rmtree(folder / "runs", ignore_errors=True)
        argv = fit(EPOCHS, "--ckpt_path=last") if (folder / RUN).exists() else fit(EPOCHS)
        if hits == kills:
            return gone_on(folder, argv, whole)
    return f"{TRIES} starts did not make {kills} kills {form}"


def partial(checkpoints: Path) -> Seen:
    """The files that are half written, each with what tells it from an older one of its name."""
    found = set()
    for path in checkpoints.glob("*.partial"):
        with contextlib.suppress(FileNotFoundError):
            seen = path.stat()
            found.add((path, seen.st_ino, seen.st_mtime_ns))
    return found


def wait_for_write(console: consoles.Console, checkpoints: Path, stale: Seen, draw: random.Random) -> None:
    """Wait for a file that is being written, and then for a part of the time that the one before it took."""
    took = 0.01
    for _ in range(draw.choice([1, 2])):
        wait_while(console, checkpoints, stale, written=False)
        took = wait_while(console, checkpoints, stale, written=True)
    wait_while(console, checkpoints, stale, written=False)
    end = time.monotonic() + draw.uniform(0, 0.8) * took
    while time.monotonic() < end:
        pass  # a sleep is too long


def wait_while(console: consoles.Console, checkpoints: Path, stale: Seen, written: bool) -> float:
    """Wait while a file is being written, or while none is; how many seconds that took."""
    started = time.monotonic()
    while bool(partial(checkpoints) - stale) == written and console.status(0) is None:
        time.sleep(0.0002)
    return time.monotonic() - started


ROW = Row(
    name="kill",
    happens="`kill -9` at random moments, then resume (CPU, fp32)",
    follows="final weights, optimizer and loss curve bit-equal to the unbroken run; no checkpoint ever unreadable",
    forms={MOMENT: 150, WRITE: 50},
    trial=trial,
)
