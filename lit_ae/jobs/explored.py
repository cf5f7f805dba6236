"""Opens a run for the page, and serves it until a signal."""

from __future__ import annotations

import signal
import webbrowser
from argparse import Namespace
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from socket import socket
from types import FrameType

import uvicorn

from lit_ae.explore.app import build
from lit_ae.explore.space import Space
from lit_ae.jobs.opening import opened


class Server(uvicorn.Server):
    """Ends at the first Ctrl-C without a traceback, and remembers which signal it was."""

    stopped_by: int = 0

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stop at SIGINT and SIGTERM."""

        def stop(number: int, frame: FrameType | None) -> None:
            self.force_exit, self.should_exit, self.stopped_by = self.should_exit, True, number

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(asked: Namespace, flags: Sequence[str], door: socket) -> int:
    """Serve the page on a socket; the status that the signal stands for."""
    run = opened(asked.run, flags, asked.data, asked.device)
    app = build(Space(run, asked.split, asked.n), asked.host)
    name = f"[{asked.host}]" if ":" in asked.host else asked.host
    address = f"http://{name}:{door.getsockname()[1]}/"
    print(f"page     {address}", flush=True)
    if asked.open:
        webbrowser.open(address)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2, lifespan="off", server_header=False)
    server = Server(config)
    server.run(sockets=[door])
    return 128 + server.stopped_by if server.stopped_by else 0
