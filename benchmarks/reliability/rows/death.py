"""One of the two processes of a run is killed, or breaks: none is left behind, and the run goes on on two."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

from lit_ae.errors import RunError
from reliability import consoles
from reliability.row import Row
from reliability.stopped import RUN, fit, gone_on, reference

FIRST, SECOND, BROKEN = "kill -9 of the first", "kill -9 of the second", "exception in one"
LIMIT = 30.0  # seconds from the death or the exception until no process is there
EPOCHS = 60
STATUS = {FIRST: -signal.SIGKILL, SECOND: RunError.status, BROKEN: 1}  # of the first process, which is the console's
PAIR = ("--trainer.devices=2", "--trainer.strategy=ddp")
SAID = "another process of this run has ended: see above, and go on with --ckpt_path last"
BREAKS = """
import os
import time
from pathlib import Path

from lightning.pytorch import Callback

class Breaks(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_rank == int(os.environ["BREAK"]) and batch_idx == int(os.environ["BREAK_BATCH"]):
            if Path("break").exists():
                Path("broken.partial").write_text(str(time.monotonic()))  # a clock of the machine, not of a process
                Path("broken.partial").replace("broken")
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
    """Wait for the first checkpoint of two processes, end one, and look at what is left; then go on with two."""
    draw = random.Random(f"{form}-{number}")
    whole, _ = reference(EPOCHS, folder, *PAIR)
    env, more = {}, PAIR
    if form == BROKEN:
        (folder / "breaks.py").write_text(BREAKS)
        env = {"BREAK": str(draw.randrange(2)), "BREAK_BATCH": str(draw.randrange(6))}
        more = (*PAIR, "--trainer.callbacks+=breaks.Breaks")
    console = consoles.start(fit(EPOCHS, *more), folder, env)
    begun = console.wait_for(folder / RUN / "checkpoints" / "last.ckpt", 240)
    pids = family(console.pid)
    try:
        if not begun:
            return f"there was no checkpoint: {console.said()[-300:]}"
        time.sleep(draw.uniform(0, 0.5))
        if len(pids) != 2 or not all(map(there, pids)):
            return f"of {len(pids)} processes, not of 2, {sum(map(there, pids))} were there: {console.said()[-300:]}"
        wrong = ended(form, console, pids, folder)
    finally:
        for pid in filter(there, pids):
            os.kill(pid, signal.SIGKILL)
    return wrong or gone_on(folder, fit(EPOCHS, "--ckpt_path=last", *PAIR), whole)


def ended(form: str, console: consoles.Console, pids: list[int], folder: Path) -> str | None:
    """End one of two processes, and see what becomes of both."""
    if form == BROKEN:
        (folder / "break").touch()
        if not console.wait_for(folder / "broken"):
            return f"nothing was raised: {console.said()[-300:]}"
        since = float((folder / "broken").read_text())
    else:
        os.kill(pids[0 if form == FIRST else 1], signal.SIGKILL)
        since = time.monotonic()
    while (left := [*filter(there, pids)]) and time.monotonic() < since + LIMIT:
        time.sleep(0.05)
    said = console.said()
    if left:
        return f"{len(left)} of 2 processes were there after {LIMIT:g} s: {said[-300:]}"
    if (status := console.status(5)) != STATUS[form]:
        return f"status {status} instead of {STATUS[form]}: {said[-300:]}"
    if form != BROKEN and ("Traceback" in said or SAID not in said.replace("Another", "another")):
        return f"it said {said[-300:]}"
    if form == BROKEN and "broken on purpose" not in said:
        return f"it did not say what was raised: {said[-300:]}"
    return None


ROW = Row(
    name="death",
    happens="death of one of two processes; exception in one",
    follows="all gone within 30 s, non-zero status; resumed on two processes, bit-equal to the unbroken run",
    forms={FIRST: 14, SECOND: 13, BROKEN: 13},
    trial=trial,
    workers=1,
)
