"""Work shared among processes, each of which leaves its part in files that the first one joins. Imports no torch.

There is no collective to hang in: the first process watches files, and gives up when another has died.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from lit_ae import trust
from lit_ae.errors import LitAEError, RunError

START = 300.0  # seconds that another process may take to begin
SILENT = 60.0  # seconds without a sign of life, from another machine
BEAT = 1.0  # seconds between signs of life


class Shard(NamedTuple):
    """One process of several, as torchrun says in the environment.

    Args:
        rank: Its number.
        world: How many there are.
    """

    rank: int
    world: int


def here() -> Shard:
    """This process."""
    return Shard(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))


def folder(out: Path) -> Path:
    """Where the parts of a file lie, the same for all processes of one launch, and another for the next launch."""
    names = ("LIT_AE_SHARDS", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_PORT", "SLURM_STEP_ID")
    known = [os.environ.get(name, "") for name in (*names, "SLURM_JOB_ID")]
    if os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE"):
        known.append(str(os.getppid()))  # one launcher for all: no other launch has its number
    return out.with_name(f"{out.name}.parts-{'-'.join(part for part in known if part) or 'one'}".replace("/", "_"))


@contextmanager
def part(parts: Path, rank: int) -> Iterator[Path]:
    """A new folder for the part of one process, with a sign of life beside it; at the end it says how that went."""
    own = parts / str(rank)
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    for name in ("done", "failed"):
        (parts / f"{rank}.{name}").unlink(missing_ok=True)
    alive, stop = parts / f"{rank}.alive", threading.Event()

    def beat() -> None:
        number = 0
        while not stop.wait(BEAT):
            number += 1
            try:
                say(alive, {"pid": os.getpid(), "host": socket.gethostname(), "beat": number})
            except OSError:
                return  # the first process has given up, and removed the folder

    say(alive, {"pid": os.getpid(), "host": socket.gethostname(), "beat": 0})
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield own
        say(parts / f"{rank}.done", {})
    except BaseException as error:
        if parts.is_dir():
            status = error.status if isinstance(error, LitAEError) else 1
            say(parts / f"{rank}.failed", {"status": status, "what": str(error) or type(error).__name__})
        raise
    finally:
        stop.set()
        thread.join()


def say(path: Path, what: dict[str, Any]) -> None:
    """Write a small file at once."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(what), encoding="utf-8")
    partial.replace(path)


def wait(parts: Path, world: int) -> None:
    """Wait until every process has left its part.

    Raises:
        LitAEError: What went wrong in another process.
        RunError: Another process has died, or never came.
    """
    seen = {rank: ("", time.monotonic()) for rank in range(1, world)}
    while missing := [rank for rank in seen if not (parts / f"{rank}.done").is_file()]:
        for rank in missing:
            if (failed := parts / f"{rank}.failed").is_file():
                found = json.loads(failed.read_text(encoding="utf-8"))
                kinds = {kind.status: kind for kind in LitAEError.__subclasses__()}
                raise kinds.get(found["status"], RunError)(f"Process {rank} of {world}: {found['what']}")
            alive = parts / f"{rank}.alive"
            said = alive.read_text(encoding="utf-8") if alive.is_file() else ""
            if said != seen[rank][0]:
                seen[rank] = (said, time.monotonic())
            quiet = time.monotonic() - seen[rank][1]
            if (said and dead(json.loads(said)) and not (parts / f"{rank}.done").is_file()) or quiet > (
                SILENT if said else START
            ):
                raise RunError(
                    f"Process {rank} of {world} {'died' if said else 'never began'}: nothing was written; give the "
                    "same command again, with fewer processes where memory ran out."
                )
        time.sleep(0.05)


def dead(said: dict[str, Any]) -> bool:
    """Whether a process of this machine is gone."""
    if said["host"] != socket.gethostname():
        return False
    try:
        os.kill(said["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def spread(command: str, argv: Sequence[str], processes: int) -> int:
    """Run a command in so many processes of this machine, and return their exit status."""
    rest, items = [], iter(argv)
    for item in items:
        if item == "--processes":
            next(items)
        elif not item.startswith("--processes="):
            rest.append(item)
    token = f"{os.getpid()}"
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // processes))
    children = []
    for rank in range(processes):
        places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
        more = {name: str(value) for name, value in places.items()}
        children.append(
            subprocess.Popen(
                [sys.executable, "-m", "lit_ae", command, *rest, *trust.flags()],
                env={**os.environ, **more, "LIT_AE_SHARDS": token, "OMP_NUM_THREADS": threads},
                stderr=subprocess.DEVNULL if rank else None,  # the first says what went wrong, wherever it did
            )
        )
    try:
        while (first := children[0].poll()) is None:
            for child in children[1:]:
                child.poll()  # lets the system forget one that died, so that the first process sees it
            time.sleep(BEAT / 10)
        others = [child.wait(SILENT) if first == 0 else child.poll() for child in children[1:]]
        return first or next((status for status in others if status), 0)
    finally:
        for child in children:
            if child.poll() is None:
                child.terminate()
                child.wait()
