"""Mutated configs and command lines: one sentence, never a traceback.

Most are parsed, links and validation included, by `main` in this process, where what would build the parts is left out.
Of the real processes one of ten starts the console script anew, the others fork one that has imported everything: with
`--print_config`, as they would train, so that they stop before links are applied.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
import warnings
from functools import cache
from pathlib import Path
from unittest.mock import patch

from reliability.consoles import start
from reliability.mutants import drawn, write
from reliability.row import Row

SECONDS = 1.0  # of the processor, per parse: a busy machine is not the mutant's
WALL = 20.0  # seconds in which it must have ended, however busy
CHARACTERS = 4096
FORMS = {
    "below model": 2000,
    "below data": 1500,
    "below trainer": 1500,
    "elsewhere": 2400,
    "command lines": 2500,
    "real processes": 100,
}
KINDS = tuple(FORMS)[:-1]


@cache
def warm() -> None:
    """Import everything, and parse once: what a process pays a single time is not the mutant's."""
    parsed(["fit", "--config", "vae"])


def parsed(argv: list[str]) -> tuple[int, str, str, float, float]:
    """Status, standard output and error, and seconds of the processor and of the clock that a command line took."""
    from lit_ae.cli import main
    from lit_ae.lightning_cli import LitCLI

    out, err, path = io.StringIO(), io.StringIO(), list(sys.path)
    stop = patch.object(LitCLI, "instantiate_classes", side_effect=SystemExit(0))  # all is parsed by then
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), stop, warnings.catch_warnings():
        started, began = time.thread_time(), time.monotonic()
        status = main(argv)
        seconds, wall = time.thread_time() - started, time.monotonic() - began
    sys.path[:] = path
    return status, out.getvalue(), err.getvalue(), seconds, wall


def judged(status: int | None, text: str, seconds: float = 0.0, wall: float = 0.0) -> str | None:
    """What is wrong with how a command ended."""
    shown = " ".join(text.split())[-300:]
    if status not in (0, 2):
        return f"status {status}: {shown}"
    if "Traceback" in text or "bug of ours" in text:
        return f"a traceback: {shown}"
    if len(text.encode("utf-8", "surrogateescape")) >= CHARACTERS:
        return f"{len(text)} characters: {shown}"
    if status == 2 and not text.strip():
        return "status 2 without a word"
    if seconds > SECONDS:
        return f"{seconds:.2f} s of the processor: {shown}"
    if wall > WALL:
        return f"{wall:.0f} s: {shown}"
    return None


def trial(form: str, number: int, folder: Path) -> str | None:
    """Parse one mutant."""
    kind = KINDS[number % len(KINDS)] if form == "real processes" else form
    argv, files = drawn(kind, number)
    write(files, folder)
    if form == "real processes":
        console = start([*argv, "--print_config"], folder, anew=number % 10 == 0)
        status = console.status(300)  # on a busy machine imports alone take a minute
        said = console.said()
        return judged(status, said if status else said[:0] + errors(said))
    before = Path.cwd()
    os.chdir(folder)
    try:
        warm()
        status, out, err, *took = parsed(argv)
    finally:
        os.chdir(before)
    return judged(status, err if status == 0 else out + err, *took)


def errors(said: str) -> str:
    """Lines that no printed config holds."""
    return "\n".join(line for line in said.splitlines() if line.startswith(("lit_ae: ", "Traceback")))


ROW = Row(
    name="mutations",
    happens="mutations of the shipped configs and of command lines",
    follows="status 0 or 2, under 4 KB of text, no traceback, alias bombs refused; parsed within 1 s of the processor",
    forms=FORMS,
    trial=trial,
    workers=1,
)
