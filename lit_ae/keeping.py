"""When a run's checkpoints are taken: only where all of its state is settled, and for 2% of the time at most."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any
from weakref import proxy

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor

from lit_ae import carried, loops, requeue, restoring, stopping
from lit_ae.errors import StorageError

SHARE = 0.02  # of the training time that routine saves may take; the first and the last come on top, 3% is the aim
INTERVAL = 600.0  # seconds between saves amid a long epoch
LOOK = 0.25  # seconds between two words of several processes with each other


class Checkpoint(ModelCheckpoint):
    """Keeps last.ckpt, from which a run goes on bit for bit, and best.ckpt, by validation loss.

    A checkpoint is taken after an optimizer step with all that belongs to it, or after an epoch: never in between, nor
    where something went wrong. A new best is copied in memory, and written before the next last.ckpt, at the end, at a
    stop or where training breaks: a process that dies before has not written the moment either, and finds it again.

    Args:
        folder: Where they are written.
        validates: Whether there is a validation loss.
    """

    def __init__(self, folder: str | Path, validates: bool = True) -> None:
        super().__init__(folder, "best", monitor="val/loss" if validates else None, enable_version_counter=False)
        self._due = self._saved_at = 0.0
        self._copies = 0.0  # seconds that new bests took since the last save
        self._skip = 0  # batches without a word to the other processes
        self._seen = (0.0, 0)  # when they last had one, and after which batch
        self._done = -1  # the batch after which last.ckpt was written
        self._news = False  # a validation has ended that nobody has looked at yet
        self._best: dict[str, Any] | None = None  # in memory, to be written
        self._state: dict[str, Any] = {}
        self._ended = False
        self._trial = False  # of a few batches, which leaves nothing

    # ---- hooks

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Ask for the settled moments."""
        super().setup(trainer, pl_module, stage)
        self._trial = bool(trainer.fast_dev_run)  # type: ignore[attr-defined]
        if stage == "fit" and not self._trial:
            loops.install(trainer, self)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From here on a signal waits for a settled moment; a trial of a few batches has none."""
        if self._trial:
            return
        self._due = self._saved_at = time.monotonic()
        self._seen, self._skip, self._ended = (self._saved_at, counted(trainer)), 0, False
        if self._state:
            with restoring.blamed(trainer.ckpt_path):
                carried.restore(trainer, self._state)
            self._done = counted(trainer)
            self._state = {}
        stopping.hold(requeue.number(trainer))

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the loop tells when all is settled."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Nothing: the metrics of the epoch are still to be logged."""

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Stop amid a validation, which a resumed run does anew; that before the training is no moment to stop at."""
        if trainer.sanity_checking or trainer.state.fn != "fit" or self._trial:
            return
        if number := self._agreed(trainer, False, every=False) // 2:
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, WeightAveraging):
                    callback.on_validation_epoch_end(trainer, trainer.lightning_module)  # weights change places again
            self._stop(trainer, number)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note that there is a new loss to compare."""
        self._news = trainer.state.fn == "fit" and not trainer.sanity_checking and self.monitor is not None

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Write the best that is still in memory, nothing else: weights amid a step are nobody's."""
        if not isinstance(exception, (StorageError, stopping.Stopped)) and trainer.is_global_zero:
            with contextlib.suppress(StorageError):  # what went wrong first is told
                self._write_best(trainer)
        stopping.release()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Signals end the process again; one that has come since the last word of all is obeyed where that is easy."""
        stopping.release()
        if trainer.world_size == 1:
            stopping.obey()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what no other part of the checkpoint holds.

        `epoch` is, as in any checkpoint of Lightning, the number of the last batch's epoch, counted from 0.
        """
        checkpoint["epoch"] = max(0, trainer.fit_loop.epoch_progress.current.ready - 1)
        checkpoint["lit_ae"] = carried.state(trainer)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep it until training starts: what comes before may draw."""
        self._state = checkpoint.get("lit_ae", {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore, with the folder under the name that it has now.

        Raises:
            ValueError: A score is no single number.
        """
        for name in ("best_model_score", "current_score", "kth_value"):
            if not isinstance(score := state_dict.get(name), Tensor | None) or (score is not None and score.ndim):
                raise ValueError(f"{name} is no single number")
        super().load_state_dict(carried.at_home(state_dict, str(self.dirpath)))

    # ---- settled moments

    def after_batch(self, trainer: pl.Trainer, ends: bool) -> None:
        """Save where ten minutes have passed, where the process must stop, or where training ends amid an epoch."""
        now = time.monotonic()
        due = now - self._saved_at >= INTERVAL and now >= self._due
        self._compare(trainer)
        said = self._agreed(trainer, due, every=ends)
        if said // 2:
            self._stop(trainer, said // 2)
        if said or ends:
            self._save(trainer)
        self._ended = ends

    def after_epoch(self, trainer: pl.Trainer) -> None:
        """Save where the time for it has come, or where the process must stop."""
        due = time.monotonic() >= self._due
        self._compare(trainer)
        if self._ended:  # amid the epoch, whose end an unbroken longer run does not see here
            return
        said = self._agreed(trainer, due, every=True)
        if said // 2:
            self._stop(trainer, said // 2)
        if said:
            self._save(trainer)

    def at_end(self, trainer: pl.Trainer) -> None:
        """Save what is not saved yet; a signal amid that is obeyed after it, and no job is queued again for nothing."""
        if not self._ended and self._done != counted(trainer):
            self._save(trainer)
        self._write_best(trainer)
        number = self._agreed(trainer, False, every=True) // 2
        if number and number != requeue.number(trainer):
            raise stopping.Stopped(number)

    # ---- steps

    def _compare(self, trainer: pl.Trainer) -> None:
        """Copy the state where the last validation was the best so far."""
        if not self._news:
            return
        self._news = False
        self.current_score = score = trainer.callback_metrics["val/loss"].detach().cpu().clone()
        if self.best_model_score is not None and not score < self.best_model_score:
            return
        started = time.monotonic()
        path = str(Path(str(self.dirpath)) / "best.ckpt")
        self.best_model_score = self.kth_value = score
        self.best_model_path = self.kth_best_model_path = path
        self.best_k_models = {path: score}
        if isinstance(trainer.strategy, (DDPStrategy, SingleDeviceStrategy)):
            state = trainer._checkpoint_connector.dump_checkpoint(False)  # gathers: every process takes part
            self._best = carried.copied(state) if trainer.is_global_zero else {}
        else:  # shards are written where they are
            trainer.save_checkpoint(path, False)
        self._copies += time.monotonic() - started

    def _agreed(self, trainer: pl.Trainer, due: bool, every: bool) -> int:
        """What all processes do: twice the signal that stops them, plus 1 where a save is due on the first.

        A word to each other is had a few times a second only, after the same batch everywhere.
        """
        mine = 2 * stopping.noted() + (due and trainer.is_global_zero)
        if trainer.world_size == 1:
            return mine
        if self._skip > 0 and not every:
            self._skip -= 1
            return 0
        now, (before, skipped) = time.monotonic(), self._seen
        pace = 1e6 * (now - before) / max(1, skipped)  # microseconds per batch, of the slowest
        words = torch.tensor([mine, int(pace)], device=trainer.strategy.root_device)
        said, slowest = trainer.strategy.reduce(words, reduce_op="max").tolist()
        self._skip = min(1000, int(1e6 * LOOK / max(1, slowest)))
        self._seen = (now, self._skip + 1)
        return int(said)

    def _save(self, trainer: pl.Trainer) -> None:
        """Write the best, if it is new, and then the last."""
        started = time.monotonic()
        self._write_best(trainer)
        self.last_model_path = str(Path(str(self.dirpath)) / "last.ckpt")
        trainer.save_checkpoint(self.last_model_path, False)
        self._saved_at, self._done = time.monotonic(), counted(trainer)
        self._spent(self._saved_at - started)
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.after_save_checkpoint(proxy(self))

    def _write_best(self, trainer: pl.Trainer) -> None:
        if self._best:
            trainer.strategy.save_checkpoint(self._best, self.best_model_path)
        self._best = None

    def _spent(self, seconds: float) -> None:
        """Let no routine save be due before this one, and the copies since the last, are a small share of the time.

        A new best puts off the save after the next, never the next: many of them must not keep it away.
        """
        wait = (seconds + self._copies) / SHARE
        self._due, self._copies = self._saved_at + min(wait, max(INTERVAL, seconds / SHARE)), 0.0

    def _stop(self, trainer: pl.Trainer, number: int) -> None:
        """Save, and leave.

        Raises:
            Stopped: Always.
        """
        if self._done != counted(trainer) or trainer.validating:
            self._save(trainer)
        if number == requeue.number(trainer):
            requeue.mark(trainer)
            if trainer.is_global_zero:
                requeue.ask()
        raise stopping.Stopped(number)


def counted(trainer: pl.Trainer) -> int:
    """Batches trained so far."""
    return int(trainer.fit_loop.epoch_loop.batch_progress.total.completed)
