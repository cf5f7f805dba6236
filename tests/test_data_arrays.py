"""A user's own numbers in four formats: the same batches, and one sentence for each mistake."""

from __future__ import annotations

import builtins
import csv
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from datamodules import Arrays
from datamodules.base import DataModule
from datamodules.samples import Resident, Samples
from lit_ae.batch import ConfigError, DataError

N = 200


def frame(n: int = N) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "height": random.normal(170, 10, n).round(3),
            "mass": random.normal(70, 5, n).round(3),
            "species": random.choice(["cat", "dog", "eel"], n),
            "age": random.integers(1, 90, n),
        }
    )


def write(table: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    else:
        kinds = {name: None if values.dtype.kind in "bif" else str for name, values in table.items()}
        np.savez(path, **{str(name): table[name].to_numpy(dtype=kind) for name, kind in kinds.items()})
    return path


def samples(data: DataModule, split: str = "train") -> Samples:
    source, index = data.split(split)  # type: ignore[arg-type]
    assert isinstance(source, Resident)
    x, y, c, mask = source.samples
    return Samples(x[index], *(None if tensor is None else tensor[index] for tensor in (y, c, mask)))


def there(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor


def arrays(path: Path, **kwargs: Any) -> Arrays:
    return Arrays(path=str(path), **{"batch_size": 8, **kwargs})


@pytest.mark.parametrize("missing", [False, True])
def test_every_format_gives_the_same_batches(tmp_path: Path, missing: bool) -> None:
    table = frame()
    if missing:
        table.loc[3:20:4, "mass"] = np.nan
    asked: dict[str, Any] = {
        "columns": ["height", "mass"], "label": "species", "condition": ["species", "height"], "missing": "mask",
    }  # fmt: skip
    made = [arrays(write(table, tmp_path / f"t{suffix}"), **asked) for suffix in (".csv", ".parquet", ".npz")]
    specs = [data.spec for data in made]
    assert specs[0] == specs[1] == specs[2]
    assert (specs[0].input_shape, specs[0].num_classes, specs[0].condition_shape) == ((2,), 3, (4,))
    assert specs[0].columns == [0, 0]
    assert specs[0].num_train == 162
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        for batches in zip(*(getattr(data, loader)() for data in made), strict=True):
            for other in batches[1:]:
                for one, two in zip(batches[0][:4], other[:4], strict=True):
                    assert (one is None and two is None) or torch.equal(there(one), there(two))
            assert (batches[0].mask is not None) == missing


def test_numpy_arrays_of_any_shape_keep_it(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(3, 2, (50, 2, 3, 4))
    np.save(tmp_path / "x.npy", x)
    data = arrays(tmp_path / "x.npy")
    assert (data.spec.input_shape, data.spec.columns, data.spec.num_classes) == ((2, 3, 4), None, 0)
    whole = torch.cat([samples(data, split).x for split in ("train", "val", "test")])
    torch.testing.assert_close(
        (whole * data.std + data.mean).sum(0), torch.from_numpy(x.sum(0)).float(), rtol=1e-5, atol=1e-3
    )
    np.save(tmp_path / "line.npy", x[:, 0, 0, 0])
    assert arrays(tmp_path / "line.npy").spec.input_shape == (1,)
    np.save(tmp_path / "big_endian.npy", x.astype(">f8"))
    assert torch.equal(samples(arrays(tmp_path / "big_endian.npy")).x, samples(data).x)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((9, 7), (1, 9, 7)), ((9, 7, 3), (3, 9, 7)), ((1, 9, 7), (1, 9, 7)), ((3, 9, 3), (3, 9, 3)), ((63,), (63,))],
)
def test_bytes_are_pictures_in_0_to_1(tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(0, 256, (40, *shape), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(40) % 4)
    data = arrays(tmp_path / "x.npz")
    assert (data.spec.input_shape, data.spec.value_range, data.spec.num_classes) == (expected, (0.0, 1.0), 4)
    assert samples(data).x.dtype == torch.uint8
    batch = next(iter(data.test_dataloader()))
    assert set(batch.x.mul(255).round().flatten().tolist()) <= set(x.flatten().tolist())
    total = sum(samples(data, split).x.sum().item() for split in ("train", "val", "test"))
    assert total == x.sum(dtype=np.int64)
    if len(shape) == 3 and expected != shape:
        x_first = np.moveaxis(x, -1, 1)
        np.savez(tmp_path / "first.npz", x=x_first)
        assert torch.equal(samples(arrays(tmp_path / "first.npz")).x, samples(data).x)


def test_booleans_are_0_and_1(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((40, 5, 5)) < 0.3
    np.save(tmp_path / "x.npy", x)
    data = arrays(tmp_path / "x.npy")
    assert data.spec.input_shape == (1, 5, 5)
    assert next(iter(data.train_dataloader())).x.unique().tolist() == [0, 1]


def test_standardisation_is_fitted_on_the_training_split_alone(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(5, 3, (N, 3))
    np.save(tmp_path / "x.npy", x)
    before = arrays(tmp_path / "x.npy")
    train = samples(before).x
    torch.testing.assert_close(train.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(train.var(0, correction=0), torch.ones(3), atol=1e-5, rtol=0)
    held_out = torch.cat([samples(before, split).x for split in ("val", "test")])
    raw = (held_out * before.std + before.mean).double().numpy()
    for row in raw:  # whatever the held-out rows hold, the training split stays as it was
        x[np.abs(x - row).sum(1).argmin()] = 1e6
    np.save(tmp_path / "x.npy", x)
    after = arrays(tmp_path / "x.npy")
    assert torch.equal(samples(after).x, train)
    assert torch.equal(after.mean, before.mean)
    assert torch.equal(after.std, before.std)
    assert samples(after, "val").x.min() > 1e4
    assert samples(after, "test").x.min() > 1e4


def test_test_file_is_standardised_as_the_training_file(tmp_path: Path) -> None:
    table = frame()
    write(table, tmp_path / "train.csv")
    shifted = table.assign(height=table["height"] + 100)[["mass", "species", "age", "height"]]
    write(shifted, tmp_path / "test.parquet")
    data = arrays(tmp_path / "train.csv", test_path=str(tmp_path / "test.parquet"), label="species")
    data.setup("test")
    assert data.column_names == ["height", "mass", "age"]
    raw = samples(data, "test").x * data.std + data.mean
    expected = torch.tensor(shifted[data.column_names].to_numpy(), dtype=torch.float32)
    torch.testing.assert_close(raw, expected, rtol=1e-5, atol=1e-3)
    assert data.spec.num_train == 180
    assert len(raw) == N


def test_constant_columns_become_0(tmp_path: Path) -> None:
    x = np.stack([np.full(N, 0.1), np.arange(N) + 1.7e9], axis=1)
    np.save(tmp_path / "x.npy", x)
    data = arrays(tmp_path / "x.npy")
    train = samples(data).x
    assert data.std[0] == 1
    assert train[:, 0].abs().max() < 1e-6
    assert train[:, 1].std() == pytest.approx(1, abs=0.01)


def test_values_can_be_left_as_they_are(tmp_path: Path) -> None:
    table = frame()
    table.loc[7, "mass"] = np.nan
    data = arrays(write(table, tmp_path / "t.csv"), standardize=False, missing="mask", columns=["height", "mass"])
    assert (data.mean.item(), data.std.item()) == (0, 1)
    x = torch.cat([samples(data, split).x for split in ("train", "val", "test")])
    mask = torch.cat([there(samples(data, split).mask) for split in ("train", "val", "test")])
    expected = torch.tensor(table[["height", "mass"]].to_numpy(), dtype=torch.float32)
    assert sorted(x[:, 0].tolist()) == sorted(expected[:, 0].tolist())
    train, seen = samples(data), there(samples(data).mask)
    assert x[~mask].item() == pytest.approx(train.x[:, 1][seen[:, 1]].mean().item(), rel=1e-5)


def test_missing_cells_are_masked_and_do_not_count(tmp_path: Path) -> None:
    table = frame()[["height", "mass"]]
    table.loc[::5, "height"] = np.nan
    table["never"] = np.nan
    data = arrays(write(table, tmp_path / "t.csv"), missing="mask")
    x, _, _, mask = samples(data)
    seen = there(mask)
    assert (seen.dtype, seen.shape) == (torch.bool, x.shape)
    assert x[~seen].unique().tolist() == [0]
    assert not seen[:, 2].any()
    heights = x[:, 0][seen[:, 0]]
    assert heights.mean().item() == pytest.approx(0, abs=1e-6)
    assert heights.var(correction=0).item() == pytest.approx(1, abs=1e-5)
    assert sum((~there(samples(data, split).mask)[:, 0]).sum().item() for split in ("train", "val", "test")) == 40
    low, high = data.spec.value_range or (0, 0)
    assert (low, high) == (x[seen].min().item(), x[seen].max().item())


def test_an_archive_has_its_roles_by_name(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x, y, c = random.normal(size=(60, 4)), np.arange(60) % 3 * 10, random.normal(4, 2, (60, 2))
    mask = random.random((60, 4)) < 0.8
    x[~mask] = np.nan
    np.savez(tmp_path / "x.npz", x=x, y=y, c=c, mask=mask)
    data = arrays(tmp_path / "x.npz")
    assert (data.spec.num_classes, data.spec.condition_shape) == (3, (2,))
    assert data.class_names == ["0", "10", "20"]
    train = samples(data)
    assert there(train.y).unique().tolist() == [0, 1, 2]
    torch.testing.assert_close(there(train.c).mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    assert train.x[~there(train.mask)].unique().tolist() == [0]
    np.savez(tmp_path / "codes.npz", codes=x.clip(-1, 1), factors=c, mask=mask)
    data = arrays(tmp_path / "codes.npz", label="factors")
    assert there(samples(data).y).shape == (49, 2)
    assert data.column_names == ["codes"]
    assert (data.spec.num_classes, data.spec.condition_shape) == (0, None)


def test_arrays_can_be_joined(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.arange(30.0), b=np.arange(60).reshape(30, 2))
    assert arrays(tmp_path / "x.npz", columns=["a", "b"]).spec.input_shape == (3,)


LABELS: list[tuple[list[Any], int, list[str] | None]] = [
    (["b", "a", "c"], 3, ["a", "b", "c"]),
    ([10, 9, 10], 2, ["9", "10"]),
    ([0.5, 1.25, 3.0], 0, None),
    ([True, False, True], 2, None),
]


@pytest.mark.parametrize(("values", "classes", "names"), LABELS)
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_labels_are_classes_or_values(
    tmp_path: Path, values: list[Any], classes: int, names: list[str] | None, suffix: str
) -> None:
    table = pd.DataFrame({"x": np.arange(60.0), "y": values * 20})
    data = arrays(write(table, tmp_path / f"t{suffix}"), label="y", columns=["x"], standardize=False)
    assert data.spec.num_classes == classes
    train = samples(data)
    assert names is None or data.class_names == names
    y = there(train.y)
    assert y.dtype == (torch.int64 if classes else torch.float32)
    for row, label in zip(train.x[:, 0].int().tolist(), y.tolist(), strict=True):
        assert (names[label] if names else float(label)) == (str(values[row % 3]) if names else float(values[row % 3]))


def test_a_class_that_only_the_test_part_holds_is_counted(tmp_path: Path) -> None:
    x = np.arange(20.0)
    for rare in range(20):
        np.savez(tmp_path / "x.npz", x=x, y=(x == rare).astype(int))
        assert arrays(tmp_path / "x.npz").spec.num_classes == 2


def test_conditions_by_name(tmp_path: Path) -> None:
    path = write(frame(), tmp_path / "t.csv")
    named: list[tuple[dict[str, Any], tuple[int, ...], int, list[str]]] = [
        ({"condition": "species"}, (), 3, ["height", "mass", "age"]),
        ({"condition": "label", "label": "species"}, (), 3, ["height", "mass", "age"]),
        ({"condition": ["species"], "label": "species"}, (), 3, ["height", "mass", "age"]),
        ({"condition": "age"}, (1,), 0, ["height", "mass"]),
        ({"condition": ["age", "mass"], "label": "species"}, (2,), 3, ["height"]),
        ({"condition": ["age", "species"], "label": "species"}, (4,), 3, ["height", "mass"]),
        ({"condition": "label", "label": "mass"}, (1,), 0, ["height", "age"]),
    ]
    for kwargs, shape, classes, columns in named:
        with pytest.warns(UserWarning, match="left out: 'species'") if "species" not in str(kwargs) else quiet():
            data = arrays(path, **kwargs)
            spec = data.spec
        assert (spec.condition_shape, spec.num_classes, data.column_names) == (shape, classes, columns), kwargs
        c = there(samples(data).c)
        assert c.dtype == (torch.float32 if shape else torch.int64)
        if not shape:
            assert torch.equal(c, there(samples(data).y))
        elif shape != (4,):
            torch.testing.assert_close(c.mean(0), torch.zeros(shape), atol=1e-6, rtol=0)
        else:
            assert torch.equal(c[:, 1:].argmax(1), there(samples(data).y))
            assert c[:, 1:].sum(1).unique().tolist() == [1]


class quiet:
    """Does nothing."""

    def __enter__(self) -> None: ...

    def __exit__(self, *args: object) -> None: ...


def test_csv_as_people_write_it(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"{i};{i * 2.5}" for i in range(20)]
    path.write_text("\ufeffa;b\n" + "\n\n".join(rows) + "\n", encoding="utf-8")
    assert arrays(path).spec.input_shape == (2,)
    path.write_text("\n".join(rows).replace(";", "\t"))
    data = arrays(path, columns=["1"], standardize=False)
    assert sum(samples(data, split).x.sum().item() for split in ("train", "val", "test")) == 2.5 * 190
    table = pd.DataFrame(np.arange(40.0).reshape(20, 2))
    table.to_csv(path)  # with pandas' index, which has no name, and its numbers as names
    data = arrays(path)
    assert data.spec.num_train == 17
    assert data.column_names == ["0", "1"]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["a", "note"], *([i, f'line, "{i}"\nand more'] for i in range(20))])
    with pytest.warns(UserWarning, match="left out: 'note'"):
        assert arrays(path).spec.input_shape == (1,)


def test_splits_are_the_same_in_every_run(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(100.0))

    def split(name: str, **kwargs: Any) -> list[float]:
        return samples(arrays(tmp_path / "x.npy", standardize=False, **kwargs), name).x[:, 0].tolist()

    test = split("test", test_fraction=0.25)
    assert len(test) == 25
    assert test == split("test", test_fraction=0.25, seed=1)
    train, val = split("train", test_fraction=0.25), split("val", test_fraction=0.25)
    assert sorted(train + val + test) == list(range(100))
    assert val != split("val", test_fraction=0.25, seed=1)


def test_the_command_line_reads_every_argument(tmp_path: Path) -> None:
    path = write(frame(), tmp_path / "t.csv")
    parser = ArgumentParser()
    parser.add_subclass_arguments(DataModule, "data")
    flags = ["columns=[height,mass]", "label=species", "condition=[age]", "missing=mask", "batch_size=16"]
    argv = ["--data=datamodules.arrays.Arrays", f"--data.path={path}", *(f"--data.{flag}" for flag in flags)]
    data = parser.instantiate(parser.parse_args(argv)).data
    assert (data.spec.input_shape, data.spec.condition_shape, data.batch_size) == ((2,), (1,), 16)


# ---- mistakes


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
    path = str(write(frame(), tmp_path / "t.parquet"))
    refused(DataError, "t.parquet, row 0", "'species'", path=path, columns=["height", "species"])
    np.savez(tmp_path / "t.npz", x=np.array([["1", "2"], ["3", "x"]]))
    refused(DataError, "t.npz, row 1", "'x'", path=str(tmp_path / "t.npz"))
    table = pd.DataFrame({"a": [[1.0], [2.0]]})
    refused(DataError, "t.parquet", "lists", "'a'", path=str(write(table, tmp_path / "t.parquet")))


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
