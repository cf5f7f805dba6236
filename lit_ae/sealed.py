"""A SHA-256 in the last bytes of a checkpoint, so that one rename makes both appear. Imports no torch."""

from __future__ import annotations

import hashlib
from typing import Any, BinaryIO

from lit_ae.archive import CHUNK, END, Damaged

LABEL = b"lit_ae sha256 "  # a zip's comment, which torch.load passes over
DIGITS = 64
COMMENT = len(LABEL) + DIGITS


class Seal:
    """A sink that hashes what torch.save writes while it writes, and seals it.

    The digest stands for every byte before it: contents, directory, the length of the comment, its label.

    Args:
        sink: Where the bytes go.
    """

    def __init__(self, sink: BinaryIO) -> None:
        self.sink, self.digest, self.held = sink, hashlib.sha256(), b""

    def write(self, data: Any) -> int:
        """Write, but hold back the last two bytes: torch's length of the comment, 0."""
        view = memoryview(data).cast("B")
        if len(view) < 2:
            view = memoryview(self.held + bytes(view))
        else:
            self._out(self.held)
        keep = max(0, len(view) - 2)
        self._out(view[:keep])
        self.held = bytes(view[keep:])
        return len(data)

    def flush(self) -> None:
        """Pass on what can be passed on."""
        self.sink.flush()

    def seal(self) -> None:
        """Write the comment with the digest; nothing may follow."""
        self._out(COMMENT.to_bytes(2, "little") + LABEL)
        self.sink.write(self.digest.hexdigest().encode())

    def _out(self, part: bytes | memoryview) -> None:
        self.digest.update(part)
        self.sink.write(part)


def sealed(file: BinaryIO, size: int) -> bool:
    """Whether a file carries a digest, which is then right.

    Raises:
        Damaged: The digest is of other bytes, or the file does not end as one with or without a digest does.
    """
    file.seek(max(0, size - COMMENT - END.size))
    tail = file.read(COMMENT + END.size)
    if not tail.strip(b"\0"):
        raise Damaged("it is empty")
    if len(tail) >= END.size and tail[-END.size :].startswith(b"PK\5\6") and tail.endswith(b"\0\0"):
        return False
    if len(tail) < COMMENT + END.size or tail[END.size - 2 : -DIGITS] != COMMENT.to_bytes(2, "little") + LABEL:
        raise Damaged("it is cut, or no file of torch's")
    digest, left = hashlib.sha256(), size - DIGITS
    file.seek(0)
    while left and (part := file.read(min(left, CHUNK))):
        digest.update(part)
        left -= len(part)
    if left or digest.hexdigest().encode() != tail[-DIGITS:]:
        raise Damaged("its bytes are not those that its SHA-256 is of")
    return True
