"""What every datamodule shares: splits, transforms, the spec for the model and the four loaders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from datamodules.holdout import hold_out
from datamodules.loader import BatchLoader, EpochSampler
from datamodules.samples import Resident, Samples, Source, count
from datamodules.transforms import Transform
from lit_ae.batch import Batch, ConfigError, DataError, DataSpec

__all__ = ["DataModule", "InMemory"]

Split = Literal["train", "val", "test"]


class DataModule(LightningDataModule, ABC):
    """Samples in three splits, as batches that are on the device.

    A subclass says in `open` where the samples of a split come from. Everything else is written here: the validation
    split, the spec, sharding, shuffling, transforms and the loaders. Subclasses that pass `**kwargs` on get these
    arguments, and the command line sees them. Prediction runs over the test split; in evaluation on several processes
    a batch of weight 0 is a repeat, not to be counted.

    Args:
        batch_size: Samples per batch and process.
        eval_batch_size: The same outside of training, by default batch_size. Noise in evaluation belongs to the batch:
            where these are equal, so are the losses, on any number of processes.
        val_fraction: Part of the training data, drawn with `seed`, that is held out for validation; not used where the
            source comes with a validation split of its own.
        transforms: Applied in this order to batches scaled to [0, 1], on the device.
        seed: Seed of the validation split, of the order in training and of the transforms' noise.
        drop_last: Leave out the last, smaller training batch.
        resident: Keep the samples in the memory of the host, or all of them on the accelerator.
        condition: What the model is conditioned on: the label or nothing.

    Raises:
        ConfigError: An argument is out of its range, or does not fit the data.
        DataError: The data are missing, empty or damaged.

    Attributes:
        class_names: Names of the classes in y, in the order of their numbers, where the data name them.
    """

    class_names: list[str] | None = None

    def __init__(
        self,
        batch_size: int = 128,
        val_fraction: float = 0.1,
        transforms: list[Transform] | None = None,
        seed: int = 0,
        drop_last: bool = False,
        resident: Literal["host", "device"] = "host",
        condition: Literal["label"] | None = None,
        eval_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        for name, size in {"batch_size": batch_size, "eval_batch_size": eval_batch_size}.items():
            if size is not None and size < 1:
                raise ConfigError(f"--data.{name} is {size}: give at least 1.")
        if not 0 < val_fraction < 1:
            raise ConfigError(f"--data.val_fraction is {val_fraction}: give a number between 0 and 1.")
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size or batch_size
        self.val_fraction, self.seed = val_fraction, seed
        self.transforms: Sequence[Transform] = tuple(transforms or ())
        self.drop_last, self.resident, self.condition = drop_last, resident, condition
        self._sources: dict[Split, Source | None] = {}
        self._spec: DataSpec | None = None

    # ---- hooks

    @abstractmethod
    def open(self, split: Split) -> Source | None:
        """The samples of a split, called once each; None for "val" holds `val_fraction` of "train" out.

        Raises:
            DataError: They are missing or damaged.
        """

    @property
    def columns(self) -> list[int] | None:
        """One entry per column of a table, as in `DataSpec.columns`."""
        return None

    def outside(self, path: Path) -> Source:
        """Samples of the same kind from a file or folder elsewhere, as the test split holds them.

        Raises:
            ConfigError: There is no way to read others.
            DataError: They are missing, damaged or of another kind.
        """
        raise ConfigError(f"{type(self).__name__} reads no other data than its own: leave out --data.")

    def named(self, x: Tensor) -> dict[str, np.ndarray] | None:
        """Samples or what a model makes of them, (B, *E), as named columns, (B,), in the units of the data's file.

        Numbers are as they were before they were standardised, classes are called by their names. None where samples
        have no columns.
        """
        return None

    def arrays(self, x: Tensor) -> np.ndarray:
        """Samples or what a model makes of them, (B, *E), in the units of the data's file."""
        return x.float().cpu().numpy()

    # ---- written once

    def bring(self, path: Path) -> None:
        """Let the test split be samples from elsewhere."""
        self._sources["test"] = self.outside(path)

    def partition(self, n: int) -> tuple[Tensor, Tensor]:
        """Positions of the training and of the validation samples among n training samples, both in order.

        A function of (n, seed, val_fraction) alone: what is fitted on the training split can ask for it while loading.
        """
        return hold_out(n, self.val_fraction, self.seed, "val_fraction")

    def split(self, name: Split) -> tuple[Source, Tensor]:
        """Source and positions of a split; opened on first use."""
        source = self._opened(name)
        if source is not None and (name != "train" or self._opened("val") is not None):
            return source, torch.arange(len(source))
        train = self._opened("train")
        assert train is not None
        return train, self.partition(len(train))[name == "val"]

    def _opened(self, name: Split) -> Source | None:
        if name not in self._sources:
            source = self.open(name)
            if source is not None and len(source) == 0:
                raise DataError(f"{type(self).__name__} has no {name} samples: look at its arguments and files.")
            self._sources[name] = source
        return self._sources[name]

    @property
    def spec(self) -> DataSpec:
        """What a model must know of the data, after the transforms; loads the training data on first use.

        Raises:
            ConfigError: A transform or the batch size does not fit the data.
        """
        if self._spec is None:
            source, index = self.split("train")
            if self.batch_size > len(index):
                raise ConfigError(
                    f"--data.batch_size {self.batch_size} is larger than the {len(index):,} training samples: lower it."
                )
            shape, values = source.shape, source.value_range(index)
            for transform in self.transforms:
                shape = transform.output_shape(shape)
                values = None if values is None else transform.value_range(*values)
            self._spec = DataSpec(
                input_shape=shape,
                num_train=len(index),
                num_classes=classes(source.labels) if self.class_names is None else len(self.class_names),
                condition_shape=source.condition_shape,
                columns=self.columns,
                value_range=values,
            )
        return self._spec

    def setup(self, stage: str | None = None) -> None:
        """Open what the stage needs; nothing is opened twice."""
        if stage in ("fit", "validate", None):
            _ = self.spec
        if stage in ("test", "predict", None):
            self._opened("test")

    def train_dataloader(self) -> BatchLoader:
        """Shuffled anew in each epoch, every sample once over all processes."""
        overfit = 0 if self.trainer is None else self.trainer.overfit_batches  # type: ignore[attr-defined]
        return self.loader("train", training=True, shuffle=overfit == 0)

    def val_dataloader(self) -> BatchLoader:
        """The validation split in order, by whole batches."""
        return self.loader("val")

    def test_dataloader(self) -> BatchLoader:
        """The test split in order, by whole batches."""
        return self.loader("test")

    def predict_dataloader(self) -> BatchLoader:
        """The test split."""
        return self.loader("test")

    def loader(
        self,
        name: Split,
        training: bool = False,
        shuffle: bool = False,
        shard: tuple[int, int] = (0, 1),
        rows: Tensor | None = None,
    ) -> BatchLoader:
        """Batches of a split for this process: its number, their number and the device come from the trainer.

        Args:
            name: Which split.
            training: Shards and noise for training, or else for evaluation.
            shuffle: Whether the order changes with the epoch.
            shard: Number of this process, and their number, where there is no trainer.
            rows: Which samples of the split, by their number in it; None for all.
        """
        trainer = self.trainer
        device = torch.device("cpu") if trainer is None else trainer.strategy.root_device
        rank, world = shard if trainer is None else (trainer.global_rank, trainer.world_size)
        source, index = self.split(name)
        index = index if rows is None else index[rows]
        if self.resident == "device" and source.device != device:
            source = self._move(source, device)
        if training and (len(index) < world or (self.drop_last and len(index) < self.batch_size * world)):
            raise ConfigError(
                f"--data.batch_size {self.batch_size} on {world} processes is larger than the {len(index):,} training "
                "samples: lower it."
            )
        sampler = EpochSampler(index, shuffle, self.seed)
        size = self.batch_size if training else self.eval_batch_size
        return BatchLoader(
            source, size, sampler, self.transforms, self.seed, device, rank, world, training, self.drop_last
        )

    def _move(self, source: Source, device: torch.device) -> Source:
        moved = source.to(device)
        self._sources = {name: moved if known is source else known for name, known in self._sources.items()}
        return moved

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Nothing to do for batches of our own loaders, which Lightning would search tensor by tensor."""
        if isinstance(batch, Batch) and batch.x.device == device:
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)


class InMemory(DataModule, ABC):
    """Samples that fit in memory: loaded once, held as they are (uint8 for pictures), indexed by whole batches.

    Training and validation samples are positions in one tensor. To fit something on the training split only
    (a standardisation), `load("train")` may call `self.partition(n)[0]` for its positions.

    Attributes:
        scale: The value of uint8 samples that becomes 1.
    """

    scale: float = 255.0

    @abstractmethod
    def load(self, split: Literal["train", "test"]) -> Samples:
        """All samples of the training data, validation included, or of the test data.

        Raises:
            DataError: They are missing or damaged.
        """

    def load_validation(self) -> Samples | None:
        """A validation split that the source comes with; None holds `val_fraction` of the training data out."""
        return None

    def open(self, split: Split) -> Source | None:
        """The loaded samples, held once."""
        samples = self.load_validation() if split == "val" else self.load(split)
        return None if samples is None else self.held(samples)

    def held(self, samples: Samples, scale: float | None = None, names: Sequence[str] | None = None) -> Resident:
        """Samples as a source, with the label as the condition where that is wanted.

        Raises:
            ConfigError: They have no label to be the condition, or a transform does not fit.
            DataError: They are of a wrong type, or do not fit each other.
        """
        if self.condition == "label":
            if samples.y is None:
                raise ConfigError("--data.condition is label, but the data have no labels: leave it out.")
            samples = samples._replace(c=samples.y)
        if samples.x.dtype not in (torch.uint8, torch.float32):
            raise DataError(f"x has the type {samples.x.dtype}: {type(self).__name__}.load must give uint8 or float32.")
        for name, tensor in samples._asdict().items():
            if tensor is not None and len(tensor) != count(samples):
                raise DataError(f"{count(samples):,} samples, but {len(tensor):,} entries in their {name}.")
        if samples.mask is not None and any(transform.geometric for transform in self.transforms):
            raise ConfigError("--data.transforms moves pixels, and a mask of observed cells would no longer fit.")
        return Resident(samples, self.scale if scale is None else scale, names)


def classes(labels: Tensor | None) -> int:
    """Number of classes in integer labels (N,), 0 where there are none."""
    if labels is None or labels.ndim != 1 or labels.is_floating_point():
        return 0
    return int(labels.max()) + 1
