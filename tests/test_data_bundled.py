"""The embedded tables: as scikit-learn has them, with the arguments of any table; and the configs that use them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import yaml
from sklearn import datasets

from conftest import Console
from datamodules import Bundled
from lit_ae import shipped
from lit_ae.batch import ConfigError
from tables_for_tests import samples, there

KINDS: list[tuple[str, Any, int]] = [
    ("iris", datasets.load_iris, 3),
    ("wine", datasets.load_wine, 3),
    ("breast_cancer", datasets.load_breast_cancer, 2),
    ("diabetes", lambda: datasets.load_diabetes(scaled=False), 0),
]


@pytest.mark.parametrize(("name", "load", "classes"), KINDS)
def test_tables_are_scikit_learns(name: Any, load: Any, classes: int) -> None:
    bunch = load()
    data = Bundled(table=name, standardize=False, batch_size=16)
    extra = [] if classes else ["progression"]
    assert data.spec.columns == [0] * (bunch.data.shape[1] + len(extra))
    assert data.column_names == [*bunch.feature_names, *extra]
    assert data.spec.num_classes == classes
    found, rows = [], np.concatenate([bunch.data, bunch.target[:, None]], 1).astype(np.float32)
    for split in ("train", "val", "test"):
        x, y, _, _ = samples(data, split)
        if data.class_names is not None:
            numbers = [[*bunch.target_names].index(data.class_names[label]) for label in there(y)]
            x = torch.cat([x, torch.tensor(numbers)[:, None]], 1)
        found += x.tolist()
    assert sorted(found) == sorted(rows.tolist())


def test_they_take_the_arguments_of_any_table() -> None:
    data = Bundled(table="wine", categorical=["class"])
    assert data.spec.columns == [0] * 13 + [3]
    assert data.column_names[-3:] == ["class=class_0", "class=class_1", "class=class_2"]
    assert torch.equal(samples(data).x[:, 13:].argmax(1), there(samples(data).y))
    data = Bundled(table="diabetes", categorical=["sex"], columns=["age", "sex"])
    assert (data.spec.columns, data.column_names) == ([0, 2], ["age", "sex=2"])
    data = Bundled(table="iris", condition="label", batch_size=32)
    assert (data.spec.condition_shape, data.spec.num_classes) == ((), 3)
    data = Bundled(table="iris", condition="class", columns=["petal length (cm)"], batch_size=32)
    assert (data.spec.condition_shape, data.spec.input_shape) == ((), (1,))
    assert len(samples(Bundled(table="iris", test_fraction=0.4), "test").x) == 60


def test_what_is_not_there_is_named() -> None:
    for words, kwargs in (
        ("wine has no column 'alcohl'.*did you mean 'alcohol'", {"columns": ["alcohl"]}),
        ("test_fraction is 2", {"test_fraction": 2.0}),
    ):
        with pytest.raises(ConfigError, match=words):
            _ = Bundled(table="wine", **kwargs).spec  # type: ignore[arg-type]


def test_an_unknown_table_is_one_sentence(lit_ae: Console) -> None:
    done = lit_ae("fit", "--model=AE", "--data=Bundled", "--data.table=titanic")
    assert done.status == 2
    assert "iris" in done.err
    assert "Traceback" not in done.err


@pytest.mark.slow
def test_six_measurements_fit_through_two_latents(lit_ae: Console) -> None:
    """The config's network, five wide and four layers deep each way, rebuilds what the mean does not."""
    config = yaml.safe_load(shipped.names()["tabular"].read_text(encoding="utf-8"))
    assert len(config["data"]["init_args"]["columns"]) == 6
    assert config["model"]["init_args"]["encoder"]["init_args"]["hidden"] == [5, 5, 4]
    assert config["model"]["init_args"]["decoder"]["init_args"]["hidden"] == [4, 5, 5]
    assert config["model"]["init_args"]["latent_dim"] == 2
    done = lit_ae("fit", "--config=tabular", "--trainer.callbacks=[]", "--trainer.enable_progress_bar=false")
    assert done.status == 0, done.err
    mse = float(done.out.split("mse ")[1].split()[0])
    assert mse < 2.5  # the mean rebuilds six standardised measurements with an error of 6
