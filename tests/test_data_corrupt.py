"""Damaged pictures are named, and left out alike by everybody; what is no picture at all never runs or waits."""

from __future__ import annotations

import errno
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

import datamodules.corrupt
from datamodules import MNIST, ImageFolder
from datamodules.decoding import Decoder, Decoding
from folders_for_tests import batches, fill, folder, labels, save, values
from lit_ae.batch import DataError

DECODER = Decoder((4, 4), 1, None)


def decoded(path: Path) -> torch.Tensor | str:
    return Decoding([path], DECODER)[0]


def test_cut_pictures_are_never_filled_up() -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.touch(), "it is empty"),
        (lambda path: path.mkdir(), "it is a folder"),
        (lambda path: path.symlink_to(path.with_name("none.png")), "it is a link to nothing"),
        (os.mkfifo, "no file"),
        (lambda path: path.symlink_to("/dev/zero"), "no file"),
    ],
)
def test_a_name_without_a_picture_is_named_by_what_it_is(make: Any, reason: str, tmp_path: Path) -> None:
    for part in ("train", "test"):
        fill(tmp_path / part, {"a": 10})
    make(tmp_path / "test" / "a" / "x.png")
    with pytest.raises(DataError, match=rf"a/x\.png does not decode \(.*{reason}.*on_error skip") as raised:
        values(folder(tmp_path), "test")
    assert len(str(raised.value).splitlines()) == 1
    data = folder(tmp_path, on_error="skip")
    with pytest.warns(UserWarning, match="1 of 11 test pictures are left out"):
        data.setup("test")
    assert values(data, "test") == list(range(10))


@pytest.mark.parametrize("text", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"/* XPM */ no", b"\0" * 99])
def test_other_formats_are_not_tried(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(text)
    assert str(decoded(tmp_path / "x.png")).endswith("x.png is not a picture")


def test_a_checksum_of_pixels_is_compared(tmp_path: Path) -> None:
    save(tmp_path / "x.png", 7)
    whole = bytearray((tmp_path / "x.png").read_bytes())
    place = whole.index(b"IEND") - 5  # the last byte of the pixels' checksum, which Pillow passes over
    whole[place] ^= 1
    (tmp_path / "x.png").write_bytes(whole)
    assert Image.open(tmp_path / "x.png").convert("L").getpixel((0, 0)) == 7
    assert "chunk b'IDAT' does not match its checksum" in str(decoded(tmp_path / "x.png"))
    whole[place] ^= 1
    (tmp_path / "x.png").write_bytes(whole[:-12])
    assert "(it is cut)" in str(decoded(tmp_path / "x.png"))


def bomb(path: Path, side: int) -> None:
    rows = zlib.compress(bytes((1 + side // 8) * side))
    parts = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in parts)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def test_more_pixels_than_the_limit_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    bomb(tmp_path / "x.png", 9600)
    assert "9,600 x 9,600 pixels, more than Pillow's limit" in str(decoded(tmp_path / "x.png"))
    bomb(tmp_path / "y.png", 960)
    assert isinstance(decoded(tmp_path / "y.png"), torch.Tensor)


def test_ten_are_named_and_all_are_counted(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 20})
    for i in range(14):
        (tmp_path / "a" / f"{i:03d}.png").write_bytes(b"")
    data = folder(tmp_path, on_error="skip", test_fraction=0.05, batch_size=1)
    with pytest.warns(UserWarning, match="left out") as warned:
        data.setup("fit")
    said = [str(warning.message) for warning in warned]
    assert len(said) == 11
    assert said[0].startswith(("13 of 19 train", "14 of 19 train"))
    assert said[0].endswith("left out; the first 10:")
    assert all("(it is empty)" in line for line in said[1:])


def test_labels_and_processes_stay_in_step(tmp_path: Path) -> None:
    for part, start in (("train", 0), ("test", 100)):
        fill(tmp_path / part, {"a": 9, "b": 9}, start)
        (tmp_path / part / "a" / "003.png").write_bytes(b"x")
    for memory in (0, 100):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = folder(tmp_path, on_error="skip", memory_mib=memory)
            assert values(data, "test") == [*range(100, 103), *range(104, 118)]
            assert labels(data, "test") == [0] * 8 + [1] * 9
            orders = []
            for rank in (0, 1):
                loader = folder(tmp_path, on_error="skip", memory_mib=memory).loader("train", True, True, (rank, 2))
                orders.append([round(v * 255) for batch in loader for v in batch.x[:, 0, 0, 0].tolist()])
        assert data.spec.num_train == len(orders[0]) + len(orders[1]) == len({*orders[0], *orders[1]})
        assert 3 not in orders[0] + orders[1]


def test_a_picture_that_breaks_later_stops_with_its_name(tmp_path: Path) -> None:
    fill(tmp_path, {"": 20})
    data = folder(tmp_path, on_error="skip", memory_mib=0)
    before = values(data, "train")
    broken = data.split("train")[0].names
    assert broken is not None
    (tmp_path / broken[before[0] % len(broken)]).write_bytes(b"")
    with pytest.raises(DataError, match=r"though it did when the damaged ones were left out: mend it"):
        values(data, "train") + values(data, "val")


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EMFILE, "Too many open files")])
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_what_this_process_lacks_is_no_damage(
    error: Exception, on_error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, {"": 10})

    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(datamodules.corrupt.Image, "open", fail)
    for memory in (0, 100):
        with pytest.raises(DataError, match="this process lacks memory or open files"):
            values(folder(tmp_path, on_error=on_error, memory_mib=memory), "train")


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, {"a": 10, "b": 10})
    real = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith("/b"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"/b cannot be listed \(Permission denied\): change its permissions"):
        folder(tmp_path).setup("fit")


@pytest.mark.parametrize("kind", ["MNIST", "ImageFolder"])
def test_pictures_from_elsewhere_may_be_left_out_too(kind: str, tmp_path: Path) -> None:
    fill(tmp_path / "own", {"a": 10})
    save(tmp_path / "new/0.png", 1)
    save(tmp_path / "new/2.png", 2)
    (tmp_path / "new/1.png").write_bytes(b"")

    def source(on_error: Any) -> Any:
        data = MNIST(on_error=on_error) if kind == "MNIST" else folder(tmp_path / "own", on_error=on_error)
        return data.outside(tmp_path / "new")

    with pytest.raises(DataError, match=r"1\.png does not decode.*--data\.on_error skip"):
        list(source("raise").fetch([torch.arange(3)]))
    with pytest.warns(UserWarning, match="1 of 3 given pictures"):
        found = source("skip")
    assert list(found.names) == ["0.png", "2.png"]
    assert [x[0, 0, 0].item() for x in next(iter(found.fetch([torch.arange(2)]))).x] == [1, 2]


def test_the_flag_reaches_every_datamodule_of_pictures(tmp_path: Path) -> None:
    save(tmp_path / "a/0.png", 0)
    assert ImageFolder(root=str(tmp_path), on_error="skip").on_error == "skip"
    assert MNIST().on_error == "raise"


def test_deep_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    deep = np.full((4, 4), 40_000, dtype=np.int32)
    Image.fromarray(deep).save(tmp_path / "x.tif")
    found = decoded(tmp_path / "x.tif")
    assert isinstance(found, torch.Tensor)
    assert found.unique().tolist() == [155]
    Image.fromarray(deep * 2).save(tmp_path / "x.tif")
    assert "its pixels do not lie in 0..65535" in str(decoded(tmp_path / "x.tif"))


def test_lab_becomes_grey_as_it_becomes_colour(tmp_path: Path) -> None:
    Image.frombytes("LAB", (4, 4), bytes((128, 0, 0)) * 16).save(tmp_path / "x.tif")
    found = decoded(tmp_path / "x.tif")
    assert isinstance(found, torch.Tensor)
    assert abs(int(found[0, 0, 0]) - 119) <= 1  # L* = 50 is 119 in sRGB


def test_batches_of_good_pictures_say_nothing(tmp_path: Path) -> None:
    fill(tmp_path, {"": 10})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(batches(folder(tmp_path, on_error="skip"), "train")) == 2
