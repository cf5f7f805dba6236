"""The console script in processes that can be killed: forked from one that has imported everything, or started anew."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

LOCK = threading.Lock()  # a start asks after every child: two threads that read one's status give one of them 255
SCRIPT = str(Path(sys.executable).with_name("lit_ae"))
ROOT = Path(__file__).resolve().parents[2]
WALKED = ("lit_ae.models", "lit_ae.callbacks", "datamodules")  # what a command imports: two thirds of its start
PRELOAD = ["lit_ae.launch", "lit_ae.cli"]
PRELOAD += [f"{name}.{path.stem}" for name in WALKED for path in (ROOT / name.replace(".", "/")).glob("[!_]*.py")]


def child(argv: list[str], folder: str, log: str, env: dict[str, str]) -> None:
    """Be the console script: its own process group, its output in a file, its arguments in sys.argv."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which the fork server ignores
    os.chdir(folder)
    os.environ.update(env)
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(sink, number)
    sys.argv = [SCRIPT, *argv]
    from lit_ae.cli import run

    run()


@dataclass
class Console:
    """A running command.

    Args:
        process: It.
        log: File with its standard output and error.
    """

    process: ForkServerProcess | subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """Its number."""
        assert self.process.pid is not None
        return self.process.pid

    def status(self, timeout: float = 120.0) -> int | None:
        """Wait for its end; minus the signal that killed it, None where it goes on."""
        if isinstance(self.process, subprocess.Popen):
            try:
                return self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                return None
        wait([self.process.sentinel], timeout)
        with LOCK:
            return self.process.exitcode

    def send(self, signum: int) -> None:
        """Send a signal to it alone, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signum)

    def said(self) -> str:
        """What it printed."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def wait_for(self, path: Path, timeout: float = 60.0) -> bool:
        """Wait for a file to appear while it runs."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if path.exists():
                return True
            if self.status(0.005) is not None:
                return path.exists()
        return False


def start(argv: list[str], folder: Path, env: Mapping[str, str] | None = None, anew: bool = False) -> Console:
    """Start a command in a folder.

    Args:
        argv: Arguments of lit_ae.
        folder: Where it runs; its output goes to `log.txt` there.
        env: More of the environment.
        anew: Start the real console script, rather than fork a process that has imported everything already.
    """
    log = folder / "log.txt"
    more = {"OMP_NUM_THREADS": "1", **(env or {})}
    if anew:
        with log.open("ab") as sink:
            process = subprocess.Popen(
                [SCRIPT, *argv],
                cwd=folder,
                env={**os.environ, **more},
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        return Console(process, log)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    forked = context.Process(target=child, args=(argv, str(folder), str(log), more))
    with LOCK:
        forked.start()
    return Console(forked, log)


def finish(argv: list[str], folder: Path, env: Mapping[str, str] | None = None, timeout: float = 240.0) -> Console:
    """Run a command to its end."""
    console = start(argv, folder, env)
    console.status(timeout)
    return console
