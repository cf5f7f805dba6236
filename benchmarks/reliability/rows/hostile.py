"""Checkpoints made to harm whoever opens them: nothing of theirs runs, and they take no memory to speak of."""

from __future__ import annotations

import atexit
import gc
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import cache, partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import yaml

from reliability.consoles import PRELOAD
from reliability.harmful import CANARY, EVIL, MARKER, SPLIT, described, traps
from reliability.row import Row
from reliability.rows._hostile import DESCRIBED, FORMS, HARMLESS, NAMED, UNFIT, write
from reliability.rows.damage import run

ROOM = 64 << 20
REMOTE = {"http": "http://127.0.0.1:9/x.ckpt", "https": "https://127.0.0.1:9/x.ckpt", "s3": "s3://bucket/x.ckpt"}
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--trainer.logger=false"]
QUIET += ["--trainer.limit_val_batches=1"]


def memory(pid: int | str = "self") -> int:
    """Bytes that a process holds and no file stands for, 0 once it is gone.

    Pages of mapped files do not count: a forked process maps torch's code anew as it runs it, 35 to 80 MiB of it,
    depending on what the kernel keeps.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))


def watched(pid: int) -> tuple[int, int]:
    """Wait for the end of a child: its exit status, and the most memory that it held.

    It is looked at every millisecond or two: a process needs longer to fill 64 MiB.
    """
    most = 0
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status, most
        most = max(most, memory(pid))
        time.sleep(0.001)


def openings(path: str, folder: str) -> dict[str, list[str]]:
    """The commands that open a file, and a run with that file in it."""
    more = ["--trainer.max_epochs=5", "--trainer.limit_train_batches=1", "--runs=out", *QUIET]
    found = {"validate": ["validate", path, *QUIET], "fit": ["fit", "--ckpt_path", path, *more]}
    if folder:
        found |= {"fit run": ["fit", "--ckpt_path", folder, *more], "embed": ["embed", folder, "--out=z.npz"]}
    return found


def tried(path: str, folder: str) -> dict[str, int]:
    """The exit status of everything that opens a file."""
    import lit_ae
    from lit_ae.cli import main
    from lit_ae.errors import LitAEError
    from lit_ae.models.vae import VAE

    def called(function: Callable[[str], object]) -> int:
        try:
            function(path)
        except LitAEError as error:
            return error.status
        return 0

    os.environ.pop("LIT_AE_RUN", None)
    ways = {name: partial(main, argv) for name, argv in openings(path, folder).items()}
    ways |= {"load": partial(called, lit_ae.load), "load_from_checkpoint": partial(called, VAE.load_from_checkpoint)}
    return {name: way() for name, way in ways.items()}


def child(hostile: str, foreign: str, folder: str) -> None:
    """Open a hostile file in every way, and write down what that took."""
    os.chdir(folder)
    sys.path.append(folder)
    with open("said.txt", "w") as sink, redirect_stderr(sink), redirect_stdout(sink):
        statuses = tried(hostile, foreign)
    said = Path("said.txt").read_text()
    found = {
        "statuses": statuses,
        "imported": not sys.modules.keys().isdisjoint((CANARY, EVIL, SPLIT)),
        "traceback": "Traceback" in said,
    }
    Path("result.json").write_text(json.dumps(found))


def serve(pipe: Connection, sound: str, folder: str) -> None:
    """Open a sound checkpoint in every way; then fork a process for every hostile one."""
    os.chdir(folder)
    with open("said.txt", "w") as sink, redirect_stderr(sink), redirect_stdout(sink):
        statuses = tried(sound, str(Path(sound).parent.parent))
    pipe.send(statuses)
    while True:
        try:
            asked = pipe.recv()
        except EOFError:
            return
        gc.collect()
        before = memory()
        if (number := os.fork()) == 0:
            status = 1
            try:
                child(*asked)
                status = 0
            finally:
                os._exit(status)
        status, most = watched(number)
        pipe.send((status, most - before))


@cache
def server() -> Connection:
    """The process that forks: it has imported and done everything once, so that only what a file adds is measured."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    ours, theirs = context.Pipe()
    folder = tempfile.mkdtemp(prefix="lit_ae-hostile-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = shutil.copytree(run(), Path(folder) / "vae" / "0")
    context.Process(target=serve, args=(theirs, str(copy / "checkpoints" / "last.ckpt"), folder), daemon=True).start()
    statuses = ours.recv()
    assert set(statuses.values()) == {0}, statuses
    return ours


def lie(config: Path, changed: dict[str, Any]) -> None:
    """Let a run's config.yaml describe the model in the same wrong way."""
    document = yaml.safe_load(config.read_text())
    model = document["model"]
    model["init_args"] = described(model["init_args"], changed)
    model["class_path"] = model["init_args"].pop("_class_path", model["class_path"])
    config.write_text(json.dumps(document))


def trial(form: str, number: int, folder: Path) -> str | None:
    """Write the file, open it in a process of its own, and look at what came of it."""
    sound = run() / "checkpoints" / "last.ckpt"
    traps(folder)
    (folder / "victim.ckpt").write_text("precious")
    path, foreign = folder / NAMED.get(form, "hostile.ckpt"), ""
    if form in REMOTE:
        shown, size = REMOTE[form], 0
    else:
        write(form, path, torch.load(sound, weights_only=True))
        shown, size = path.name if form in NAMED else str(path), path.stat().st_size
        copy = folder / (f"{EVIL}.run" if form in NAMED else "foreign")
        foreign = copy.name if form in NAMED else str(copy)
        shutil.copytree(run(), copy)
        for each in copy.glob("checkpoints/*.ckpt"):
            each.unlink()
            shutil.copy(path, each)
        if form in DESCRIBED:
            lie(copy / "config.yaml", DESCRIBED[form])
    pipe, result = server(), folder / "result.json"
    pipe.send((shown, foreign, str(folder)))
    status, grown = pipe.recv() if pipe.poll(240) else ("none", 0)
    if (folder / MARKER).exists():
        return "its code ran"
    if status != 0 or not result.exists():
        said = folder / "said.txt"
        return f"exit status {status}: {said.read_text()[-300:] if said.exists() else ''}"
    found = json.loads(result.read_text())
    if found["imported"]:
        return "it had a module imported"
    if (folder / "victim.ckpt").read_text() != "precious":
        return "it changed a file of somebody else"
    if grown >= 2 * size + ROOM:
        return f"{grown >> 20} MiB for a file of {size >> 10} KiB"
    allowed = {4, *({0} if form in HARMLESS else ()), *({3} if form in UNFIT else ())}
    if found["traceback"] or not set(found["statuses"].values()) <= allowed:
        return f"{found['statuses']}{', a traceback' if found['traceback'] else ''}"
    return None


ROW = Row(
    "hostile",
    "A checkpoint is made to harm (code, foreign classes, huge shapes, memory and zip bombs, paths), or lies elsewhere",
    "No code of it runs, no foreign module is imported, memory grows by less than twice the file + 64 MiB; "
    "status 4, or 0 where it is harmless",
    dict.fromkeys([*FORMS, *REMOTE], 1),
    trial,
    workers=1,
)
