"""The processes of one run watch each other: when one dies, none of the others waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.distributed import _set_num_threads_if_needed
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from lit_ae.errors import RunError

PARENT = "LIT_AE_PARENT"  # number of the process that started the others
PERIOD = 0.5  # seconds between two looks
GRACE = 8.0  # seconds that a process has to end by itself once another has died
GONE = "another process of this run has ended: see above, and go on with --ckpt_path last"


class Lost(RunError):
    """Another process of the run has ended."""


class Launcher(_SubprocessScriptLauncher):
    """Starts the other processes, and ends with them: Lightning's observer kills this one without a word."""

    def launch(self, function: Callable[..., Any], *args: Any, trainer: pl.Trainer | None = None, **kwargs: Any) -> Any:
        """Start the processes, and watch them."""
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            os.environ[PARENT] = str(os.getpid())
            self._call_children_scripts()
            threading.Thread(target=watch_children, args=(self.procs,), daemon=True).start()
        _set_num_threads_if_needed(num_processes=self.num_processes)
        return function(*args, **kwargs)


def install(trainer: pl.Trainer) -> None:
    """Let a trainer that starts processes watch them, and let a process that was started watch its parent."""
    launcher = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        launcher.__class__ = Launcher


def watch_parent() -> None:
    """Where a launcher started this process: end it when the launcher is gone."""
    if int(os.environ.get("LOCAL_RANK") or 0) > 0:
        parent = int(os.environ.get(PARENT) or os.getppid())
        threading.Thread(target=outlive_not, args=(parent,), daemon=True).start()


def outlive_not(parent: int) -> None:
    """End when the parent has, after a while to end in order."""
    while os.getppid() == parent:
        time.sleep(PERIOD)
    time.sleep(GRACE)
    leave(RunError.status)


def watch_children(processes: list[subprocess.Popen[bytes]]) -> None:
    """End when one of them has ended in trouble, after a while to end in order; the others see that it is gone."""
    while any(process.poll() is None for process in processes) and not failed(processes):
        time.sleep(PERIOD)
    if failed(processes):
        time.sleep(GRACE)
        for process in processes:
            process.kill()
        leave(failed(processes))


def failed(processes: list[subprocess.Popen[bytes]]) -> int:
    """Exit status of the first process that ended in trouble: its own, or that of a run that is to be continued."""
    ended = [code for code in (process.poll() for process in processes) if code]
    return next((code if code > 0 else RunError.status for code in ended), 0)


def leave(status: int) -> None:
    """End at once, whatever the main thread waits for."""
    print(f"lit_ae: {GONE}.", file=sys.stderr, flush=True)
    os._exit(status)


@contextmanager
def heard(trainer: pl.Trainer) -> Iterator[None]:
    """Say in one sentence that a process no longer hears from another one.

    Raises:
        Lost: It does not; with the exit status of the process that ended.
    """
    try:
        yield
    except Exception as error:
        if trainer.world_size > 1 and silent(error):
            raise lost(trainer) from error
        raise


def silent(error: Exception) -> bool:
    """Whether an error is that of a process which no longer hears from another one."""
    words = ("gloo", "Connection closed by peer", "Connection reset", "NCCL")
    return isinstance(error, torch.distributed.DistError) or any(word in str(error) for word in words)


def lost(trainer: pl.Trainer) -> Lost:
    """What to say, once the other process has had a moment to end."""
    known = Lost(f"{GONE[0].upper()}{GONE[1:]}.")
    launcher = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        end = time.monotonic() + GRACE / 2
        while not failed(launcher.procs) and time.monotonic() < end and launcher.procs:
            time.sleep(0.1)
        known.status = failed(launcher.procs) or known.status
    return known
