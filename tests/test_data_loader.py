"""Every sample once per epoch, on any number of processes, from any point of a resumed run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

import datamodules
from datamodules.base import InMemory
from datamodules.loader import BatchLoader, EpochSampler, evaluation_shards, training_shards
from datamodules.samples import Resident, Samples, take
from datamodules.transforms import DynamicBinarize, Flip, Pad, StaticBinarize, Transform
from lit_ae.batch import Batch, ConfigError, DataError


class Numbers(InMemory):
    """n pictures of one pixel, each with its own number as its label; the test split has other numbers."""

    def __init__(self, n: int = 100, loads: list[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n, self.loads = n, [] if loads is None else loads

    def load(self, split: Literal["train", "test"]) -> Samples:
        self.loads.append(split)
        y = torch.arange(self.n) + (1000 if split == "test" else 0)
        return Samples((y % 256).to(torch.uint8).reshape(-1, 1, 1, 1), y)


def labels(batches: list[Batch]) -> list[int]:
    return [label for batch in batches for label in y(batch).tolist()]


def y(batch: Batch) -> Tensor:
    assert batch.y is not None
    return batch.y


GRID = [(n, size, world) for n in (4, 7, 64, 65, 100, 129) for size in (1, 3, 32) for world in (1, 2, 3, 4)]


@pytest.mark.parametrize(("n", "size", "world"), GRID)
def test_training_sees_every_sample_once(n: int, size: int, world: int) -> None:
    ranks = [training_shards(n, size, rank, world) for rank in range(world)]
    assert sorted(i for shards in ranks for first, last, _ in shards for i in range(first, last)) == list(range(n))
    assert len({len(shards) for shards in ranks}) == 1
    for step in zip(*ranks, strict=True):
        sizes = [last - first for first, last, _ in step]
        assert min(sizes) >= 1
        assert max(sizes) - min(sizes) <= 1
        assert sum(weight for *_, weight in step) / world == pytest.approx(1)
        if len(set(sizes)) == 1:
            assert {weight for *_, weight in step} == {1.0}
        else:
            assert [weight * sum(sizes) for *_, weight in step] == pytest.approx([s * world for s in sizes])


@pytest.mark.parametrize(("n", "size", "world"), GRID)
def test_evaluation_sees_every_sample_once_with_weight(n: int, size: int, world: int) -> None:
    ranks = [evaluation_shards(n, size, rank, world) for rank in range(world)]
    seen = [i for shards in ranks for first, last, weight in shards if weight for i in range(first, last)]
    assert sorted(seen) == list(range(n))
    assert len({len(shards) for shards in ranks}) == 1
    assert all(weight in (0.0, 1.0) and last > first for shards in ranks for first, last, weight in shards)
    whole = evaluation_shards(n, size, 0, 1)
    for rank, shards in enumerate(ranks):
        assert [shard for shard in shards if shard[2]] == whole[rank::world]


def test_drop_last_leaves_only_whole_batches() -> None:
    for world in (1, 2, 3):
        shards = [training_shards(100, 16, rank, world, drop_last=True) for rank in range(world)]
        assert {last - first for rank in shards for first, last, _ in rank} == {16}
        assert len(shards[0]) == 100 // (16 * world)


def test_two_processes_see_the_global_batches_of_one() -> None:
    source = Resident(Numbers(n=150).load("train"))

    def batches(size: int, rank: int, world: int) -> list[Batch]:
        return list(BatchLoader(source, size, EpochSampler(150, True, 3), rank=rank, world=world, training=True))

    alone, first, second = batches(64, 0, 1), batches(32, 0, 2), batches(32, 1, 2)
    for one, left, right in zip(alone, first, second, strict=True):
        assert y(one).tolist() == y(left).tolist() + y(right).tolist()


def test_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = EpochSampler(50, shuffle=True, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)
    assert sorted(order(1, 2)) == list(range(50))


def test_loader_starts_anew_and_resumes_only_in_the_epoch_it_left() -> None:
    data = Numbers(n=100, batch_size=8)
    loader = data.train_dataloader()
    whole = labels(list(loader))
    assert labels(list(loader)) == whole
    iterator = iter(loader)
    seen = labels([next(iterator) for _ in range(3)])
    state = loader.state_dict()
    again = data.train_dataloader()
    again.load_state_dict(state)
    assert seen + labels(list(again)) == whole
    later = data.train_dataloader()
    later.load_state_dict(state)
    later.sampler.set_epoch(1)
    assert sorted(labels(list(later))) == sorted(whole)


class Recorder(LightningModule):
    """Writes down what it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[list[int], float]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.seen.append((y(batch).tolist(), batch.x.sum().item()))
        return self.weight * batch.x.mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder: Path, ckpt_path: Path | None = None, **kwargs: Any) -> Recorder:
    """Three epochs of four batches, with a checkpoint after every batch."""
    kwargs = {"max_epochs": 3, "callbacks": [], **kwargs}
    model = Recorder()
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder, **kwargs,
    )  # fmt: skip
    data = Numbers(n=40, batch_size=9, transforms=[DynamicBinarize()])
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=False)
    return model


@pytest.mark.parametrize("limit", [1.0, 3])
def test_a_run_resumed_after_any_batch_goes_on_exactly(tmp_path: Path, limit: float) -> None:
    every = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, every_n_train_steps=1)
    whole = fit(tmp_path, callbacks=[every], limit_train_batches=limit).seen
    per_epoch = 4 if limit == 1.0 else 3
    assert len(whole) == 3 * per_epoch
    assert whole[:per_epoch] != whole[per_epoch : 2 * per_epoch]
    for step in range(1, 3 * per_epoch):
        rest = fit(tmp_path, tmp_path / f"step={step}.ckpt", limit_train_batches=limit, enable_checkpointing=False).seen
        assert rest == whole[step:], step


@pytest.mark.parametrize("after_validation", [False, True])
def test_a_run_resumed_after_an_epoch_goes_on_exactly(tmp_path: Path, after_validation: bool) -> None:
    every = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=not after_validation)
    whole = fit(tmp_path, callbacks=[every]).seen
    for epoch in range(2):
        rest = fit(tmp_path, tmp_path / f"epoch={epoch}.ckpt", enable_checkpointing=False).seen
        assert rest == whole[4 * (epoch + 1) :], epoch


def test_noise_in_evaluation_depends_on_the_global_batch_alone() -> None:
    source = Resident(Samples(torch.full((70, 1, 8, 8), 128, dtype=torch.uint8)))

    def batches(rank: int, world: int, epoch: int, training: bool = False) -> list[Tensor]:
        sampler = EpochSampler(70)
        loader = BatchLoader(source, 16, sampler, [DynamicBinarize()], rank=rank, world=world, training=training)
        sampler.set_epoch(epoch)
        return [batch.x for batch in loader]

    alone = batches(0, 1, epoch=0)
    assert all(map(torch.equal, alone, batches(0, 1, epoch=5)))
    assert all(map(torch.equal, alone[0::2], batches(0, 2, epoch=1)))
    assert all(map(torch.equal, alone[1::2], batches(1, 2, epoch=1)))
    assert not torch.equal(alone[0], alone[1])
    first, second = (batches(0, 1, epoch, training=True) for epoch in (0, 1))
    assert not torch.equal(first[0], second[0])
    assert not torch.equal(batches(0, 2, 0, training=True)[0], batches(1, 2, 0, training=True)[0])


def test_augmentation_is_left_out_of_evaluation() -> None:
    x = torch.arange(12, dtype=torch.uint8).reshape(2, 1, 2, 3)
    loader = BatchLoader(Resident(Samples(x)), 2, EpochSampler(2), [Flip(1.0)])
    assert torch.equal(next(iter(loader)).x, x / 255)
    loader = BatchLoader(Resident(Samples(x)), 2, EpochSampler(2), [Flip(1.0)], training=True)
    assert torch.equal(next(iter(loader)).x, x.flip(-1) / 255)


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


def test_more_processes_than_samples_are_refused() -> None:
    with pytest.raises(ConfigError, match="on 50 processes"):
        attach(Numbers(n=40, batch_size=8), "cpu", world=50).train_dataloader()
    with pytest.raises(ConfigError, match="on 5 processes"):
        attach(Numbers(n=40, batch_size=8, drop_last=True), "cpu", world=5).train_dataloader()


@pytest.mark.filterwarnings("ignore:You requested to overfit")
def test_overfitting_sees_the_same_batches_in_every_epoch(tmp_path: Path) -> None:
    seen = [labels for labels, _ in fit(tmp_path, overfit_batches=2, enable_checkpointing=False).seen]
    assert len(seen) == 6
    assert seen[:2] == seen[2:4] == seen[4:]


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
    for kwargs in ({"batch_size": 0}, {"val_fraction": 0.0}, {"val_fraction": 1.0}):
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
