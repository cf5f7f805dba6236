"""A user's own numbers in four formats: the same batches, and one sentence for each mistake."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from jsonargparse import ArgumentParser

from datamodules.base import DataModule
from tables_for_tests import N, arrays, frame, samples, there, write


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
