"""Splits, specs, memory and bad arguments of every datamodule."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

import datamodules
from datamodules.base import InMemory
from datamodules.samples import Resident, Samples, take
from datamodules.transforms import Flip, Pad, StaticBinarize, Transform
from lit_ae.batch import Batch, ConfigError, DataError
from numbers_for_tests import Numbers, labels, y


def test_splits_do_not_overlap_and_the_test_data_are_never_validated_on() -> None:
    data = Numbers(n=200, val_fraction=0.15, batch_size=16)
    train, val, test = (
        labels(list(loader)) for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    )
    assert sorted(train + val) == list(range(200))
    assert len(val) == 30
    assert min(test) == 1000
    other = Numbers(n=200, val_fraction=0.15, batch_size=16, seed=1)
    assert labels(list(other.val_dataloader())) != val
    assert labels(list(data.predict_dataloader())) == test


def test_setup_loads_each_split_once_and_only_when_wanted() -> None:
    loads: list[str] = []
    data = Numbers(loads=loads, batch_size=8)
    for _ in range(2):
        data.setup("fit")
        assert data.spec.num_train == 90
    assert loads == ["train"]
    data.setup("test")
    data.setup(None)
    data.test_dataloader()
    assert loads == ["train", "test"]


def test_samples_are_held_once_as_they_are() -> None:
    data = Numbers(n=1000, batch_size=8)
    train, val = data.train_dataloader(), data.val_dataloader()
    assert isinstance(train.source, Resident)
    assert train.source is val.source
    assert train.source.samples.x.dtype == torch.uint8
    assert len(train.source) == 1000
    assert next(iter(train)).x.dtype == torch.float32


def attach(data: Numbers, device: str, world: int = 2) -> Numbers:
    """What loaders ask of a trainer."""
    strategy = SimpleNamespace(root_device=torch.device(device))
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        strategy=strategy, global_rank=world - 1, world_size=world, overfit_batches=0
    )
    return data


def test_samples_can_be_held_on_the_device_once() -> None:
    data = attach(Numbers(n=100, batch_size=8, resident="device"), "meta")
    train, val = data.train_dataloader(), data.val_dataloader()
    assert train.source is val.source
    assert train.source.device.type == "meta"
    assert (len(train), len(val)) == (6, 1)
    assert {tensor.device.type for tensor in next(iter(train)) if isinstance(tensor, Tensor)} == {"meta"}


def test_batches_from_the_host_come_out_on_the_device() -> None:
    data = attach(Numbers(n=100, batch_size=8), "meta")
    batch = next(iter(data.train_dataloader()))
    assert (batch.x.device.type, y(batch).device.type) == ("meta", "meta")
    assert data.transfer_batch_to_device(batch, torch.device("meta"), 0) is batch
    loose = Batch(torch.zeros(2), torch.zeros(2))
    assert data.transfer_batch_to_device(loose, torch.device("meta"), 0).x.device.type == "meta"


def test_batches_of_evaluation_may_have_a_size_of_their_own() -> None:
    data = Numbers(n=200, batch_size=8, eval_batch_size=16)
    assert [len(batch.x) for batch in data.val_dataloader()] == [16, 4]
    assert {len(batch.x) for batch in data.train_dataloader()} == {8, 4}
    assert max(len(batch.x) for batch in data.test_dataloader()) == 16
    assert max(len(batch.x) for batch in Numbers(batch_size=8).val_dataloader()) == 8


def test_more_processes_than_samples_are_refused() -> None:
    with pytest.raises(ConfigError, match="on 50 processes"):
        attach(Numbers(n=40, batch_size=8), "cpu", world=50).train_dataloader()
    with pytest.raises(ConfigError, match="on 5 processes"):
        attach(Numbers(n=40, batch_size=8, drop_last=True), "cpu", world=5).train_dataloader()


def test_importing_the_package_imports_no_torch() -> None:
    code = "import datamodules, sys; print('torch' in sys.modules, 'MNIST' in dir(datamodules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["False", "True"]
    with pytest.raises(AttributeError, match="Nothing"):
        _ = datamodules.Nothing


class Masked(InMemory):
    """Numbers in which some cells are missing, with conditions and a validation split of their own."""

    def load(self, split: Literal["train", "test"]) -> Samples:
        mask = torch.ones(10, 3, dtype=torch.bool)
        mask[0] = False
        x = torch.arange(30.0).reshape(10, 3).where(mask, torch.tensor(99.0))
        return Samples(x, c=torch.zeros(10, 4), mask=mask)

    def load_validation(self) -> Samples:
        return self.load("train")


def test_spec_says_what_a_model_must_know() -> None:
    spec = Numbers(batch_size=8, transforms=[Pad(5), StaticBinarize()], condition="label").spec
    assert (spec.input_shape, spec.num_train, spec.value_range) == ((1, 5, 5), 90, (0.0, 1.0))
    assert (spec.num_classes, spec.condition_shape) == (100, ())
    table = Masked(batch_size=4)
    assert (table.spec.input_shape, table.spec.num_train, table.spec.num_classes) == ((3,), 10, 0)
    assert (table.spec.condition_shape, table.spec.value_range) == ((4,), (3.0, 29.0))
    batch = next(iter(table.val_dataloader()))
    assert batch.mask is not None
    assert batch.c is not None
    assert (batch.mask.dtype, batch.c.shape) == (torch.bool, (4, 4))
    assert torch.equal(take(table.load("train"), torch.tensor([2])).x, torch.tensor([[6.0, 7.0, 8.0]]))


def test_labels_become_conditions() -> None:
    batch = next(iter(Numbers(batch_size=8, condition="label").train_dataloader()))
    assert batch.c is not None
    assert torch.equal(batch.c, y(batch))


class Broken(InMemory):
    """Whatever it is given."""

    def __init__(self, samples: Samples, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.samples = samples

    def load(self, split: Literal["train", "test"]) -> Samples:
        return self.samples


def test_bad_arguments_are_refused() -> None:
    for kwargs in ({"batch_size": 0}, {"eval_batch_size": 0}, {"val_fraction": 0.0}, {"val_fraction": 1.0}):
        with pytest.raises(ConfigError, match=next(iter(kwargs))):
            Numbers(**kwargs)
    with pytest.raises(ConfigError, match=r"batch_size 4096 is larger than the 1,350 training samples: lower it"):
        Numbers(n=1500, batch_size=4096).setup("fit")
    with pytest.raises(ConfigError, match="leaves none to train on"):
        Numbers(n=1).setup("fit")
    flip: list[Transform] = [Flip()]
    pad: list[Transform] = [Pad(8)]
    for transforms in (flip, pad):
        with pytest.raises(ConfigError, match="mask"):
            Masked(transforms=transforms).setup("fit")
    with pytest.raises(ConfigError, match="no labels"):
        Broken(Samples(torch.zeros(5, 1)), condition="label").setup("fit")


def test_bad_data_are_refused() -> None:
    with pytest.raises(DataError, match="no train samples"):
        Broken(Samples(torch.zeros(0, 1))).setup("fit")
    with pytest.raises(DataError, match=r"5 samples, but 4 entries in their y"):
        Broken(Samples(torch.zeros(5, 1), torch.zeros(4))).setup("fit")
    with pytest.raises(DataError, match="float64"):
        Broken(Samples(torch.zeros(5, 1, dtype=torch.float64))).setup("fit")
