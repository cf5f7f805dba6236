"""Disks of a limited size, commands that write on them, and what is then found there."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from reliability import consoles

PAGE = 4096  # bytes in which a tmpfs gives its space away
SIZE = 16 * 2**20


@contextmanager
def mounted(folder: Path, size: int = SIZE) -> Iterator[None]:
    """A disk of its own, of a limited size.

    Raises:
        RuntimeError: Mounting is not allowed here: such a trial shows nothing.
    """
    folder.mkdir(parents=True)
    call = ["mount", "-t", "tmpfs", "-o", f"size={size}", "lit_ae-torture", str(folder)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"no tmpfs can be mounted here ({done.stderr.strip()}): run this row as root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def printing(argv: list[str], folder: str, log: str, env: dict[str, str], out: str) -> None:
    """Be the console script with its standard output in a file of its own, its messages in the log."""
    os.chdir(folder)
    os.environ.update(env)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    sys.argv = [consoles.SCRIPT, *argv]
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 (with a buffer, as a file has)
    from lit_ae.cli import run

    run()


def ask(command: str, folder: Path, out: str | None = None) -> tuple[int | None, str]:
    """Give a command; its exit status and all that it said."""
    (folder / "log.txt").unlink(missing_ok=True)
    if out is None:
        console = consoles.finish(command.split(), folder)
        return console.status(), console.said()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(consoles.PRELOAD)
    arguments = (command.split(), str(folder), str(folder / "log.txt"), {"OMP_NUM_THREADS": "1"}, out)
    process = context.Process(target=printing, args=arguments)
    process.start()
    process.join(240)
    return process.exitcode, consoles.Console(process, folder / "log.txt").said()


def files(disk: Path) -> dict[str, bytes]:
    """All files of the disk; empty folders, called `name/`, hold nothing."""
    found = {str(path.relative_to(disk)): path.read_bytes() for path in sorted(disk.rglob("*")) if path.is_file()}
    bare = (path for path in disk.rglob("*") if path.is_dir() and not any(path.iterdir()))
    return found | {f"{path.relative_to(disk)}/": b"" for path in bare}


def pages(content: bytes) -> int:
    """How many pages a file takes."""
    return -(-len(content) // PAGE)


def fill(disk: Path, left: int) -> None:
    """Leave so many pages of the disk free."""
    with (disk / "filler").open("wb", buffering=0) as sink:
        free = os.statvfs(disk).f_bavail - left
        assert free > 0
        sink.write(b"\0" * (free * PAGE))
    assert os.statvfs(disk).f_bavail == left


def unreadable(name: str, content: bytes) -> str | None:
    """What is wrong with a file, None where it opens."""
    try:
        match Path(name).suffix:
            case ".png" | ".gif":
                Image.open(io.BytesIO(content)).load()
            case ".npz":
                with np.load(io.BytesIO(content)) as arrays:
                    assert all(arrays[key].size for key in arrays)
            case ".npy":
                np.load(io.BytesIO(content))
            case ".json":
                json.loads(content)
            case ".yaml":
                assert yaml.safe_load(content)
            case ".csv":
                rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
                assert len({len(row) for row in rows}) == 1, "rows of different lengths"
                assert content.endswith(b"\n"), "cut"
            case ".ckpt":
                from lit_ae.storage import load

                with tempfile.NamedTemporaryFile(suffix=".ckpt") as file:
                    Path(file.name).write_bytes(content)
                    load(file.name)  # looks at the digest, too
            case _:
                assert content, "empty"
    except Exception as error:  # any way in which a half-written file fails to open
        return f"{name} is damaged: {type(error).__name__} {error}"
    return None
