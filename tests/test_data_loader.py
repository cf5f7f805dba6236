"""Every sample once per epoch, on any number of processes, from any point of a resumed run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from datamodules.loader import BatchLoader, EpochSampler, evaluation_shards, training_shards
from datamodules.samples import Resident, Samples
from datamodules.transforms import DynamicBinarize, Flip
from lit_ae.batch import Batch
from numbers_for_tests import Numbers, labels, y

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


@pytest.mark.filterwarnings("ignore:You requested to overfit")
def test_overfitting_sees_the_same_batches_in_every_epoch(tmp_path: Path) -> None:
    seen = [labels for labels, _ in fit(tmp_path, overfit_batches=2, enable_checkpointing=False).seen]
    assert len(seen) == 6
    assert seen[:2] == seen[2:4] == seen[4:]
