"""Checkpoints that are opened only once they are known to be sound. Imports no torch."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lit_ae.archive import Damaged, read, records, whole
from lit_ae.dryrun import contents
from lit_ae.errors import RunError
from lit_ae.sealed import COMMENT, sealed

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
KNOWN = (LAST, PREVIOUS, BEST)
VERSION = "pytorch-lightning_version"
told: set[Path] = set()  # files without a digest that were named already


@dataclass(frozen=True)
class Checked:
    """A file that may be unpickled: its bytes are those that were saved, and it asks for no more than it holds.

    Args:
        file: It, open: what was checked is what is read.
        document: What it holds, without torch: `allowed.Tensor` for every tensor.
    """

    file: BinaryIO
    document: dict[Any, Any]


@contextmanager
def opened(path: str | Path) -> Iterator[Checked]:
    """Open a file that torch.save wrote, once it is known to be sound.

    A file without a digest is named on stderr, and let through where its records are whole.

    Raises:
        RunError: It is not there, is damaged, or asks for more than a checkpoint needs.
    """
    path = local(path)
    try:
        file = path.open("rb")
    except OSError as error:
        raise RunError(f"{path} is no checkpoint that can be read ({error.strerror}): name another one.") from error
    with file:
        why = ""
        try:
            document, carries = checked(file)
        except Damaged as error:
            why = str(error)
        if why:  # out of the except clause: what was read of this file is gone before others are looked at
            raise RunError(f"{path} is no checkpoint, or is damaged ({why}): {way_out(path)}")
        if not isinstance(document, dict):
            raise RunError(f"{path} is no checkpoint: it holds a {type(document).__name__}. Name another one.")
        if not isinstance(document.get(VERSION, ""), str):  # Lightning writes it out, whatever it is
            raise RunError(f"{path} is no checkpoint: its {VERSION} is no text. Name another one.")
        if not carries and path not in told:
            told.add(path)
            tell(f"{path} has no digest: its records are whole, but nothing proves that they are what was saved.")
        file.seek(0)
        yield Checked(file, document)


def checked(file: BinaryIO) -> tuple[Any, bool]:
    """What a file holds, and whether it carries a digest.

    Raises:
        Damaged: It is not sound.
    """
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode):
        raise Damaged("it is no file")
    try:
        carries = sealed(file, found.st_size)
        held = records(file, found.st_size, COMMENT if carries else 0)
        if not carries and not whole(file, held):
            raise Damaged("its records are not what their checksums say")
        if "data.pkl" not in held:
            raise Damaged("it holds no data.pkl")
        return contents(read(file, held["data.pkl"]), held, found.st_size), carries
    except OSError as error:
        raise Damaged(error.strerror or "it cannot be read") from error


def sound(path: Path) -> Path:
    """The path of a file, which is looked at before anything else is done.

    Raises:
        RunError: It is not sound.
    """
    with opened(path):
        return path


def readable(path: Path) -> None:
    """Whether a file that was just sealed could be opened again; its bytes are not looked at once more.

    Raises:
        Damaged: It could not.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        held = records(file, size, COMMENT)
        contents(read(file, held["data.pkl"]), held, size)


def local(path: str | Path) -> Path:
    """A path on this machine.

    Raises:
        RunError: It is the address of a file elsewhere.
    """
    if "://" in str(path):
        raise RunError(f"{path} lies on another machine: download it, and name the file.")
    return Path(path)


def steps(path: Path) -> int | None:
    """Optimizer steps behind a checkpoint, None where it is not sound."""
    try:
        with path.open("rb") as file:
            document, _ = checked(file)
    except (Damaged, OSError):
        return None
    step = document.get("global_step") if isinstance(document, dict) else None
    return step if isinstance(step, int) else -1


def way_out(path: Path) -> str:
    """What to do instead of opening a damaged file."""
    others = (path.with_name(name) for name in (BEST, LAST, PREVIOUS))
    sound = next((other for other in others if other != path and other.is_file() and steps(other) is not None), None)
    return "name another one." if sound is None else f"name {sound}, which is sound."


def newest(folder: Path) -> Path | None:
    """The checkpoint to go on from: last.ckpt, or the newest sound one where that is damaged; None where is none.

    A damaged last.ckpt becomes last.ckpt.damaged, and the newest sound one last.ckpt.

    Raises:
        RunError: None is sound.
    """
    there = [path for name in KNOWN if (path := folder / name).is_file()]
    if not there:
        return None
    first = there[0]
    why = "is not there"
    if first.name == LAST:
        try:
            with first.open("rb") as file:
                checked(file)
            return first
        except Damaged as error:
            why = f"is damaged ({error})"
        except OSError as error:
            why = f"cannot be read ({error.strerror})"
    found = {path: step for path in there if path.name != LAST and (step := steps(path)) is not None}
    if not found:
        raise RunError(
            f"{first} is no checkpoint, or is damaged, and no other in {folder} is sound: start anew, or from a copy."
        )
    best = max(found, key=lambda path: found[path])
    tell(f"{folder / LAST} {why}: going on from {best}, step {found[best]}.")
    heal(folder / LAST, best)
    return best


def heal(path: Path, other: Path) -> None:
    """Let a sound file have the name of a damaged one, which is kept beside; the next command finds it."""
    with contextlib.suppress(OSError):  # a folder that may only be read, a disk without such names
        if path.is_file():
            path.replace(path.with_name(f"{path.name}.damaged"))
        os.link(other, path)


def tell(text: str) -> None:
    """Say something on stderr, once for all processes of this machine."""
    if int(os.environ.get("LOCAL_RANK") or 0) == 0:
        print(f"lit_ae: {text}", file=sys.stderr)
