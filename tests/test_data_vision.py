"""Layouts of torchvision, written here in small, and pictures in files of every kind."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image
from torch import Tensor

from datamodules import CIFAR10, KMNIST, MNIST, CelebA, FashionMNIST
from datamodules.base import Split
from datamodules.files import Files, PictureFiles
from datamodules.samples import Resident
from lit_ae.batch import ConfigError, DataError


def write_idx(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes())


def write_mnist(root: Path, folder: str) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    written = {}
    for part, n in (("train", 50), ("t10k", 20)):
        written[part] = random.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        write_idx(root / folder / "raw" / f"{part}-images-idx3-ubyte", written[part])
        write_idx(root / folder / "raw" / f"{part}-labels-idx1-ubyte", np.arange(n, dtype=np.uint8) % 10)
    return written


@pytest.mark.parametrize("source", [MNIST, FashionMNIST, KMNIST])
def test_idx_layouts_open_as_torchvision_opens_them(source: type[MNIST], tmp_path: Path) -> None:
    written = write_mnist(tmp_path, source.__name__)
    data = source(root=str(tmp_path), batch_size=10)
    assert (data.spec.input_shape, data.spec.num_train, data.spec.num_classes) == ((1, 28, 28), 45, 10)
    assert data.spec.value_range == (0.0, 1.0)
    test = data.load("test")
    official = getattr(torchvision.datasets, source.__name__)(tmp_path, train=False)
    assert test.x.dtype == torch.uint8
    assert torch.equal(test.x[:, 0], official.data)
    assert test.y is not None
    assert torch.equal(test.y, official.targets)
    assert np.array_equal(data.load("train").x[:, 0].numpy(), written["train"])


def test_missing_files_are_answered_with_the_tree(tmp_path: Path) -> None:
    write_mnist(tmp_path, "FashionMNIST")
    (tmp_path / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError) as raised:
        FashionMNIST(root=str(tmp_path)).setup("fit")
    message = str(raised.value)
    assert "--data.download true" in message
    assert "t10k-labels-idx1-ubyte  (missing)" in message
    assert "train-images-idx3-ubyte\n" in message
    assert len(message.splitlines()) <= 10
    for source in (CIFAR10, CelebA):
        with pytest.raises(DataError, match=r"(?s)--data.download true.*missing"):
            source(root=str(tmp_path / "nowhere")).setup("fit")
    assert not (tmp_path / "nowhere").exists()


def test_damaged_idx_files_are_named(tmp_path: Path) -> None:
    write_mnist(tmp_path, "KMNIST")
    pictures = tmp_path / "KMNIST" / "raw" / "train-images-idx3-ubyte"
    whole = pictures.read_bytes()
    for damaged in (whole[:-1], whole[:10], b"", b"\x1f\x8b" + whole):
        pictures.write_bytes(damaged)
        with pytest.raises(DataError, match="train-images-idx3-ubyte"):
            KMNIST(root=str(tmp_path)).setup("fit")


def test_downloaded_files_arrive_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def arrive(folder: str, download: bool) -> None:
        assert download
        write_mnist(Path(folder), "MNIST")

    def fail(folder: str, download: bool) -> None:
        write_idx(Path(folder) / "MNIST" / "raw" / "train-images-idx3-ubyte", np.zeros((1, 28, 28), np.uint8))
        raise RuntimeError("Error downloading train-labels-idx1-ubyte.gz:\nTried a mirror")

    root = tmp_path / "data"
    monkeypatch.setattr(torchvision.datasets, "MNIST", fail)
    with pytest.raises(DataError, match=r"could not be downloaded \(Error downloading train-labels"):
        MNIST(root=str(root), download=True).setup("fit")
    assert list(root.iterdir()) == []
    monkeypatch.setattr(torchvision.datasets, "MNIST", arrive)
    data = MNIST(root=str(root), download=True, batch_size=10)
    assert data.spec.num_train == 45
    assert [path.name for path in root.iterdir()] == ["MNIST"]
    monkeypatch.setattr(torchvision.datasets, "MNIST", fail)
    data.setup("test")


def write_cifar10(root: Path, n: int = 6) -> Tensor:
    pixels = np.random.default_rng(0).integers(0, 256, (6, n, 3072), dtype=np.uint8)
    (root / "cifar-10-batches-py").mkdir(parents=True)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for name, data in zip(names, pixels, strict=True):
        entry = {"data": data, "labels": [i % 10 for i in range(n)], "batch_label": name, "filenames": [name] * n}
        (root / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(entry, protocol=2))
    return torch.from_numpy(pixels)


def test_cifar10_opens_in_the_layout_of_torchvision(tmp_path: Path) -> None:
    pixels = write_cifar10(tmp_path)
    data = CIFAR10(root=str(tmp_path), batch_size=4)
    assert (data.spec.input_shape, data.spec.num_train, data.spec.num_classes) == ((3, 32, 32), 27, 6)
    assert torch.equal(data.load("train").x, pixels[:5].reshape(30, 3, 32, 32))
    assert torch.equal(data.load("test").x, pixels[5].reshape(6, 3, 32, 32))
    loader = data.train_dataloader()
    assert isinstance(loader.source, Resident)
    assert loader.source.samples.x.dtype == torch.uint8


class Hostile:
    """Would make a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return Path.mkdir, (self.folder,)


def test_damaged_or_hostile_cifar10_batches_are_named(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    batch = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    whole = batch.read_bytes()
    hostile = pickle.dumps({"data": Hostile(tmp_path / "taken"), "labels": []})
    for damaged in (whole[: len(whole) // 2], b"", b"text", pickle.dumps({"labels": []}), hostile):
        batch.write_bytes(damaged)
        with pytest.raises(DataError, match="data_batch_3"):
            CIFAR10(root=str(tmp_path)).setup("fit")
    assert not (tmp_path / "taken").exists()


def write_celeba(root: Path) -> None:
    folder = root / "celeba" / "img_align_celeba"
    folder.mkdir(parents=True)
    parts = [0] * 8 + [1] * 3 + [2] * 4
    names = [f"{i + 1:06d}.jpg" for i in range(len(parts))]
    for i, name in enumerate(names):
        Image.new("RGB", (178, 218), (10 * i, 255 - 10 * i, 128)).save(folder / name, quality=95)
    partition = "".join(f"{name} {part}\n" for name, part in zip(names, parts, strict=True))
    (root / "celeba" / "list_eval_partition.txt").write_text(partition)
    rows = [f"{name} {'1' if i % 2 else '-1'}  1 -1\n" for i, name in enumerate(names)]
    (root / "celeba" / "list_attr_celeba.txt").write_text(f"{len(names)}\nBald Smiling Young\n{''.join(rows)}")


@pytest.mark.parametrize("workers", [0, 2])
def test_celeba_has_the_official_splits_and_attributes(tmp_path: Path, workers: int) -> None:
    write_celeba(tmp_path)
    data = CelebA(root=str(tmp_path), size=16, batch_size=3, num_workers=workers, condition="label")
    assert (data.spec.input_shape, data.spec.num_train) == ((3, 16, 16), 8)
    assert (data.spec.num_classes, data.spec.condition_shape) == (0, (3,))
    batches = list(data.val_dataloader())
    assert len(batches) == 1
    x, y, c = batches[0].x, batches[0].y, batches[0].c
    assert x.shape == (3, 3, 16, 16)
    torch.testing.assert_close(x[:, 0, 8, 8], torch.tensor([80.0, 90.0, 100.0]) / 255, atol=0.02, rtol=0)
    assert y is not None
    assert c is not None
    assert y.tolist() == c.tolist() == [[0, 1, 0], [1, 1, 0], [0, 1, 0]]
    assert sum(len(batch.x) for batch in data.test_dataloader()) == 4
    assert sum(len(batch.x) for batch in data.train_dataloader()) == 8


def test_damaged_celeba_lists_are_named(tmp_path: Path) -> None:
    write_celeba(tmp_path)
    table = tmp_path / "celeba" / "list_attr_celeba.txt"
    lines = table.read_text().splitlines(keepends=True)
    for damaged in (lines[:-1], lines[:1], [*lines[:5], "000004.jpg 1\n", *lines[6:]]):
        table.write_text("".join(damaged))
        with pytest.raises(DataError, match=r"list_attr_celeba\.txt"):
            CelebA(root=str(tmp_path)).setup("fit")


class Listed(PictureFiles):
    """The pictures of a folder in the order of their names, all of them in every split."""

    def __init__(self, folder: Path, **kwargs: Any) -> None:
        super().__init__(**{"memory_mib": 0, **kwargs})
        self.folder = folder

    def files(self, split: Split) -> Files:
        return Files(sorted(self.folder.iterdir()))


def pictures(data: PictureFiles) -> Tensor:
    return torch.cat([batch.x for batch in data.val_dataloader()])


def test_pictures_of_any_size_and_mode_become_one_shape(tmp_path: Path) -> None:
    grey = np.full((9, 7), 128, dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "0.png")
    Image.fromarray(np.full((9, 7), 128 * 257, dtype=np.uint16)).save(tmp_path / "1.png")
    Image.new("RGBA", (30, 20), (128, 128, 128, 255)).save(tmp_path / "2.png")
    Image.new("RGBA", (30, 20), (0, 0, 0, 0)).save(tmp_path / "3.png")
    Image.new("CMYK", (5, 5), (127, 127, 127, 0)).save(tmp_path / "4.jpg", quality=95)
    Image.new("P", (5, 5), 0).save(tmp_path / "5.png")
    Image.new("1", (5, 5), 1).save(tmp_path / "6.png")
    for channels in (1, 3):
        x = pictures(Listed(tmp_path, size=(6, 8), channels=channels, num_workers=0, batch_size=4))
        assert x.shape == (7, channels, 6, 8)
        expected = torch.tensor([128, 128, 128, 255, 128, 0, 255]) / 255
        torch.testing.assert_close(x.mean((1, 2, 3)), expected, atol=0.01, rtol=0)


def test_pictures_are_turned_upright_and_cropped_around_the_centre(tmp_path: Path) -> None:
    board = np.zeros((40, 60, 3), dtype=np.uint8)
    board[:20] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(board).save(tmp_path / "0.png", exif=exif)
    x = pictures(Listed(tmp_path, size=10, crop=20, num_workers=0, batch_size=1))[0]
    assert x[:, :4].max() == 0
    assert x[:, 6:].min() == 1


def damage(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    for i in range(20):
        noise[:8, :8] = i
        Image.fromarray(noise).save(folder / f"{i:02d}.png")
    whole = (folder / "05.png").read_bytes()
    (folder / "05.png").write_bytes(whole[: len(whole) // 2])
    (folder / "11.png").write_text("not a picture")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_does_not_decode_is_named(tmp_path: Path, workers: int) -> None:
    damage(tmp_path)
    data = Listed(tmp_path, size=32, channels=1, num_workers=workers, batch_size=4)
    with pytest.raises(DataError, match=r"05\.png does not decode.*on_error skip") as raised:
        pictures(data)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_pictures_can_be_left_out_and_are_counted(tmp_path: Path, workers: int) -> None:
    damage(tmp_path)
    data = Listed(tmp_path, size=32, channels=1, num_workers=workers, batch_size=4, on_error="skip")
    with pytest.warns(UserWarning, match=r"2 of 20 val pictures are left out:"):
        x = pictures(data)
    assert (x[:, 0, 0, 0] * 255).round().tolist() == [i for i in range(20) if i not in (5, 11)]


def test_floating_point_pixels_are_refused_in_words(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), dtype=np.float32)).save(tmp_path / "0.tiff")
    with pytest.raises(DataError, match=r"0\.tiff does not decode \(its pixels are floating-point"):
        pictures(Listed(tmp_path, size=8, num_workers=0, batch_size=1))


def test_bad_arguments_for_pictures_are_refused(tmp_path: Path) -> None:
    for kwargs in ({"size": 0}, {"num_workers": -1}, {"crop": 0}):
        with pytest.raises(ConfigError):
            Listed(tmp_path, **kwargs)
    Image.new("L", (8, 8)).save(tmp_path / "0.png")
    with pytest.raises(ConfigError, match="no labels"):
        Listed(tmp_path, condition="label").setup("fit")


@pytest.mark.real_data
def test_real_mnist_is_resident_once_as_uint8(real_data: Path) -> None:
    data = MNIST(root=str(real_data), batch_size=100)
    assert (data.spec.num_train, data.spec.num_classes) == (54_000, 10)
    train, val = data.train_dataloader(), data.val_dataloader()
    assert train.source is val.source
    assert isinstance(train.source, Resident)
    x = train.source.samples.x
    assert (x.dtype, x.untyped_storage().nbytes()) == (torch.uint8, 60_000 * 784)
    assert x.double().mean().item() / 255 == pytest.approx(0.1307, abs=1e-4)
    assert sum(len(batch.x) for batch in train) == 54_000
    assert sum(len(batch.x) for batch in data.test_dataloader()) == 10_000
