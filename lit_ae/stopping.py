"""Ctrl-C, SIGTERM and the signal of a job queue: noted while a batch is trained, obeyed at once elsewhere.

Imports no torch. Signals belong to the process, and so does what this module knows of them.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
AT_ONCE = b"lit_ae: stopped at once: nothing was saved since the last checkpoint.\n"

_state: dict[str, Any] = {"noted": 0, "asked": 0, "holding": False, "queue": 0, "interrupts": 0}
_before: dict[int, Any] = {}


class Stopped(SystemExit):
    """A signal ends the process.

    Args:
        number: The signal's.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.status = STATUS.get(signal.Signals(number), 143)
        super().__init__(self.status)


@contextmanager
def handled() -> Iterator[None]:
    """Handle signals inside, as they were handled before afterwards; nothing happens outside the main thread."""
    if threading.current_thread() is not threading.main_thread() or _before:
        yield
        return
    reset()
    try:
        install(signal.SIGINT)
        install(signal.SIGTERM)
        if "SLURM_JOB_ID" in os.environ:  # which of its signals asks for a checkpoint is known only later
            install(signal.SIGUSR1)
        yield
    finally:
        try:
            for number, handler in _before.items():
                signal.signal(number, handler)
        finally:  # though a signal comes amid that
            _before.clear()
            reset()  # the next training in this process, of another thread maybe, has nothing to obey


def install(number: int) -> None:
    """Handle one more signal; not one that the process was started to ignore."""
    if number not in _before and signal.getsignal(number) != signal.SIG_IGN:
        _before[number] = signal.signal(number, received)


def received(number: int, frame: FrameType | None) -> None:
    """What happens when a signal comes: the handler.

    Raises:
        Stopped: There is nothing to be saved.
    """
    if number == signal.SIGINT and _state["holding"]:
        _state["interrupts"] += 1
        if _state["interrupts"] > 1:
            os.write(2, AT_ONCE)
            os._exit(130)
    kind = "noted" if number in STATUS else "asked"
    _state[kind] = max(_state[kind], number)
    if not _state["holding"] and number in STATUS:
        raise Stopped(number)


def reset() -> None:
    """Forget what has come."""
    _state.update(noted=0, asked=0, holding=False, queue=0, interrupts=0)


def noted() -> int:
    """The signal that has come and waits for a settled moment, 0 where there is none."""
    asked: int = _state["asked"]  # by a queue, which nobody may have told which signal to send
    number: int = _state["noted"]
    return number or (asked if asked == _state["queue"] else 0)


def hold(queue: int = 0) -> None:
    """Let signals wait from now on.

    Args:
        queue: The signal by which a job queue asks for a checkpoint, 0 for none.
    """
    _state.update(holding=True, queue=queue)
    if queue and _before:
        install(queue)


def release() -> None:
    """Let signals end the process again; one that has come does so by `obey`."""
    _state["holding"] = False


def obey() -> None:
    """End the process where a signal has come that was still to be obeyed; not for a queue, as nothing is left to do.

    Raises:
        Stopped: It has.
    """
    if _state["noted"] not in (0, _state["queue"]):
        raise Stopped(_state["noted"])
