"""One of the two processes of a run is killed, or breaks: none is left behind, and the run goes on."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

from lit_ae.storage import load
from reliability import consoles
from reliability.row import Row
from reliability.stopped import RUN, fit

FIRST, SECOND, BROKEN = "kill -9 of the first", "kill -9 of the second", "exception in one"
LIMIT = 30.0
ALONE = ("--trainer.devices=1", "--trainer.callbacks=[]")
PAIR = ("--trainer.devices=2", "--trainer.strategy=ddp")
BREAKS = """
import os
from lightning.pytorch import Callback

class Breaks(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.current_epoch == int(os.environ["BREAK_EPOCH"]) and batch_idx == 2:
            if trainer.global_rank == int(os.environ["BREAK"]):
                raise ValueError("broken on purpose")
"""


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    children = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += [int(child) for child in (task / "children").read_text().split()]
    return [pid, *(each for child in children for each in family(child))]


def there(pid: int) -> bool:
    """Whether a process is there, and no mere entry that waits for its parent."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def trial(form: str, number: int, folder: Path) -> str | None:
    """Wait for the first checkpoint of two processes, end one, and look at what is left; then go on alone."""
    draw = random.Random(f"{form}-{number}")
    env, more = {}, PAIR
    if form == BROKEN:
        (folder / "breaks.py").write_text(BREAKS)
        env = {"BREAK": str(draw.randrange(2)), "BREAK_EPOCH": str(draw.randrange(2, 6))}
        more = (*PAIR, "--trainer.callbacks+=breaks.Breaks")
    console = consoles.start(fit(2000, *more), folder, env)
    last = folder / RUN / "checkpoints" / "last.ckpt"
    begun = console.wait_for(last, 240)
    pids = family(console.pid)
    try:
        return ended(form, console, pids, last, draw) if begun else f"there was no checkpoint: {console.said()[-300:]}"
    finally:
        for pid in filter(there, pids):
            os.kill(pid, signal.SIGKILL)


def ended(form: str, console: consoles.Console, pids: list[int], last: Path, draw: random.Random) -> str | None:
    """End one of the processes, and see what happens."""
    if form != BROKEN:
        time.sleep(draw.uniform(0, 0.5))
        with contextlib.suppress(ProcessLookupError):
            os.kill(console.pid if form == FIRST else pids[-1], signal.SIGKILL)
    limit = LIMIT if form != BROKEN else LIMIT + 60  # it breaks some epochs later
    status = console.status(limit)
    end = time.monotonic() + LIMIT
    while (left := [pid for pid in pids if there(pid)]) and time.monotonic() < end:
        time.sleep(0.1)
    said = console.said()
    if status is None or left:
        return f"status {status}, and {len(left)} of {len(pids)} processes were left after {LIMIT:g} s: {said[-300:]}"
    if status == 0:
        return f"status 0: {said[-300:]}"
    if form != BROKEN and "Traceback" in said:
        return f"it said {said[-300:]}"
    epoch = load(last)["epoch"]
    again = consoles.finish(fit(epoch + 2, "--ckpt_path=last", *ALONE), console.log.parent)
    if again.status() != 0:
        return f"the resumed run ended with {again.status()}: {again.said()[-300:]}"
    return None if load(last)["epoch"] == epoch + 1 else f"it did not go on from epoch {epoch}"


ROW = Row(
    name="death",
    happens="death of one of two processes; exception in one",
    follows="all gone within 30 s, non-zero status, resumable",
    forms={FIRST: 14, SECOND: 13, BROKEN: 13},
    trial=trial,
    workers=1,
)
