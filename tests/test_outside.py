"""Samples from elsewhere: every datamodule reads others of its kind, and says what is wrong with them."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch

from datamodules import MNIST, Arrays, Bundled, CelebA, Digits, ImageFolder, InMemory, Points, Samples, Sequences
from datamodules.base import DataModule
from datamodules.mapped import layout_of
from datamodules.samples import Source
from folders_for_tests import fill, folder, save
from lit_ae.batch import ConfigError, DataError
from tables_for_tests import arrays, frame, write


def fetched(source: Source) -> Samples:
    halves = torch.arange(len(source)).split(max(1, (len(source) + 1) // 2))
    parts = list(source.fetch(halves))
    columns = [None if column[0] is None else torch.cat(column) for column in zip(*parts, strict=True)]
    return Samples(*columns)  # type: ignore[arg-type]


@pytest.fixture
def photos(tmp_path: Path) -> ImageFolder:
    fill(tmp_path / "photos", {"cat": 20, "dog": 20})
    return folder(tmp_path / "photos")


def test_a_folder_of_pictures_at_any_depth(photos: ImageFolder, tmp_path: Path) -> None:
    save(tmp_path / "new/a/b/1.png", 51)
    save(tmp_path / "new/2.PNG", 102)
    save(tmp_path / "new/.hidden/3.png", 0)
    (tmp_path / "new/notes.txt").write_text("no picture")
    source = photos.outside(tmp_path / "new")
    assert source.names is not None
    assert list(source.names) == ["2.PNG", "a/b/1.png"]
    assert fetched(source).x[:, 0, 0, 0].tolist() == [102, 51]
    assert source.labels is None
    assert source.element_size == 1


@pytest.mark.parametrize(("names", "labels"), [(("dog", "cat"), [0, 1]), (("dog", "cow"), None)])
def test_folders_that_are_known_classes_are_labels(
    names: tuple[str, ...], labels: list[int] | None, photos: ImageFolder, tmp_path: Path
) -> None:
    for value, name in enumerate(names):
        save(tmp_path / "new" / name / "deep/1.png", value)
    found = photos.outside(tmp_path / "new").labels
    assert (None if found is None else found.tolist()) == labels


def test_training_pictures_need_not_be_at_hand(tmp_path: Path) -> None:
    save(tmp_path / "one.png", 77, (28, 28))
    for data in (MNIST(root="nowhere"), ImageFolder(root="nowhere", size=28, channels=1), CelebA(root="nowhere")):
        source = data.outside(tmp_path / "one.png")
        assert list(source.names or ()) == ["one.png"]
        assert fetched(source).x.unique().tolist() == [77] or isinstance(data, CelebA)  # whose crop has a black rim
        assert fetched(source).x.shape[1:] == source.shape


def test_damaged_files_are_left_out_where_wanted(tmp_path: Path) -> None:
    fill(tmp_path / "photos", {"": 20})
    save(tmp_path / "new/a.png", 9)
    (tmp_path / "new/b.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"b\.png is not a picture"):
        fetched(folder(tmp_path / "photos").outside(tmp_path / "new"))
    with pytest.warns(UserWarning, match="1 of 2 given pictures"):
        source = folder(tmp_path / "photos", on_error="skip").outside(tmp_path / "new")
    assert list(source.names or ()) == ["a.png"]


DIGITS = np.random.default_rng(0).integers(0, 256, (7, 8, 8)).astype(np.uint8)


@pytest.mark.parametrize("kind", ["bytes", "numbers", "channel", "last", "booleans", "wide"])
def test_pictures_as_arrays(kind: str, tmp_path: Path) -> None:
    x = {"numbers": DIGITS / 255, "channel": DIGITS[:, None], "last": DIGITS[..., None], "booleans": DIGITS > 99}
    np.save(tmp_path / "x.npy", x.get(kind, DIGITS.astype(np.int64) if kind == "wide" else DIGITS))
    source = Digits().outside(tmp_path / "x.npy")
    assert (len(source), source.shape, source.scale) == (7, (1, 8, 8), 255.0)
    found = fetched(source).x
    found = found * 255 if found.dtype == torch.float32 else found.float()
    expected = DIGITS.astype(np.float32) if kind != "booleans" else (DIGITS > 99) * 255.0
    torch.testing.assert_close(found[:, 0], torch.tensor(expected, dtype=torch.float32))


def test_archives_have_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=DIGITS, y=np.arange(7))
    data = Digits(condition="label")
    data.bring(tmp_path / "x.npz")
    (batch,) = data.test_dataloader()
    assert batch.y is not None
    assert batch.c is not None
    assert batch.y.tolist() == batch.c.tolist() == list(range(7))
    assert batch.x.max() <= 1


WRONG: dict[str, tuple[Any, str]] = {
    "size": (np.zeros((3, 9, 8), np.uint8), r"shape \(9, 8\), the run takes pictures of \(1, 8, 8\)"),
    "value": (np.full((3, 8, 8), 16.0), "sample 0, has the value 16"),
    "nan": (np.where(np.arange(3)[:, None, None] == 2, np.nan, np.zeros((3, 8, 8))), "sample 2, has the value nan"),
    "text": (np.array(["a"]), "<U1"),
    "none": (np.zeros((0, 8, 8)), "no samples"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arrays_get_one_sentence(name: str, tmp_path: Path) -> None:
    array, said = WRONG[name]
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(DataError, match=said):
        fetched(Digits().outside(tmp_path / "x.npy"))


def test_wrong_paths_get_one_sentence(photos: ImageFolder, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.txt").write_text("1")
    for data in (photos, Digits()):
        with pytest.raises(DataError, match=r"holds no pictures: give files that end in \.bmp"):
            data.outside(tmp_path / "empty")
        with pytest.raises(DataError, match="There is no"):
            data.outside(tmp_path / "missing")
        with pytest.raises(ConfigError, match="of no known format"):
            data.outside(tmp_path / "x.txt")
    save(tmp_path / "new/1.png", 1)
    with pytest.raises(DataError, match="has no labels, which the run is conditioned on"):
        Digits(condition="label").outside(tmp_path / "new")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_tables_get_the_training_datas_numbers(suffix: str, tmp_path: Path) -> None:
    columns = ["height", "mass", "species"]
    path = write(frame(), tmp_path / f"table{suffix}")
    data = arrays(path, columns=columns, label="species", categorical=["species"])
    train, index = data.split("train")
    source = data.outside(path)
    whole = fetched(source)
    again = fetched(data.outside(write(frame().drop(columns="age").iloc[:9], tmp_path / f"few{suffix}")))
    assert len(source) == len(frame())
    torch.testing.assert_close(again.x, whole.x[:9])
    assert whole.y is not None
    assert whole.y.tolist() == [["cat", "dog", "eel"].index(name) for name in frame()["species"]]
    known = {tuple(row) for row in whole.x.tolist()}
    assert {tuple(row) for row in next(train.fetch([index])).x.tolist()} <= known


def test_a_table_without_labels_or_as_an_array(tmp_path: Path) -> None:
    data = arrays(write(frame(), tmp_path / "table.csv"), columns=["height", "mass"], label="species")
    few = write(frame()[["mass", "height"]].iloc[:9], tmp_path / "few.csv")
    np.save(tmp_path / "few.npy", frame()[["height", "mass"]].to_numpy()[:9])
    first, second = (fetched(data.outside(path)) for path in (few, tmp_path / "few.npy"))
    assert first.y is None
    torch.testing.assert_close(first.x, second.x)
    with pytest.raises(DataError, match="no column 'mass', which the training data have"):
        data.outside(write(frame()[["height"]], tmp_path / "less.csv"))
    np.save(tmp_path / "wide.npy", np.zeros((3, 5)))
    with pytest.raises(DataError, match=r"shape \(5,\), but .* has 2 columns"):
        data.outside(tmp_path / "wide.npy")


def test_missing_cells_and_their_places(tmp_path: Path) -> None:
    path = write(frame(), tmp_path / "table.csv")
    x = frame()[["height", "mass"]].to_numpy()[:9].copy()
    x[7, 1] = np.nan
    np.save(tmp_path / "holes.npy", x)
    with pytest.raises(DataError, match="row 7"):
        fetched(arrays(path, columns=["height", "mass"]).outside(tmp_path / "holes.npy"))
    found = fetched(arrays(path, columns=["height", "mass"], missing="mask").outside(tmp_path / "holes.npy"))
    assert found.mask is not None
    assert (~found.mask).nonzero().tolist() == [[7, 1]]
    assert found.x[7, 1] == 0


def test_columns_come_back_in_the_units_of_the_file(tmp_path: Path) -> None:
    data = arrays(write(frame(), tmp_path / "table.csv"), categorical=["species", "age"])
    found = data.named(fetched(data.outside(tmp_path / "table.csv")).x)
    assert found is not None
    assert list(found) == list(frame().columns)
    np.testing.assert_allclose(found["height"], frame()["height"], rtol=1e-5)
    assert found["species"].tolist() == frame()["species"].tolist()
    assert found["age"].tolist() == frame()["age"].tolist()
    iris = Bundled(table="iris").named(torch.zeros(2, 4))
    assert iris is not None
    assert iris["sepal length (cm)"][0] == pytest.approx(5.84, abs=0.1)


def test_points(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(5, 2))
    np.save(tmp_path / "x.npy", x)
    pd.DataFrame(x, columns=["a", "b"]).assign(label=range(5)).to_csv(tmp_path / "x.csv", index=False)
    for name, labels in (("x.npy", None), ("x.csv", [0, 1, 2, 3, 4])):
        found = fetched(Points().outside(tmp_path / name))
        torch.testing.assert_close(found.x, torch.from_numpy(x).float())
        assert (None if found.y is None else found.y.tolist()) == labels
    np.save(tmp_path / "wide.npy", np.zeros((3, 3)))
    with pytest.raises(DataError, match="points in the plane"):
        fetched(Points().outside(tmp_path / "wide.npy"))


def test_sequences(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    values, lengths = random.normal(3, 2, (30, 6, 2)), random.integers(1, 7, 30)
    np.savez(tmp_path / "train.npz", values=values, lengths=lengths, y=np.arange(30) % 2)
    np.savez(tmp_path / "new.npz", values=values[:4], lengths=lengths[:4])
    np.savez(tmp_path / "wide.npz", values=np.zeros((4, 6, 3)))
    np.savez(tmp_path / "long.npz", values=np.zeros((4, 9, 2)))
    data = Sequences(path=str(tmp_path / "train.npz"), batch_size=8)
    found = fetched(data.outside(tmp_path / "new.npz"))
    assert found.y is None
    assert found.mask is not None
    assert found.mask[:, 0].sum(1).tolist() == lengths[:4].tolist()
    back = data.arrays(found.x).swapaxes(1, 2)
    np.testing.assert_allclose(back[0, : lengths[0]], values[0, : lengths[0]], rtol=1e-4)
    with pytest.raises(DataError, match="3 features"):
        data.outside(tmp_path / "wide.npz")
    with pytest.warns(UserWarning, match="4 sequences are cut to 6 steps"):
        data.outside(tmp_path / "long.npz")


class Own(InMemory):
    def load(self, split: str) -> Samples:  # type: ignore[override]
        return Samples(torch.zeros(9, 3))


def test_a_datamodule_of_ones_own_refuses(tmp_path: Path) -> None:
    data: DataModule = Own()
    with pytest.raises(ConfigError, match="Own reads no other data than its own"):
        data.bring(tmp_path)


@pytest.mark.parametrize("which", [Digits, Arrays])
def test_large_arrays_are_read_as_they_are_asked_for(which: type[DataModule], tmp_path: Path) -> None:
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (100_000, 1, 8, 8))
    x[-1] = 0.5
    del x
    data: Any = Digits()
    if which is Arrays:
        np.save(tmp_path / "train.npy", np.random.default_rng(0).random((50, 1, 8, 8), np.float32))
        data = arrays(tmp_path / "train.npy")
        data.split("train")
    tracemalloc.start()
    source = data.outside(tmp_path / "x.npy")
    last = None
    for samples in source.fetch(torch.arange(len(source)).split(100)):
        last = samples
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert last is not None
    np.testing.assert_allclose(data.arrays(last.x)[-1], 0.5, atol=1e-6)
    assert peak < 4 * 2**20  # of 25 MB


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("rows", [[2, 3, 4], [4, 0, 9], [9]])
def test_rows_of_a_large_file(order: Literal["C", "F"], rows: list[int], tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(10, 3, 2)).astype(">f4")
    np.save(tmp_path / "x.npy", np.array(values, order=order))
    found = layout_of(tmp_path / "x.npy").rows(np.array(rows))
    np.testing.assert_array_equal(found, values[rows])
    found += 1  # it is a copy
