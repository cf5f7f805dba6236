"""Picture files that are damaged: what tells them from whole ones, and how they are named."""

from __future__ import annotations

import errno
import os
import stat
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn

from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from lit_ae.batch import DataError

__all__ = ["Exhausted", "opened", "reason", "undecodable", "unreadable", "warn"]

FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")  # any other, EPS say, may start a program
NAMED = 10  # files that are named where more are left out
LACKING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
PNG = b"\x89PNG\r\n\x1a\n"


class Exhausted(str):
    """A problem of this process, not of the file: another process would decode it, so that nobody may leave it out."""

    __slots__ = ()


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A picture file that is whole as far as can be told without decoding it.

    Raises:
        OSError, ValueError, SyntaxError: It is empty, no file, damaged, or of more pixels than Pillow's limit.
    """
    if path.is_symlink() and not path.exists():
        raise ValueError("it is a link to nothing")
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
        raise ValueError("it is a folder, or no file")
    with path.open("rb") as file:
        start = file.read(len(PNG))
        if not start:
            raise ValueError("it is empty")
        if start == PNG:
            check_png(file)
        file.seek(0)
        with Image.open(file, formats=FORMATS) as picture:
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and picture.width * picture.height > limit:  # Pillow itself allows twice as many
                raise ValueError(f"{picture.width:,} x {picture.height:,} pixels, more than Pillow's limit {limit:,}")
            yield picture


def check_png(file: BinaryIO) -> None:
    """Compare every chunk of a PNG file with its checksum; Pillow passes over those of the pixels.

    Raises:
        ValueError: The file is cut, or bytes of it have changed.
    """
    kind = b""
    while kind != b"IEND":
        head = file.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        crc = zlib.crc32(kind)
        while length:
            block = file.read(min(length, 2**20))
            if not block:
                break
            crc, length = zlib.crc32(block, crc), length - len(block)
        stored = file.read(4)
        if len(stored) < 4:
            raise ValueError("it is cut")
        if int.from_bytes(stored, "big") != crc:
            raise ValueError(f"its chunk {kind!r} does not match its checksum")


def reason(error: Exception) -> str:
    """What went wrong, in one line."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return " ".join(text.split())[:200]


def lacking(error: Exception) -> bool:
    """Whether it says something of this process rather than of the file."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in LACKING)


def undecodable(problem: str, skips: bool = False) -> DataError:
    """Says which file it was, and the ways out.

    Args:
        problem: What went wrong.
        skips: Whether files that do not decode have been left out already: this one was whole then.
    """
    if isinstance(problem, Exhausted):
        return DataError(f"{problem}: this process lacks memory or open files; lower --data.num_workers.")
    if skips:
        return DataError(f"{problem}, though it did when the damaged ones were left out: mend it, then start again.")
    return DataError(f"{problem}: mend or remove it, or leave such files out with --data.on_error skip.")


def warn(problems: Sequence[str], total: int, split: str) -> None:
    """Name files that are left out, the first ten of them, and count them.

    Raises:
        DataError: A problem is none of the file: leaving it out would give processes different data.
    """
    for problem in problems:
        if isinstance(problem, Exhausted):
            raise undecodable(problem)
    if problems:
        name(problems, total, split)


@rank_zero_only
def name(problems: Sequence[str], total: int, split: str) -> None:
    """Say it, on the first process alone."""
    more = f"; the first {NAMED}" if len(problems) > NAMED else ""
    warnings.warn(f"{len(problems):,} of {total:,} {split} pictures are left out{more}:", stacklevel=1)
    for problem in problems[:NAMED]:
        warnings.warn(f"left out: {problem}", stacklevel=1)


def unreadable(error: OSError) -> NoReturn:
    """What `os.walk` is to do with a folder that cannot be listed, whose pictures it would pass over.

    Raises:
        DataError: Always.
    """
    where = os.fspath(error.filename or "a folder")
    raise DataError(f"{where} cannot be listed ({reason(error)}): change its permissions, or remove it.") from error
