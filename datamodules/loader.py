"""The fast path: order, sharding over processes, and batches that are on the device and transformed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from datamodules.samples import Samples, Source
from datamodules.transforms import Transform
from lit_ae.batch import Batch, key

__all__ = ["BatchLoader", "EpochSampler", "evaluation_shards", "training_shards"]

NOISE = 0x6E6F697365  # apart from the keys that models draw from: equal keys would tie their noise to the data's


class EpochSampler:
    """The order of an epoch: a function of (seed, epoch) alone, so that a resumed run sees the same one.

    Args:
        n: Number of samples, or their positions in the source, (n,).
        shuffle: Whether the order changes with the epoch.
        seed: Seed of the order.
    """

    def __init__(self, n: int | Tensor, shuffle: bool = False, seed: int = 0) -> None:
        self.positions = torch.arange(n) if isinstance(n, int) else n
        self.shuffle, self.seed, self.epoch = shuffle, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each training epoch."""
        self.epoch = epoch

    def order(self) -> Tensor:
        """Positions in the source, (n,)."""
        if not self.shuffle:
            return self.positions
        generator = Generator().manual_seed(key(self.seed, self.epoch))
        return self.positions[torch.randperm(len(self), generator=generator)]

    def __iter__(self) -> Iterator[int]:
        return iter(self.order().tolist())

    def __len__(self) -> int:
        return len(self.positions)


Shard = tuple[int, int, float]  # first position in the order, last + 1, weight


def training_shards(n: int, batch_size: int, rank: int, world: int, drop_last: bool = False) -> list[Shard]:
    """This process's part of each global batch of batch_size · world consecutive positions.

    Every position belongs to exactly one process, and every process has as many steps. The last, smaller
    global batch is split as evenly as can be; where it has less than one sample per process it joins the one before.
    """
    size = batch_size * world
    ends = list(range(size, n + 1, size))
    rest = n - (ends[-1] if ends else 0)
    if rest >= world and not (drop_last and ends):
        ends.append(n)
    elif rest and ends and not drop_last:
        ends[-1] = n
    shards, start = [], 0
    for end in ends:
        share, extra = divmod(end - start, world)
        first = start + rank * share + min(rank, extra)
        local = share + (rank < extra)
        shards.append((first, first + local, local * world / (end - start)))
        start = end
    return shards


def evaluation_shards(n: int, batch_size: int, rank: int, world: int) -> list[Shard]:
    """Whole batches in order, every world-th one; a process that has run out repeats the first with weight 0."""
    numbers = range(-(-n // batch_size))
    shards = []
    for number in range(rank, -(-len(numbers) // world) * world, world):
        start = number * batch_size if number in numbers else 0
        shards.append((start, min(start + batch_size, n), float(number in numbers)))
    return shards


class BatchLoader:
    """Yields `Batch`es that are on the device and transformed; not a DataLoader, so Lightning leaves it as it is.

    Its `state_dict` holds the number of the next batch: a run that is resumed in the middle of an epoch goes on there.

    Args:
        source: Where samples come from.
        batch_size: Samples per process and batch.
        sampler: The order of an epoch.
        transforms: Applied to x in this order, on the device.
        seed: Seed of the transforms' noise.
        device: Where batches are wanted.
        rank: Number of this process.
        world: Number of processes.
        training: Shards and noise for training, or else for evaluation.
        drop_last: In training, leave out the last, smaller batch.
    """

    batch_sampler = None  # Lightning looks for it beside `sampler`

    def __init__(
        self,
        source: Source,
        batch_size: int,
        sampler: EpochSampler,
        transforms: Sequence[Transform] = (),
        seed: int = 0,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
        training: bool = False,
        drop_last: bool = False,
    ) -> None:
        self.source, self.sampler, self.seed = source, sampler, seed
        self.device, self.rank, self.world, self.training = torch.device(device), rank, world, training
        self.transforms = [transform for transform in transforms if training or not transform.training_only]
        self.random = any(transform.random for transform in self.transforms)
        n = len(sampler)
        if training:
            self.shards = training_shards(n, batch_size, rank, world, drop_last)
        else:
            self.shards = evaluation_shards(n, batch_size, rank, world)
        self._next = 0
        self._resume: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.shards)

    def state_dict(self) -> dict[str, Any]:
        """Epoch and number of the next batch."""
        return {"epoch": self.sampler.epoch, "batch": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next iteration start where the state was taken, if it is of the same epoch."""
        self._resume = dict(state)

    def __iter__(self) -> Iterator[Batch]:
        # Lightning asks for iterators before it sets the epoch: nothing here runs before the first batch is wanted
        resume, self._resume = self._resume, {}
        start = resume["batch"] % len(self) if resume.get("epoch") == self.sampler.epoch else 0
        order = self.sampler.order().to(self.source.device)
        generator = Generator(self.device) if self.random else Generator()
        shards = self.shards[start:]
        fetched = self.source.fetch(order[first:last] for first, last, _ in shards)
        for number, (samples, (_, _, weight)) in enumerate(zip(fetched, shards, strict=True), start):
            if self.random:
                generator.manual_seed(self._noise_key(number))
            self._next = number + 1
            yield self._batch(samples, weight, generator)

    def _noise_key(self, number: int) -> int:
        if self.training:
            return key(NOISE, self.seed, self.sampler.epoch, number, self.rank)
        return key(NOISE, self.seed, number * self.world + self.rank)

    def _batch(self, samples: Samples, weight: float, generator: Generator) -> Batch:
        x, y, c, mask = samples if self.device.type == "cpu" else self._move(samples)
        if x.dtype == torch.uint8:
            x = x.float().div_(self.source.scale)
        for transform in self.transforms:
            x = transform(x, generator)
        return Batch(x, y, c, mask, weight)

    def _move(self, samples: Samples) -> list[Any]:
        pin = self.device.type == "cuda" and self.source.device.type == "cpu"
        return [
            None if tensor is None else (tensor.pin_memory() if pin else tensor).to(self.device, non_blocking=True)
            for tensor in samples
        ]
