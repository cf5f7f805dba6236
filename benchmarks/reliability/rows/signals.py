"""SIGTERM, SLURM's SIGUSR1 and Ctrl-C at a random moment of training, validation included, then the resumed run."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from lit_ae.storage import load
from reliability import consoles
from reliability.row import Row
from reliability.stopped import RUN, fit, gone_on, lines, reference

EPOCHS = 20
TERM, QUEUE, CTRL_C = "SIGTERM", "SIGUSR1", "Ctrl-C"
NUMBERS = {TERM: signal.SIGTERM, QUEUE: signal.SIGUSR1, CTRL_C: signal.SIGINT}
STATUS = {TERM: 143, QUEUE: 143, CTRL_C: 130}
SCONTROL = """#!/bin/sh
echo "$@" >> "$SCONTROL_LOG"
"""


def slurm(folder: Path, number: int, restarts: int) -> dict[str, str]:
    """The environment of a job of one task, whose scontrol writes down what it was asked."""
    scontrol = folder / "scontrol"
    if not scontrol.exists():
        scontrol.write_text(SCONTROL)
        scontrol.chmod(0o755)
    return {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "SCONTROL_LOG": str(folder / "asked.txt"),
        "SLURM_JOB_ID": str(1000 + number),
        "SLURM_NTASKS": "1",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
        "SLURM_NODELIST": "localhost",
        "SLURM_JOB_NAME": "torture",
        "SLURM_RESTART_COUNT": str(restarts),
    }


def last_step(run: Path) -> int:
    """The last step of a run that was logged."""
    return int((run / "metrics.csv").read_text(encoding="utf-8").splitlines()[-1].partition(",")[0])


def trial(form: str, number: int, folder: Path) -> str | None:
    """Send the signal once training has begun; look at the status, the checkpoint, the queue and the resumed run."""
    draw = random.Random(f"{form}-{number}")
    whole, _ = reference(EPOCHS, folder)
    env = slurm(folder, number, 0) if form == QUEUE else {}
    console = consoles.start(fit(EPOCHS), folder, env)
    rows = draw.randrange(2, 2 * EPOCHS)
    while (seen := lines(folder / RUN / "metrics.csv")) < rows and console.status(0.01) is None:
        pass
    if seen < rows:
        return f"training did not begin: {console.said()[-300:]}"
    time.sleep(draw.uniform(0, 0.02))
    console.send(NUMBERS[form])
    status, said = console.status(60), console.said()
    if status != STATUS[form]:
        return f"status {status} instead of {STATUS[form]}: {said[-300:]}"
    if not (folder / RUN / "checkpoints" / "last.ckpt").is_file():
        return "no checkpoint was saved"
    saved, seen = load(folder / RUN / "checkpoints" / "last.ckpt")["global_step"], last_step(folder / RUN)
    if saved < seen:
        return f"the checkpoint is of step {saved}, and step {seen} was done"
    if "go on with lit_ae fit --ckpt_path runs/vae/0" not in said or "Traceback" in said:
        return f"it said {said[-300:]}"
    if form != QUEUE:
        return gone_on(folder, fit(EPOCHS, "--ckpt_path=last"), whole)
    asked = (folder / "asked.txt").read_text() if (folder / "asked.txt").exists() else "nothing"
    if asked.split() != ["requeue", str(1000 + number)]:
        return f"scontrol was asked {asked!r}"
    return gone_on(folder, fit(EPOCHS), whole, slurm(folder, number, 1))  # the very same command


ROW = Row(
    name="signals",
    happens="SIGTERM, SIGUSR1 (SLURM requeue with a stand-in `scontrol`), Ctrl-C",
    follows="checkpoint saved, status 143, requeued (143), 130; the resumed run bit-equal to the unbroken one",
    forms={TERM: 50, QUEUE: 50, CTRL_C: 50},
    trial=trial,
)
