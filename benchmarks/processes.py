"""Each contender in a process of its own, waiting for its turn: what one sets or leaves behind is not another's."""

from __future__ import annotations

import gc
import io
import logging
import multiprocessing
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.connection import Connection
from typing import Any

import torch

from contenders import Contender
from lit_ae.errors import LitAEError


class Terminal(io.TextIOBase):
    """A terminal that nobody looks at: progress bars are drawn as for a user, and cost what they cost."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        return len(text)


class Worker:
    """A contender in another process.

    Args:
        name: Its name, for messages.
        build: Builds it there.
    """

    def __init__(self, name: str, build: Callable[[], Contender]) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=serve, args=(there, build))
        self.process.start()
        there.close()
        self.facts: dict[str, float] = self._receive()

    def measure(self) -> float:
        """Let it run a round; milliseconds per step."""
        self.pipe.send(True)
        return self._receive()

    def stop(self) -> None:
        """End the process."""
        self.pipe.close()
        self.process.join(10)
        self.process.terminate()

    def _receive(self) -> Any:
        try:
            received = self.pipe.recv()
        except EOFError:
            sys.exit(f"throughput: {self.name} failed, see above.")
        if isinstance(received, LitAEError):
            raise received
        return received


def serve(pipe: Connection, build: Callable[[], Contender]) -> None:
    """Build a contender, then run a round whenever asked, until the pipe is closed."""
    logging.disable(logging.INFO)  # pythae's and Lightning's reports of every round
    warnings.filterwarnings("ignore")
    terminal = Terminal()
    try:
        with redirect_stdout(terminal), redirect_stderr(terminal):
            torch.manual_seed(0)
            contender = build()
            pipe.send(contender.facts)
            while pipe.recv():
                gc.collect()
                pipe.send(contender.measure())
    except LitAEError as error:
        pipe.send(error)
    except EOFError:
        pass
