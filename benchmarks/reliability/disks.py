"""Disks of a limited size, commands that write on them, and what is then found there."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import os
import re
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
WAYS_OUT = ("free space", "permissions", "--runs", "another path")


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


def message(status: int | None, said: str, reason: int, named: str) -> str | None:
    """What is wrong with the way in which a command ended, None where nothing is.

    Args:
        status: Its exit status.
        said: What it printed.
        reason: Number of the system's error.
        named: What could not be written, a glob pattern.
    """
    lines = [line for line in said.splitlines() if line.startswith("lit_ae: ")]
    if status != 6:
        return f"status {status}: {said[-300:]}"
    if "Traceback" in said or "bug of ours" in said or re.search(r"^Exception |Error:", said, re.MULTILINE):
        return f"more than a sentence: {said[-300:]}"
    if len(lines) != 1:
        return f"{len(lines)} sentences: {said[-300:]}"
    if not any(way in lines[0] for way in WAYS_OUT):
        return f"no way out: {lines[0]}"
    if os.strerror(reason) not in lines[0] or "enforce fail" in lines[0]:
        return f"not why: {lines[0]}"
    if not any(Path(word.strip("(),.:")).match(named) for word in lines[0].split()):
        return f"names no {named}: {lines[0]}"
    return None


def files(disk: Path) -> dict[str, bytes]:
    """All files of the disk; empty folders, called `name/`, hold nothing."""
    found = {str(path.relative_to(disk)): path.read_bytes() for path in sorted(disk.rglob("*")) if path.is_file()}
    bare = (path for path in disk.rglob("*") if path.is_dir() and not any(path.iterdir()))
    return found | {f"{path.relative_to(disk)}/": b"" for path in bare}


def left_behind(before: dict[str, bytes], after: dict[str, bytes], training: bool) -> str | None:
    """What is wrong with the files, None where nothing is."""
    if gone := before.keys() - after.keys():
        return f"{min(gone)} is gone"
    new = after.keys() - before.keys()
    if new and not training and not all(".partial/" in name for name in new):
        return f"{min(new)} is left behind"
    for name, content in after.items():
        sampler = re.match(r".*samplers/\w+\.partial/", name)  # which the same command goes on with
        kept = sampler is not None and f"{sampler[0]}checkpoints/last.ckpt" in after
        rest = name.removeprefix(sampler[0]) if sampler is not None and kept else name
        if "partial" in rest or ".parts" in rest or "tmp" in rest:
            return f"{name} is left behind"
        if (
            name != "filler"
            and not name.endswith("/")
            and (content != before.get(name))
            and (wrong := unreadable(name, content))
        ):
            return wrong
    return None


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
