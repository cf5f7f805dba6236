"""What every callback that looks at validation samples shares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import FSDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.distributed.fsdp import FullyShardedDataParallel

from lit_ae.batch import Batch
from lit_ae.callbacks.scheduler import autoencoder
from lit_ae.errors import ConfigError
from lit_ae.models.base import Autoencoder

Rows = dict[str, Tensor]


class Collector(Callback, ABC):
    """Collects rows from validation batches, gathers them over processes, and draws them now and then.

    It draws after the last batch rather than at the end of the epoch, where a weight-averaging callback may already
    have put other weights back.

    Args:
        every_n_epochs: How often pictures are drawn; 0 for the end of training alone, when they always are.
        max_samples: Number of validation samples looked at, over all processes.
    """

    def __init__(self, every_n_epochs: int, max_samples: int) -> None:
        if every_n_epochs < 0 or max_samples < 1:
            raise ConfigError(
                f"{type(self).__name__} needs every_n_epochs of 0 or more and max_samples of 1 or more: "
                f"got {every_n_epochs} and {max_samples}."
            )
        self.every_n_epochs, self.max_samples = every_n_epochs, max_samples
        self._parts: list[Rows] = []
        self._rows: Rows = {}  # of the last validation, until they are drawn

    @abstractmethod
    def collect(self, model: Autoencoder, batch: Batch) -> Rows:
        """What to keep of a batch: tensors (B, ...), the same names for every batch."""

    def report(self, trainer: Trainer, model: Autoencoder, rows: Rows) -> None:
        """Called after every validation, on every process, with all processes' rows."""

    @abstractmethod
    def draw(self, trainer: Trainer, model: Autoencoder, rows: Rows) -> None:
        """Called when pictures are due, on every process, with all processes' rows."""

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the last validation."""
        self._parts, self._rows = [], {}

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collect this batch; after the last one, report and draw."""
        if trainer.sanity_checking:
            return
        model = autoencoder(pl_module, self)
        self._take(trainer, model, batch)
        counts = trainer.num_val_batches
        if (dataloader_idx, batch_idx + 1) == (len(counts) - 1, counts[-1]):
            self._finish(trainer, model)

    def _take(self, trainer: Trainer, model: Autoencoder, batch: Batch) -> None:
        quota = -(-self.max_samples // trainer.world_size)
        room = quota - sum(len(next(iter(part.values()))) for part in self._parts)
        with whole(trainer):
            rows = self.collect(model, batch) if room > 0 else {}
        if rows:
            keep = room if batch.weight else 0  # a repeat counts nothing, but its names and shapes do
            self._parts.append({name: value[:keep] for name, value in rows.items()})

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report and draw where the number of batches was not known."""
        self._finish(trainer, autoencoder(pl_module, self))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw what training ends with."""
        self._draw(trainer, autoencoder(pl_module, self))

    def _finish(self, trainer: Trainer, model: Autoencoder) -> None:
        if not self._parts:
            return
        self._rows = self._joined(trainer)
        self.report(trainer, model, self._rows)
        epoch, every = trainer.current_epoch + 1, self.every_n_epochs
        fitting = trainer.state.fn == TrainerFn.FITTING
        if not fitting or epoch == trainer.max_epochs or (every and epoch % every == 0):
            self._draw(trainer, model)

    def _joined(self, trainer: Trainer) -> Rows:
        parts, self._parts = self._parts, []
        return gather(trainer, {name: torch.cat([part[name] for part in parts]) for name in parts[0]})

    def _draw(self, trainer: Trainer, model: Autoencoder) -> None:
        rows, self._rows = self._rows, {}
        if not rows or not len(next(iter(rows.values()))):
            return
        training = model.training
        model.eval()
        with whole(trainer):
            self.draw(trainer, model, rows)
        model.train(training)


@contextmanager
def whole(trainer: Trainer) -> Iterator[None]:
    """Outside of a step: no gradients, the trainer's precision, and under FSDP every process's part of the weights."""
    net = trainer.strategy.model if isinstance(trainer.strategy, FSDPStrategy) else None
    gathered: AbstractContextManager[None] = nullcontext()
    if isinstance(net, FullyShardedDataParallel):
        gathered = FullyShardedDataParallel.summon_full_params(net, writeback=False)
    with torch.no_grad(), gathered, trainer.precision_plugin.forward_context():
        yield


def gather(trainer: Trainer, rows: Rows) -> Rows:
    """Join every process's rows, (N_rank, ...) each, in the order of their ranks."""
    if trainer.world_size == 1:
        return rows
    first = next(iter(rows.values()))
    counts = trainer.strategy.all_gather(torch.tensor(len(first), device=first.device)).flatten().tolist()
    joined = {}
    for name, value in rows.items():
        padded = value.new_zeros(max(counts), *value.shape[1:])
        padded[: len(value)] = value
        parts = trainer.strategy.all_gather(padded)
        joined[name] = torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
    return joined
