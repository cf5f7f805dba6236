"""Every mistake in a user's own numbers ends in one sentence with the way out."""

from __future__ import annotations

import builtins
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datamodules import Arrays
from lit_ae.batch import ConfigError, DataError
from tables_for_tests import arrays, frame, write


def refused(kind: type[Exception], *words: str, **kwargs: Any) -> None:
    """One sentence that holds the words."""
    with pytest.raises(kind) as raised:  # noqa: PT012
        data = Arrays(**kwargs)
        data.setup("fit")
        data.setup("test")
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    for word in words:
        assert word in message


def test_files_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(DataError, "no file", "none.csv", path=str(tmp_path / "none.csv"))
    refused(ConfigError, "t.xlsx", ".csv, .parquet", path=str(tmp_path / "t.xlsx"))
    refused(
        DataError,
        "no file",
        batch_size=4,
        path=write_text(tmp_path / "t.csv", "a\n" + "1\n" * 9),
        test_path=str(tmp_path / "no.csv"),
    )
    for name in ("e.csv", "e.npy", "e.npz", "e.parquet"):
        refused(DataError, name, "is empty", path=write_text(tmp_path / name, ""))
    for name in ("e.npy", "e.npz", "e.parquet"):
        refused(DataError, name, "is no whole", path=write_text(tmp_path / name, "a,b\n1,2\n"))
    whole = write(frame(), tmp_path / "w.npz").read_bytes()
    (tmp_path / "w.npz").write_bytes(whole[: len(whole) // 2])
    refused(DataError, "w.npz is no whole", path=str(tmp_path / "w.npz"))
    refused(DataError, "h.csv holds no samples", path=write_text(tmp_path / "h.csv", "a,b\n"))
    refused(DataError, "h.csv holds no samples", path=write_text(tmp_path / "h.csv", "\n\n"))
    np.save(tmp_path / "z.npy", np.zeros((0, 3)))
    refused(DataError, "z.npy holds no samples", path=str(tmp_path / "z.npy"))
    (tmp_path / "l.csv").write_bytes("a\nä\n".encode("latin1"))
    refused(DataError, "l.csv", "UTF-8", path=str(tmp_path / "l.csv"))
    (tmp_path / "u.csv").write_bytes(b"a\n" + b"x" * 200_000)
    refused(DataError, "u.csv, line 2", path=str(tmp_path / "u.csv"))
    write(frame(), tmp_path / "p.parquet")
    monkeypatch.setattr(builtins, "__import__", without("pyarrow", builtins.__import__))
    refused(ConfigError, "p.parquet", 'pip install "lit_ae[parquet]"', path=str(tmp_path / "p.parquet"))


def write_text(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def without(package: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def find(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == package:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    return find


class Hostile:
    """Would make a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return Path.mkdir, (self.folder,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    objects = np.array([Hostile(tmp_path / "taken")] * 3, dtype=object)
    np.save(tmp_path / "o.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "o.npz", x=objects)
    for name in ("o.npy", "o.npz"):
        refused(DataError, name, "Python objects", path=str(tmp_path / name))
    (tmp_path / "p.npy").write_bytes(pickle.dumps(Hostile(tmp_path / "taken")))
    (tmp_path / "p.npz").write_bytes(pickle.dumps(Hostile(tmp_path / "taken")))
    for name in ("p.npy", "p.npz"):
        refused(DataError, name, "is no whole", path=str(tmp_path / name))
    assert not (tmp_path / "taken").exists()
    for array in (np.zeros(3, dtype=complex), np.zeros(3, dtype="M8[s]"), np.float64(1), np.zeros(3, dtype="f4,f4")):
        np.save(tmp_path / "k.npy", array)
        refused(DataError, "k.npy", "numbers or text", path=str(tmp_path / "k.npy"))


def test_names_that_are_not_there_get_the_nearest(tmp_path: Path) -> None:
    path = str(write(frame(), tmp_path / "t.csv"))
    refused(ConfigError, "t.csv", "'hight'", "--data.columns", "did you mean 'height'", path=path, columns=["hight"])
    refused(ConfigError, "'specis'", "--data.label", "did you mean 'species'", path=path, label="specis")
    refused(ConfigError, "'Q'", "--data.condition", "choose from 'height'", path=path, condition=["age", "Q"])
    refused(ConfigError, "--data.label", path=path, condition="label")
    refused(ConfigError, "--data.columns is empty", path=path, columns=[])
    refused(ConfigError, "test_fraction", path=path, test_fraction=1.0)
    refused(ConfigError, "no column of numbers", path=write_text(tmp_path / "w.csv", "a\nb\n"), label="a")
    np.savez(tmp_path / "t.npz", a=np.zeros(9), b=np.zeros(9))
    refused(ConfigError, "t.npz", "'a', 'b'", "--data.columns", path=str(tmp_path / "t.npz"))
    np.save(tmp_path / "t.npy", np.zeros((9, 2)))
    refused(ConfigError, "t.npy has no array 'y'", path=str(tmp_path / "t.npy"), label="y")
    refused(ConfigError, "test_fraction 0.9 of 1", path=write_text(tmp_path / "o.csv", "a\n1\n"), test_fraction=0.9)


def test_text_among_numbers_is_named(tmp_path: Path) -> None:
    text = "a,b\n" + "1,2\n" * 5 + "\n3,4 kg\n" + "1,2\n" * 9
    refused(DataError, "t.csv, line 8", "'4 kg'", "'b'", "--data.columns", path=write_text(tmp_path / "t.csv", text))
    assert arrays(tmp_path / "t.csv", columns=["a"]).spec.input_shape == (1,)
    table = frame().assign(code=["7", "x"] * (len(frame()) // 2))
    path = str(write(table, tmp_path / "t.parquet"))
    refused(DataError, "t.parquet, row 1", "'code'", path=path, columns=["height", "code"])
    np.savez(tmp_path / "t.npz", x=np.array([["1", "2"], ["3", "x"]]))
    refused(DataError, "t.npz, row 1", "'x'", path=str(tmp_path / "t.npz"))
    table = pd.DataFrame({"a": [[1.0], [2.0]]})
    refused(DataError, "t.parquet", "lists", "'a'", path=str(write(table, tmp_path / "t.parquet")))


@pytest.mark.filterwarnings("ignore:.*columns of text")
def test_missing_values_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    table = frame()
    table.loc[[17, 40], "mass"] = np.nan
    for suffix, place in ((".csv", "line 19"), (".parquet", "row 17")):
        path = str(write(table, tmp_path / f"t{suffix}"))
        refused(
            DataError, f"t{suffix}", "2 missing", place, "'mass'", "--data.missing mask", path=path, label="species"
        )
    x = np.zeros((9, 2, 3))
    x[4, 1, 2] = np.nan
    np.save(tmp_path / "t.npy", x)
    refused(DataError, "1 missing value,", "row 4", "(1, 2)", path=str(tmp_path / "t.npy"))
    x[4, 1, 2] = np.inf
    np.save(tmp_path / "t.npy", x)
    refused(DataError, "infinite", "row 4", path=str(tmp_path / "t.npy"), missing="mask")
    table = frame().assign(
        age=lambda t: t["age"].where(t.index != 5), species=lambda t: t["species"].where(t.index > 0)
    )
    path = str(write(table, tmp_path / "t.csv"))
    refused(DataError, "line 7", "'age'", path=path, label="age", missing="mask")
    refused(DataError, "line 2", "'species'", path=path, condition="species", missing="mask")


def test_shapes_that_disagree_are_named(tmp_path: Path) -> None:
    refused(DataError, "line 3", "3 cells", "has 2", path=write_text(tmp_path / "t.csv", "a,b\n1,2\n1,2,3\n"))
    refused(DataError, "more than one column 'a'", path=write_text(tmp_path / "t.csv", "a,a\n1,2\n"))
    path = str(tmp_path / "t.npz")
    np.savez(path, x=np.zeros((10, 2)), y=np.zeros(9))
    refused(DataError, "t.npz", "10 samples in 'x' but 9 in 'y'", path=path)
    np.savez(path, x=np.zeros((10, 2)), mask=np.ones((10, 3)))
    refused(DataError, "t.npz", "(10, 2)", "mask of (10, 3)", path=path)
    np.savez(path, a=np.zeros((10, 2)), b=np.zeros((10, 2, 2)))
    refused(DataError, "t.npz", "'b' of shape (10, 2, 2)", path=path, columns=["a", "b"])
    refused(ConfigError, "--data.batch_size", path=write_text(tmp_path / "t.csv", "a\n" + "1\n" * 20), batch_size=18)


def test_a_test_file_that_does_not_fit_is_named(tmp_path: Path) -> None:
    path = str(write(frame(), tmp_path / "train.csv"))
    common: dict[str, Any] = {"path": path, "label": "species", "test_path": str(tmp_path / "test.csv")}
    write(frame().drop(columns="mass"), tmp_path / "test.csv")
    refused(DataError, "test.csv", "'mass'", "training data", **common)
    write(frame().replace("eel", "fox"), tmp_path / "test.csv")
    refused(DataError, "test.csv, line", "'fox'", "'species'", **common)
    for shape, dtype in (((9, 3), float), ((9, 2), np.uint8)):
        np.save(tmp_path / "train.npy", np.zeros((60, 2)))
        np.save(tmp_path / "test.npy", np.zeros(shape, dtype=dtype))
        refused(
            DataError, "test.npy", "train.npy", "shape",
            path=str(tmp_path / "train.npy"), test_path=str(tmp_path / "test.npy"), batch_size=8,
        )  # fmt: skip
