"""Damaged and odd pictures, drawn at random, with what numpy makes of those that can be converted."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import random
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

FORMATS: dict[str, dict[str, Any]] = {
    "png": {"format": "PNG"}, "jpg": {"format": "JPEG"}, "gif": {"format": "GIF"}, "bmp": {"format": "BMP"},
    "tif": {"format": "TIFF"}, "tiff": {"format": "TIFF", "compression": "tiff_lzw"}, "ppm": {"format": "PPM"},
    "webp": {"format": "WEBP", "lossless": True}, "jp2": {"format": "JPEG2000"},
}  # fmt: skip
TEXTS = (
    b"not a picture\n", b"<html><body>404 Not Found</body></html>\n", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9",
    b"<svg xmlns='http://www.w3.org/2000/svg'/>\n", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    b"\x89PNG is how it begins\n", b"\xff\xd8 is how it begins\n", b"GIF89a is how it begins\n", b"P6 of nothing\n",
    b"\x80\x04cos\nsystem\n(S'true'\ntR.", b"\x00" * 64, b"II*\x00 and no more\n", b"BM and no more, alas, than this\n",
)  # fmt: skip
PNG = b"\x89PNG\r\n\x1a\n"


class Drawn(NamedTuple):
    """A picture of another kind.

    Args:
        path: Its file.
        pixels: What it shows, (H, W, C) in 0..255, None where it is damaged.
        tolerance: How far decoded values may be from these.
        what: What it is, in words.
        private: Whether only a user without root's privileges fails to read it.
    """

    path: Path
    pixels: np.ndarray | None = None
    tolerance: float = 1.0
    what: str = "a damaged picture"
    private: bool = False


def noise(draw: random.Random, *shape: int, top: int = 256, dtype: Any = np.uint8) -> np.ndarray:
    """Random numbers."""
    return np.random.default_rng(draw.randrange(2**32)).integers(0, top, shape, dtype=dtype)


def encoded(pixels: np.ndarray, suffix: str) -> bytes:
    """A picture file in memory."""
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, **FORMATS[suffix])
    return sink.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, more: bytes = b"") -> bytes:
    """A PNG file from its rows, each with a zero in front."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return PNG + chunk(b"IHDR", head) + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def cut(draw: random.Random, path: Path, size: tuple[int, int]) -> Drawn:
    """A file without its end; where only what follows the pixels is lost, nothing is damaged."""
    suffix = draw.choice(list(FORMATS))
    whole = encoded(noise(draw, *size, 3), suffix)
    path = path.with_suffix(f".{suffix}")
    keep = draw.randrange(1, len(whole))
    path.write_bytes(whole[:keep])
    spare = {"gif": 2, "bmp": 2}.get(suffix, 0)  # bytes behind the pixels, which no reader asks for
    what = f"{keep} of {len(whole)} bytes of a .{suffix}"
    if len(whole) - keep > spare:
        return Drawn(path, what=what)
    with Image.open(io.BytesIO(whole)) as picture:
        return Drawn(path, np.asarray(picture.convert("RGB"), dtype=float), what=what)


def text(draw: random.Random, path: Path) -> Drawn:
    """Something else under a picture's name."""
    path = path.with_suffix(f".{draw.choice(list(FORMATS))}")
    path.write_bytes(draw.choice(TEXTS) * draw.choice([1, 1, 100]))
    return Drawn(path, what=f"{path.read_bytes()[:20]!r} as {path.suffix}")


def checksum(draw: random.Random, path: Path, size: tuple[int, int]) -> Drawn:
    """A PNG of which one bit has changed, anywhere."""
    whole = bytearray(encoded(noise(draw, *size, draw.choice([3, 4])), "png"))
    last = len(whole) - 1 - draw.randrange(20)  # behind the pixels, where Pillow looks away
    place, bit = draw.choice([draw.randrange(len(whole)), last]), draw.randrange(8)
    whole[place] ^= 1 << bit
    path = path.with_suffix(".png")
    path.write_bytes(whole)
    return Drawn(path, what=f"bit {bit} of byte {place} of {len(whole)} flipped")


def no_file(draw: random.Random, path: Path) -> Drawn:
    """A name of a picture that is no file, or none that may be read."""
    path = path.with_suffix(f".{draw.choice(list(FORMATS))}")
    what = draw.choice(["folder", "full folder", "broken link", "link to itself", "pipe", "device", "unreadable"])
    if what == "folder":
        path.mkdir()
    elif what == "full folder":
        path.mkdir()
        Image.new("L", (3, 3)).save(path / "1.png")
    elif what == "broken link":
        path.symlink_to(path.with_name("nothing.png"))
    elif what == "link to itself":
        path.symlink_to(path)
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    else:
        Image.new("L", (3, 3)).save(path)
        path.chmod(0)
    return Drawn(path, what=what, private=what == "unreadable")


def bomb(draw: random.Random, path: Path) -> Drawn:
    """A small file that says it has more pixels than Pillow's limit, of which it may even hold all."""
    assert Image.MAX_IMAGE_PIXELS is not None
    suffix = draw.choice(["png", "deep.png", "text.png", "gif", "bmp", "tif", "ppm", "jpg", "webp", "jp2"])
    width = draw.randrange(10_000, 16_000)
    height = draw.randrange(Image.MAX_IMAGE_PIXELS // width + 1, 16_000)
    small = encoded(noise(draw, 8, 8, 3), suffix) if suffix in ("jpg", "webp", "jp2") else b""
    if suffix == "png":
        content = png(width, height, 1, 0, bytes((1 + -(-width // 8)) * height))  # all pixels are there
    elif suffix == "deep.png":
        content = png(2**31 - 1 - draw.randrange(9), 2**31 - 1, 16, 6, bytes(9999))
    elif suffix == "text.png":
        note = b"note\0\0" + zlib.compress(bytes(50 * 2**20))
        content = png(9, 9, 8, 0, bytes(90), chunk(b"zTXt", note))
    elif suffix == "gif":
        frame = struct.pack("<2sHHBBB", b"9a", 65535, 65535, 0x80, 0, 0)
        content = b"GIF8" + frame + bytes(6) + struct.pack("<BHHHHB", 0x2C, 0, 0, 65535, 65535, 0) + b"\2\2\x4c\1\0;"
    elif suffix == "bmp":
        content = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 1000, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
        content += bytes(1000)
    elif suffix == "tif":
        tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: height, 279: width * height}
        listed = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
        content = b"II*\0" + struct.pack("<IH", 8, len(tags)) + listed + bytes(300)
    elif suffix == "ppm":
        content = f"P6\n{width} {height}\n255\n".encode() + bytes(999)
    elif suffix == "jpg":
        place = small.index(b"\xff\xc0") + 5
        content = small[:place] + struct.pack(">HH", height, width) + small[place + 4 :]
    elif suffix == "webp":
        bits = int.from_bytes(small[21:25], "little") & ~(2**28 - 1) | (width - 1) | (height - 1) << 14
        content = small[:21] + bits.to_bytes(4, "little") + small[25:]
    else:
        place = small.index(b"ihdr") + 4
        content = small[:place] + struct.pack(">II", height, width) + small[place + 8 :]
    path = path.with_suffix(f".{suffix.split('.')[-1]}")
    path.write_bytes(content)
    return Drawn(path, what=f"a bomb as {suffix}, {width} x {height}")


@contextmanager
def unprivileged(wanted: bool) -> Iterator[None]:
    """Let this thread respect the modes of files, as root does not."""
    if not wanted or os.geteuid():
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    head = struct.pack("<Ii", 0x20080522, 0)
    data = ctypes.create_string_buffer(24)
    if libc.capget(head, data):
        raise OSError(ctypes.get_errno(), "capget")
    sets = list(struct.unpack("<6I", data.raw))
    fewer = [sets[0] & ~0b110, *sets[1:]]  # neither CAP_DAC_OVERRIDE nor CAP_DAC_READ_SEARCH
    if libc.capset(head, struct.pack("<6I", *fewer)):
        raise OSError(ctypes.get_errno(), "capset")
    try:
        yield
    finally:
        libc.capset(head, struct.pack("<6I", *sets))


@contextmanager
def passed_by(path: Path) -> Iterator[None]:
    """Let whoever waits for a pipe go on, and fail then: nobody may.

    Raises:
        RuntimeError: Somebody did.
    """
    if not path.is_fifo():
        yield
        return
    waiting, end = threading.Event(), threading.Event()

    def look() -> None:
        while not end.wait(0.02):
            with contextlib.suppress(OSError):  # ENXIO: there is no reader
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
                waiting.set()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
    if waiting.is_set():
        raise RuntimeError("a pipe was waited for")
