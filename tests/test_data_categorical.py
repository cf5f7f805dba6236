"""Classes in tables: what a column of words, of whole numbers or of zeros and ones becomes in x."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lit_ae.batch import ConfigError, DataError
from tables_for_tests import arrays, frame, samples, there, write
from test_data_arrays_errors import refused


def mixed(n: int = 60) -> pd.DataFrame:
    table = frame(n)
    table["grade"] = np.arange(n) % 4 + 1
    table["smoker"] = np.where(np.arange(n) % 3 == 0, "yes", "none")
    return table


ASKED: dict[str, Any] = {"categorical": ["species", "grade", "smoker"]}
NAMES = ["height", "mass", "species=cat", "species=dog", "species=eel", "age"]
NAMES += ["grade=1", "grade=2", "grade=3", "grade=4", "smoker=yes"]


def whole(data: Any) -> torch.Tensor:
    return torch.cat([samples(data, split).x for split in ("train", "val", "test")])


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_classes_become_zeros_and_ones(tmp_path: Path, suffix: str) -> None:
    table = mixed()
    more = {} if suffix != ".npz" else {"columns": [*table.columns]}
    data = arrays(write(table, tmp_path / f"t{suffix}"), **ASKED, **more)
    assert data.spec.columns == [0, 0, 3, 0, 4, 2]
    assert data.spec.input_shape == (11,)
    assert data.column_names == NAMES
    x = whole(data)
    numeric = [0, 1, 5]
    torch.testing.assert_close(samples(data).x[:, numeric].mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    assert (data.mean[2:5] == 0).all()
    assert (data.std[2:5] == 1).all()
    raw = x * data.std + data.mean  # every row is one of the file
    for row in raw:
        at = int(np.abs(table["height"].to_numpy() - row[0].item()).argmin())
        expected = {f"species={table['species'][at]}", f"grade={table['grade'][at]}"}
        expected |= {"smoker=yes"} if table["smoker"][at] == "yes" else set()
        assert {NAMES[i] for i in range(11) if i not in numeric and row[i] == 1} == expected
        assert row[5].item() == pytest.approx(table["age"][at], abs=1e-3)
    assert set(x[:, [i for i in range(11) if i not in numeric]].unique().tolist()) == {0, 1}


def test_words_that_are_named_are_classes_too(tmp_path: Path) -> None:
    path = write(mixed(), tmp_path / "t.csv")
    data = arrays(path, columns=["species", "height"], standardize=False)
    assert (data.spec.columns, data.column_names) == ([3, 0], [*NAMES[2:5], "height"])
    assert data.spec.num_classes == 0
    with pytest.warns(UserWarning, match=r"left out: 'species', 'smoker' \(--data.categorical"):
        assert arrays(path).spec.columns == [0, 0, 0, 0]


def test_a_label_or_condition_can_be_declared(tmp_path: Path) -> None:
    path = write(mixed(), tmp_path / "t.csv")
    data = arrays(path, label="species", condition=["grade", "smoker"], categorical=["grade", "smoker"])
    assert data.spec.condition_shape == (6,)  # one indicator per class
    assert data.column_names == ["height", "mass", "age"]
    assert there(samples(data).c).unique().tolist() == [0, 1]
    data = arrays(path, condition="grade", categorical=["grade"], columns=["height"])
    assert (data.spec.condition_shape, data.spec.num_classes) == ((), 4)
    data = arrays(path, columns=["species", "height"], label="species")
    assert data.spec.columns == [3, 0]
    assert torch.equal(samples(data).x[:, :3].argmax(1), there(samples(data).y))


def test_groups_of_columns_that_are_one_hot_already(tmp_path: Path) -> None:
    table = mixed()
    hot = pd.get_dummies(table, columns=["species", "smoker"], dtype=bool)[
        ["species_dog", "height", "species_cat", "smoker_none", "smoker_yes", "species_eel"]
    ]
    group = ["species_cat", "species_dog", "species_eel"]
    for suffix in (".csv", ".parquet"):
        data = arrays(
            write(hot if suffix == ".parquet" else hot.astype(float), tmp_path / f"t{suffix}"),
            categorical=[group, ["smoker_none", "smoker_yes"]],
        )
        assert data.spec.columns == [0, 3, 2]
        assert data.column_names == ["height", *group, "smoker_yes"]
        expected = arrays(write(table, tmp_path / "w.csv"), columns=["height", "species", "smoker"])
        assert torch.equal(samples(data).x, samples(expected).x)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_a_class_that_is_missing_is_masked_as_a_whole(tmp_path: Path, suffix: str) -> None:
    table = mixed().astype({"grade": float})
    table.loc[3, "species"], table.loc[4, "grade"], table.loc[[5, 6], "smoker"] = "", np.nan, "NA"
    table.loc[7, "height"] = np.nan
    path = write(table, tmp_path / f"t{suffix}")
    columns = ["height", "species", "grade", "smoker"]
    places = {".csv": "line 9, column 'height'"}
    place = places.get(suffix, "row 7")
    refused(DataError, "missing value", path=str(path), columns=columns, categorical=["grade"], batch_size=8)
    refused(DataError, "1 missing", place, path=str(path), columns=columns[:1], batch_size=8)
    for standardize in (True, False):
        data = arrays(path, columns=columns, categorical=["grade"], missing="mask", standardize=standardize)
        assert data.spec.columns == [0, 3, 4, 2]
        masks = torch.cat([there(samples(data, split).mask) for split in ("train", "val", "test")])
        x = whole(data)
        assert (~masks).sum(0).tolist() == [1, 1, 1, 1, 1, 1, 1, 1, 2]
        assert (x[~masks[:, 1], 1:4] == 0).all()
        assert (~masks[:, 1:4]).all(1).sum() == (~masks[:, 4:8]).all(1).sum() == 1
        if not standardize:
            assert (x[:, 1:][~masks[:, 1:]] == 0).all()


def test_missing_classes_are_counted_once(tmp_path: Path) -> None:
    table = mixed()
    table.loc[3, "species"] = ""
    path = str(write(table, tmp_path / "t.csv"))
    refused(DataError, "1 missing value,", "line 5", "'species'", "--data.missing mask", path=path, **ASKED)
    hot = pd.get_dummies(mixed()[["species", "height"]], columns=["species"], dtype=float)
    hot.iloc[2, 3] = np.nan
    group = [name for name in hot if name != "height"]
    path = str(write(hot, tmp_path / "h.csv"))
    refused(DataError, "1 missing value,", "line 4", "'species_cat'", path=path, categorical=[group])
    data = arrays(tmp_path / "h.csv", categorical=[group], missing="mask")
    masks = torch.cat([there(samples(data, split).mask) for split in ("train", "val", "test")])
    assert (~masks).sum(0).tolist() == [0, 1, 1, 1]


def test_test_data_have_the_training_datas_classes(tmp_path: Path) -> None:
    train = str(write(mixed(), tmp_path / "train.csv"))
    test = mixed()[mixed()["species"] != "dog"].reset_index(drop=True)
    path = str(write(test, tmp_path / "test.npz"))
    data = arrays(tmp_path / "train.csv", test_path=path, columns=["height", "species"])
    x = samples(data, "test").x
    assert x.shape == (len(test), 4)
    assert x[:, 1:].sum(0).tolist() == [(test["species"] == name).sum() for name in ("cat", "dog", "eel")]
    write(mixed().replace("eel", "fox"), tmp_path / "test.csv")
    common: dict[str, Any] = {"path": train, "test_path": str(tmp_path / "test.csv"), "batch_size": 8}
    refused(DataError, "test.csv, line", "'fox'", "'species'", "training data", **common, **ASKED)
    write(mixed().assign(grade=7), tmp_path / "test.csv")
    refused(DataError, "test.csv, line 2", "'7'", "'grade'", **common, **ASKED)
    write(mixed().drop(columns="grade"), tmp_path / "test.csv")
    refused(DataError, "test.csv", "'grade'", "training data", **common, **ASKED)


def test_what_are_no_classes_is_refused(tmp_path: Path) -> None:
    table = mixed().assign(one="same", ident=np.arange(60))
    path = str(write(table, tmp_path / "t.csv"))

    def no(kind: type[Exception], *words: str, categorical: list[Any], **kwargs: Any) -> None:
        refused(kind, *words, path=path, categorical=categorical, **kwargs)

    no(ConfigError, "--data.categorical", "did you mean 'species'", categorical=["specie"])
    no(ConfigError, "'grade' more than once", categorical=["grade", "grade"])
    no(ConfigError, "'grade' more than once", categorical=["grade", ["grade", "age"]])
    no(ConfigError, "two columns or more", categorical=[["grade"]])
    no(ConfigError, "'grade', which is not modelled", "--data.columns", categorical=["grade"], columns=["age"])
    no(ConfigError, "'age'", "one group", categorical=[["grade", "age"]], condition="age")
    no(DataError, "t.csv, line 2", "'height'", "whole numbers", categorical=["height"])
    no(DataError, "1 class in column 'one'", "leave it out", categorical=["one"])
    no(DataError, "t.csv, line 2", "'grade', 'age'", "one-hot", categorical=[["grade", "age"]])
    np.savez(tmp_path / "t.npz", x=np.zeros((9, 2)), kind=np.arange(9))
    refused(ConfigError, "'x', of shape (9, 2)", path=str(tmp_path / "t.npz"), categorical=["x"])
    many = pd.DataFrame({"a": np.arange(1500.0), "name": [f"n{i}" for i in range(1500)]})
    refused(DataError, "1,500 classes", "'name'", path=str(write(many, tmp_path / "m.csv")), categorical=["name"])
