"""Runs of the console script that are stopped and go on, beside one that was not."""

from __future__ import annotations

import atexit
import shutil
import threading
import time
from pathlib import Path

from reliability import consoles
from reliability.resumed import difference

RUN = Path("runs") / "vae" / "0"
SMALL = ("--config=vae", "--trainer.callbacks=[KLAnnealing]", "--trainer.accelerator=cpu")
SMALL += ("--model.encoder.hidden=[16]", "--model.decoder.hidden=[16]", "--trainer.enable_progress_bar=false")
SMALL += ("--trainer.log_every_n_steps=5", "--data.batch_size=128")

_references: dict[tuple[str, ...], tuple[Path, float]] = {}
_lock = threading.Lock()


def fit(epochs: int, *more: str) -> list[str]:
    """A command line that trains a small VAE."""
    return ["fit", *SMALL, f"--trainer.max_epochs={epochs}", *more]


def reference(epochs: int, folder: Path, *more: str) -> tuple[Path, float]:
    """The folder of the same run, unbroken, and how many seconds it took: trained once per process."""
    key = (str(epochs), *more)
    with _lock:
        if key not in _references:
            place = folder.parent.with_name(f"{folder.parent.name}-whole-{len(_references)}")
            place.mkdir()
            atexit.register(shutil.rmtree, place, ignore_errors=True)
            consoles.finish(["--version"], place)  # so that the server is there, and not in the time
            started = time.monotonic()
            done = consoles.finish(fit(epochs, *more), place)
            if done.status() != 0:
                raise RuntimeError(f"the unbroken run failed: {done.said()[-300:]}")
            _references[key] = place / RUN, time.monotonic() - started
    return _references[key]


def lines(path: Path) -> int:
    """Lines of a file, 0 where there is none."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def gone_on(folder: Path, argv: list[str], whole: Path, env: dict[str, str] | None = None) -> str | None:
    """Give a command to its end, and say where its run ends unlike the unbroken one."""
    done = consoles.finish(argv, folder, env)
    if done.status() != 0:
        return f"the resumed run ended with {done.status()}: {done.said()[-300:]}"
    runs = sorted(path.parent for path in (folder / "runs" / "vae").glob("*/config.yaml"))
    if len(runs) != 1:
        return f"there are {len(runs)} runs, not one"
    return difference(whole, runs[0])
