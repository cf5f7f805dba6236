"""A user's own pictures: layouts, sizes and modes, in memory or not, and one sentence for each mistake."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from PIL import Image

from datamodules import ImageFolder
from datamodules.base import DataModule
from datamodules.files import Decoded
from datamodules.samples import Resident
from folders_for_tests import batches, fill, folder, labels, save, there, values
from lit_ae.batch import Batch, ConfigError


def test_train_val_and_test_folders_are_the_splits(tmp_path: Path) -> None:
    for name, start in (("train", 0), ("val", 100), ("test", 200)):
        fill(tmp_path / name, {"dog": 6, "cat": 5}, start)
    save(tmp_path / "train" / "cat" / "deeper" / "x.PNG", 50)
    for hidden in (".DS_Store", "train/cat/._001.png", "train/.cache/1.png"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_text("not for us")
    data = folder(tmp_path, condition="label")
    assert (data.spec.num_train, data.spec.num_classes, data.spec.condition_shape) == (12, 2, ())
    assert (data.spec.input_shape, data.spec.value_range) == ((1, 4, 4), (0, 1))
    assert data.class_names == ["cat", "dog"]
    assert sorted(values(data, "train")) == [*range(11), 50]
    assert values(data, "val") == [*range(106, 111), *range(100, 106)]
    assert values(data, "test") == [*range(206, 211), *range(200, 206)]
    assert labels(data, "test") == [0] * 5 + [1] * 6
    assert torch.equal(there(batches(data, "test")[0].c), there(batches(data, "test")[0].y))


def test_pictures_are_called_by_their_place_below_the_folder_that_holds_them_all(tmp_path: Path) -> None:
    for name in ("train", "test"):
        fill(tmp_path / name, {"dog": 2, "cat": 3})
    for memory in (0, 1024):
        names = folder(tmp_path, memory_mib=memory).split("test")[0].names
        assert names is not None
        assert [*names] == ["cat/000.png", "cat/001.png", "cat/002.png", "dog/000.png", "dog/001.png"]
        assert [*names[1:4]] == ["cat/001.png", "cat/002.png", "dog/000.png"]
    fill(tmp_path / "one", {"cat": 30})
    assert (folder(tmp_path / "one").split("train")[0].names or "")[0] == "000.png"


def test_validation_and_test_are_held_out_where_they_have_no_folder(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 60, "b": 40})
    data = folder(tmp_path, test_fraction=0.2, val_fraction=0.25)
    parts = {name: values(data, name) for name in ("train", "val", "test")}
    assert {name: len(part) for name, part in parts.items()} == {"train": 60, "val": 20, "test": 20}
    assert sorted(parts["train"] + parts["val"] + parts["test"]) == list(range(100))
    assert labels(data, "test") == [int(value >= 60) for value in parts["test"]]
    other = folder(tmp_path, test_fraction=0.2, val_fraction=0.25, seed=1)
    assert values(other, "test") == parts["test"]
    assert values(other, "val") != parts["val"]


def test_pictures_without_class_folders_have_no_labels(tmp_path: Path) -> None:
    fill(tmp_path / "flat", {"": 20})
    data = folder(tmp_path / "flat")
    assert (data.spec.num_classes, data.class_names, data.spec.num_train) == (0, None, 17)
    assert batches(data, "train")[0].y is None
    fill(tmp_path / "split" / "train", {"": 20})
    fill(tmp_path / "split" / "test", {"": 5}, 100)
    data = folder(tmp_path / "split")
    assert values(data, "test") == list(range(100, 105))
    assert data.spec.num_train == 18
    with pytest.raises(ConfigError, match="no labels"):
        folder(tmp_path / "flat", condition="label").setup("fit")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    fill(tmp_path, {"bus": 8, "train": 8})
    data = folder(tmp_path)
    assert data.spec.num_classes == 2
    assert data.class_names == ["bus", "train"]


def test_a_class_that_only_the_test_part_holds_is_counted(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 10, "b": 1})
    assert folder(tmp_path, test_fraction=0.3).spec.num_classes == 2


def test_any_size_and_mode_becomes_one_shape(tmp_path: Path) -> None:
    grey = (128, 128, 128)
    Image.new("L", (30, 20), 128).save(tmp_path / "0.png")
    Image.new("RGB", (5, 50), grey).save(tmp_path / "1.JPG", quality=95)
    Image.new("RGBA", (8, 8), (*grey, 255)).save(tmp_path / "2.png")
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "3.webp", lossless=True)
    Image.new("CMYK", (9, 9), (127, 127, 127, 0)).save(tmp_path / "4.tif")
    palette = Image.new("P", (9, 9), 1)
    palette.putpalette([0, 0, 0, *grey])
    palette.save(tmp_path / "5.gif")
    Image.fromarray(np.full((9, 7), 128 * 257, dtype=np.uint16)).save(tmp_path / "6.png")
    Image.new("1", (9, 9), 1).save(tmp_path / "7.bmp")
    Image.new("LA", (9, 9), (128, 255)).save(tmp_path / "8.png")
    expected = torch.tensor([128, 128, 128, 255, 128, 128, 128, 255, 128]) / 255
    for channels in (1, 3):
        for memory in (0, 100):
            data = folder(tmp_path, channels=channels, size=(6, 5), batch_size=1, memory_mib=memory, test_fraction=0.5)
            source, index = data.split("train")
            x = torch.cat([data.decoder(path)[None] for path in sorted(tmp_path.iterdir())]) / 255
            assert x.shape == (9, channels, 6, 5)
            torch.testing.assert_close(x.mean((1, 2, 3)), expected, atol=0.01, rtol=0)
            assert (source.shape, len(index)) == ((channels, 6, 5), 4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((40, 40), dtype=np.uint8)
    upright[:20] = np.repeat([255, 128], 20).astype(np.uint8)  # white above on the left, grey on the right
    transpose = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    picture = Image.fromarray(upright)
    if orientation > 1:
        picture = picture.transpose(transpose[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        for i in range(3):
            picture.save(tmp_path / name / f"{i}.jpg", exif=exif, quality=95)
    corners = batches(folder(tmp_path, size=8, batch_size=1), "test")[0].x[0, 0, ::7, ::7]
    torch.testing.assert_close(corners, torch.tensor([[1, 0.5], [0, 0]]), atol=0.05, rtol=0)


def test_nonsense_in_exif_does_no_harm(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    for i in range(8):
        Image.new("L", (9, 9), 128).save(tmp_path / f"{i}.jpg", exif=exif if i else b"Exif\0\0damaged")
    assert set(values(folder(tmp_path), "train")) == {128}


def attach(data: ImageFolder, rank: int, world: int) -> ImageFolder:
    """What loaders ask of a trainer."""
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        strategy=strategy, global_rank=rank, world_size=world, overfit_batches=0
    )
    return data


def same(left: list[Batch], right: list[Batch]) -> None:
    for one, two in zip(left, right, strict=True):
        assert torch.equal(one.x, two.x)
        assert torch.equal(there(one.y), there(two.y))
        assert torch.equal(there(one.c), there(two.c))
        assert one.weight == two.weight


@pytest.mark.parametrize("workers", [0, 2])
def test_larger_than_memory_gives_the_same_batches(tmp_path: Path, workers: int) -> None:
    fill(tmp_path, {"a": 60, "b": 40})
    for rank in (0, 1):
        kwargs: dict[str, Any] = {"condition": "label", "batch_size": 8, "num_workers": workers}
        held = attach(folder(tmp_path, **kwargs), rank, 2)
        files = attach(folder(tmp_path, **kwargs, memory_mib=0), rank, 2)
        assert held.spec == files.spec
        assert isinstance(held.train_dataloader().source, Resident)
        assert isinstance(files.train_dataloader().source, Decoded)
        for name in ("train", "val", "test"):
            same(batches(held, name), batches(files, name))


@pytest.mark.parametrize("memory", [0, 100])
def test_two_processes_see_every_picture_once_per_epoch(tmp_path: Path, memory: int) -> None:
    fill(tmp_path / "train", {"a": 61, "b": 40})
    fill(tmp_path / "test", {"a": 31}, 200)
    loaders = [
        [getattr(attach(folder(tmp_path, memory_mib=memory), rank, 2), f"{name}_dataloader")() for rank in (0, 1)]
        for name in ("train", "val", "test")
    ]
    for epoch in (0, 1):
        seen: list[list[int]] = [[], [], []]
        for split, ranks in enumerate(loaders):
            for loader in ranks:
                loader.sampler.set_epoch(epoch)
                for batch in loader:
                    if batch.weight:
                        seen[split] += [round(value * 255) for value in batch.x[:, 0, 0, 0].tolist()]
        train, val, test = seen
        assert sorted(train + val) == list(range(101))
        assert sorted(test) == list(range(200, 231))


def test_what_fits_is_held_once_as_bytes(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 40})
    data = folder(tmp_path, size=256, memory_mib=3, test_fraction=0.1)  # 36 · 64 KiB for training, 4 for the test
    assert isinstance(data.split("train")[0], Resident)
    data = folder(tmp_path, size=256, memory_mib=2, test_fraction=0.1)
    assert isinstance(data.split("train")[0], Decoded)
    test = data.split("test")[0]
    assert isinstance(test, Resident)
    assert (test.samples.x.dtype, test.samples.x.shape) == (torch.uint8, (4, 1, 256, 256))


def test_loading_leaves_the_global_random_numbers_alone(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 40})
    for memory in (0, 100):
        torch.manual_seed(0)
        values(folder(tmp_path, on_error="skip", memory_mib=memory, num_workers=2), "train")
        after = torch.rand(3)
        torch.manual_seed(0)
        assert torch.equal(after, torch.rand(3))


def test_the_command_line_reads_every_argument(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 40})
    parser = ArgumentParser()
    parser.add_subclass_arguments(DataModule, "data")
    flags = ["size=[6,5]", "channels=1", "on_error=skip", "num_workers=0", "memory_mib=1", "batch_size=4", "crop=3"]
    argv = [f"--data=datamodules.image_folder.{ImageFolder.__name__}", f"--data.root={tmp_path}"]
    data = parser.instantiate(parser.parse_args([*argv, *(f"--data.{flag}" for flag in flags)])).data
    assert (data.spec.input_shape, data.on_error, data.decoder.crop) == ((1, 6, 5), "skip", 3)


@pytest.mark.real_data
def test_real_pictures_open_as_they_lie_on_disk(real_data: Path, tmp_path: Path) -> None:
    for split, n in (("train", 20), ("test", 10)):
        for source in sorted((real_data / "cifar10-images" / split).iterdir()):
            (tmp_path / split / source.name).mkdir(parents=True)
            for path in sorted(source.iterdir())[:n]:
                os.symlink(path, tmp_path / split / source.name / path.name)
    kwargs: dict[str, Any] = {"size": 32, "channels": 3, "batch_size": 50, "num_workers": 2, "condition": "label"}
    held, files = folder(tmp_path, **kwargs), folder(tmp_path, **kwargs, memory_mib=0)
    assert (held.spec.input_shape, held.spec.num_train, held.spec.num_classes) == ((3, 32, 32), 180, 10)
    assert held.spec == files.spec
    for name in ("train", "val", "test"):
        same(batches(held, name), batches(files, name))
    names = there(torch.cat([there(batch.y) for batch in batches(held, "test")]))
    assert names.tolist() == sorted(list(range(10)) * 10)
    assert held.class_names is not None
    first = next(iter(sorted((tmp_path / "test" / "airplane").iterdir())))
    with Image.open(first) as picture:
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255
    assert torch.equal(batches(held, "test")[0].x[0], pixels)
