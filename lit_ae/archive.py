"""What lies where in a file that torch.save wrote, read without trusting a byte of it. Imports no torch."""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO, NamedTuple

END, LOCATOR, END64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sLQL"), struct.Struct("<4sQ2H2L4Q")
CENTRAL, LOCAL = struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H")
TRAILER = END64.size + LOCATOR.size + END.size  # torch always writes all three
MOST = 65_536  # records
WIDE = 0xFFFFFFFF  # stands for a number that is in the extra field
FLAGS = 0x0808  # names in UTF-8, a descriptor after the content
CHUNK = 1 << 20


class Damaged(Exception):
    """What is wrong with a file, in a few words."""


class Record(NamedTuple):
    """A file in the archive.

    Args:
        start: Where its content begins.
        size: Bytes.
        crc: CRC-32 of its content.
    """

    start: int
    size: int
    crc: int


def records(file: BinaryIO, size: int, comment: int) -> dict[str, Record]:
    """Contents of an archive by name, without the folder that torch puts in front.

    Only what torch writes is let through: contents as they are, one after the other, none of them twice, then the
    directory and its end. So no reader can see another archive in the same bytes.

    Args:
        file: The archive.
        size: Its bytes.
        comment: Bytes of the comment after its end.

    Raises:
        Damaged: It is no such archive.
    """
    count, directory, length = ending(file, size, comment)
    file.seek(directory)
    table = file.read(length)
    found: dict[str, Record] = {}
    spans: list[tuple[int, int]] = []
    folder, position = "", 0
    for _ in range(count):
        if position + CENTRAL.size > length:
            raise Damaged("its directory is cut")
        head = CENTRAL.unpack_from(table, position)
        (signature, _, _, flags, method, _, _, crc, packed, plain, name_length, extra_length, text, disk, _, _, at) = (
            head
        )
        position += CENTRAL.size
        name = table[position : position + name_length]
        extra = table[position + name_length : position + name_length + extra_length]
        position += name_length + extra_length + text
        packed, plain, at = widened(extra, packed, plain, at)
        if signature != b"PK\1\2" or disk or text or flags & ~FLAGS:
            raise Damaged("its directory is not torch's")
        if method or packed != plain:
            raise Damaged("its contents are packed")
        start = content(file, at, name)
        spans.append((at, start + plain))
        folder, shown = named(name, folder)
        if shown in found:
            raise Damaged(f"it holds {shown} twice")
        found[shown] = Record(start, plain, crc)
    if position != length:
        raise Damaged("its directory is longer than it says")
    spans.sort()
    ends = [*(start for start, _ in spans[1:]), directory]
    if spans[0][0] or any(end > limit for (_, end), limit in zip(spans, ends, strict=True)):
        raise Damaged("its contents overlap")
    return found


def ending(file: BinaryIO, size: int, comment: int) -> tuple[int, int, int]:
    """Number of records, where the directory begins and how long it is."""
    if size < TRAILER + comment:
        raise Damaged("it is cut" if size else "it is empty")
    file.seek(size - TRAILER - comment)
    tail = file.read(TRAILER + comment)
    signature, made, *_, count, length, directory = wide = END64.unpack_from(tail)
    where = LOCATOR.unpack_from(tail, END64.size)
    last = END.unpack_from(tail, END64.size + LOCATOR.size)
    begins = size - TRAILER - comment
    disks = wide[4:6]
    short = (min(count, 0xFFFF), min(count, 0xFFFF), min(length, WIDE), min(directory, WIDE))
    if (
        (signature, made, disks, wide[6]) != (b"PK\6\6", END64.size - 12, (0, 0), count)
        or where != (b"PK\6\7", 0, begins, 1)
        or last != (b"PK\5\6", 0, 0, *short, comment)
        or directory + length != begins
        or tail.rfind(b"PK\5\6") != END64.size + LOCATOR.size
    ):
        raise Damaged("it is cut, or no file of torch's")
    if not 0 < count <= MOST or length < count * CENTRAL.size:
        raise Damaged(f"it holds {count} records")
    return count, directory, length


def widened(extra: bytes, packed: int, plain: int, at: int) -> tuple[int, int, int]:
    """Sizes and place of a record, from the extra field where they are too large for the table."""
    numbers = [plain, packed, at]
    missing = [number for number, value in enumerate(numbers) if value == WIDE]
    if missing:
        kind, length = struct.unpack_from("<2H", extra) if len(extra) >= 4 else (0, 0)
        if kind != 1 or length != 8 * len(missing) or len(extra) != 4 + length:
            raise Damaged("its directory is not torch's")
        for number, value in zip(missing, struct.unpack_from(f"<{len(missing)}Q", extra, 4), strict=True):
            numbers[number] = value
    elif extra:
        raise Damaged("its directory is not torch's")
    return numbers[1], numbers[0], numbers[2]


def content(file: BinaryIO, at: int, name: bytes) -> int:
    """Where the content of a record begins."""
    file.seek(at)
    head = file.read(LOCAL.size)
    if len(head) < LOCAL.size:
        raise Damaged("it is cut")
    signature, _, flags, method, *_, name_length, extra_length = LOCAL.unpack(head)
    if signature != b"PK\3\4" or method or flags & ~FLAGS or file.read(name_length) != name:
        raise Damaged("its records are not those of its directory")
    return at + LOCAL.size + name_length + extra_length


def named(name: bytes, folder: str) -> tuple[str, str]:
    """The folder of a record, which all share, and its name in there."""
    try:
        own, slash, shown = name.decode("ascii").partition("/")
    except UnicodeDecodeError as error:
        raise Damaged("its records have foreign names") from error
    kind, _, number = shown.rpartition("/")
    plain = {"data.pkl", "byteorder", "version", ".format_version", ".storage_alignment", ".data/serialization_id"}
    if not slash or (folder and own != folder) or not (shown in plain or (kind == "data" and number.isdigit())):
        raise Damaged(f"it holds a record {name[:60].decode('ascii')!r}, which torch does not write")
    return own, shown


def read(file: BinaryIO, record: Record) -> bytes:
    """A record's content."""
    file.seek(record.start)
    return file.read(record.size)


def whole(file: BinaryIO, found: dict[str, Record]) -> bool:
    """Whether every record is what its CRC says."""
    for record in found.values():
        file.seek(record.start)
        left, crc = record.size, 0
        while left and (part := file.read(min(left, CHUNK))):
            crc, left = zlib.crc32(part, crc), left - len(part)
        if left or crc != record.crc:
            return False
    return True
