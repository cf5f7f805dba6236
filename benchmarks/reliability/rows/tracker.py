"""Trackers that are out of reach in every way: training ends as it would without them."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from reliability import consoles
from reliability.row import Row

WAYS = ("refuses", "never answers", "has no address", "dies", "fails")
SHORT = ["fit", "--config=vae", "--trainer.max_epochs=2", "--trainer.callbacks=[]", "--trainer.accelerator=cpu"]
SHORT += ["--trainer.limit_val_batches=1", "--trainer.log_every_n_steps=2", "--trainer.enable_progress_bar=false"]
SHORT += ["--model.encoder.hidden=[16]", "--model.decoder.hidden=[16]"]
TRACKER = '''
import urllib.request

from lightning.pytorch.loggers.logger import Logger


class Http(Logger):
    """Sends every value to a server, and fails where that does."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url, self.started = url, False

    name = property(lambda self: "http")
    version = property(lambda self: "0")

    def send(self, text: str) -> None:
        with urllib.request.urlopen(self.url, text.encode(), timeout=1) as answer:
            answer.read()

    @property
    def experiment(self) -> "Http":
        if not self.started:
            self.send("start")
            self.started = True
        return self

    def log_metrics(self, metrics, step=None) -> None:
        self.send(f"{step} {metrics}")

    def log_hyperparams(self, params, *args, **kwargs) -> None:
        self.send(str(params))

    def finalize(self, status) -> None:
        self.send(status)
'''


class Answers(BaseHTTPRequestHandler):
    """Answers a number of requests, then closes the server, or answers all of them with an error."""

    left, status = 0, 200

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = type(self)
        kind.left -= 1
        if kind.left < 0:
            with contextlib.suppress(OSError):
                self.server.socket.close()
            self.connection.close()
            return
        self.send_response(kind.status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST

    def log_message(self, *args: object) -> None:
        """Nothing."""


@contextmanager
def server(way: str, number: int) -> Iterator[str]:
    """The address of a tracker that is out of reach in some way."""
    if way == "has no address":
        yield "http://tracker.invalid"
        return
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        if way in ("refuses", "never answers"):
            if way == "never answers":
                listener.listen(64)  # the kernel takes the connection, and nobody reads from it
            yield f"http://127.0.0.1:{port}"
            return
    kind = type(
        "Some",
        (Answers,),
        {"left": 1 + number % 7 if way == "dies" else 10**9, "status": 200 if way == "dies" else 500},
    )
    web = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    web.handle_error = lambda *args: None  # type: ignore[method-assign]
    thread = threading.Thread(target=web.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{web.server_port}"
    finally:
        web.shutdown()
        web.server_close()


@cache
def alone() -> bytes:
    """The metrics of a run without a tracker."""
    with tempfile.TemporaryDirectory() as folder:
        console = consoles.finish(SHORT, Path(folder))
        assert console.status() == 0, console.said()
        return (Path(folder) / "runs/vae/0/metrics.csv").read_bytes()


def trial(form: str, number: int, folder: Path) -> str | None:
    """Train with a tracker that is out of reach."""
    way = WAYS[number % len(WAYS)]
    (folder / "tracker.py").write_text(TRACKER)
    with server(way, number) as url:
        env = {"HOME": str(folder), "NETRC": str(folder / "netrc"), "WANDB_BASE_URL": url, "WANDB_API_KEY": "k" * 40}
        if form == "W&B":
            logger = ["--trainer.logger+=WandB", "--trainer.logger.init_timeout=1", "--trainer.logger.finish_timeout=2"]
            logger += ["--trainer.logger.save_dir={run}"]
        else:
            logger = ["--trainer.logger+=tracker.Http", f"--trainer.logger.url={url}"]
        console = consoles.start([*SHORT, *logger], folder, env)
        status = console.status(180)
    said = console.said()
    if status != 0:
        return f"{way}: status {status}: {said[-300:]}"
    if "Traceback" in said or ("W&B" if form == "W&B" else "Http") not in said:
        return f"{way}: {said[-300:]}"
    if (folder / "runs/vae/0/metrics.csv").read_bytes() != alone():
        return f"{way}: metrics.csv is not that of a run without a tracker"
    return None


ROW = Row(
    name="tracker",
    happens="the tracker refuses, never answers, has no address, dies while training, or fails",
    follows="training ends with status 0, metrics.csv as without it",
    forms={"W&B": 10, "another tracker": 10},
    trial=trial,
)
