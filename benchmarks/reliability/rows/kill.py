"""`kill -9` at a random moment, amid a checkpoint or elsewhere, then the same command again with `--ckpt_path last`."""

from __future__ import annotations

import random
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


def trial(form: str, number: int, folder: Path) -> str | None:
    """Kill once or twice; the first kill may come before the first checkpoint."""
    draw = random.Random(f"{form}-{number}")
    whole, seconds = reference(EPOCHS, folder)
    argv = fit(EPOCHS)
    for _ in range(draw.choice([1, 2])):
        console = consoles.start(argv, folder)
        if form == WRITE:
            wait_for_write(console, folder / RUN / "checkpoints", draw)
        else:
            console.status(draw.uniform(0.05, 1.0) * seconds)
        console.send(signal.SIGKILL)
        console.status()
        try:
            for path in (folder / RUN / "checkpoints").glob("*.ckpt"):
                load(path)
        except RunError as error:
            return f"after the kill: {error}"
        argv = fit(EPOCHS, "--ckpt_path=last") if (folder / RUN).exists() else argv
    return gone_on(folder, argv, whole)


def wait_for_write(console: consoles.Console, checkpoints: Path, draw: random.Random) -> None:
    """Wait for a file that is being written, and then for a part of the time that the one before it took."""
    took = 0.01
    for _ in range(draw.choice([1, 2])):
        took = wait_while(console, checkpoints, written=False) and wait_while(console, checkpoints, written=True)
    wait_while(console, checkpoints, written=False)
    end = time.monotonic() + draw.uniform(0, 0.8) * took
    while time.monotonic() < end:
        pass  # a sleep is too long


def wait_while(console: consoles.Console, checkpoints: Path, written: bool) -> float:
    """Wait while a file is being written, or while none is; how many seconds that took."""
    started = time.monotonic()
    while any(checkpoints.glob("*.partial")) == written and console.process.exitcode is None:
        time.sleep(0.0002)
    return time.monotonic() - started


ROW = Row(
    name="kill",
    happens="`kill -9` at random moments, then resume (CPU, fp32)",
    follows="final weights, optimizer and loss curve bit-equal to the unbroken run; no checkpoint ever unreadable",
    forms={MOMENT: 150, WRITE: 50},
    trial=trial,
)
