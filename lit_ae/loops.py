"""Lightning's training loops, with the two moments at which all of a run's state is settled."""

from __future__ import annotations

from typing import Any, Protocol

from lightning.pytorch import Trainer
from lightning.pytorch.loops import _Loop
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.loops.fit_loop import _FitLoop
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector


class Observer(Protocol):
    """Who is told when the state is settled: a checkpoint that is taken then is resumed exactly."""

    def after_batch(self, trainer: Trainer, ends: bool) -> None:
        """An optimizer step is done, and the validation that was due after it; the epoch goes on, unless it ends."""

    def after_epoch(self, trainer: Trainer) -> None:
        """An epoch is done, its metrics logged and every schedule stepped."""

    def at_end(self, trainer: Trainer) -> None:
        """Training is done; callbacks have not been told yet."""


class EpochLoop(_TrainingEpochLoop):
    """The batches of an epoch. What it adds to a checkpoint says how to go on.

    `settled`: nothing is left to be done for the batches that were counted. `due`: only the validation is.
    """

    observer: Observer
    settled = False
    due = False

    def on_advance_end(self, data_fetcher: _DataFetcher) -> None:
        """Validate where that is due, then tell that the batch is done."""
        self.due = True
        super().on_advance_end(data_fetcher)
        self.due = False
        if self._num_ready_batches_reached() or self._should_accumulate():
            return  # the fit loop tells of the end of an epoch; gradients of half a step are in no checkpoint
        self.settled = True
        self.observer.after_batch(self.trainer, self.done)
        self.settled = False

    def advance(self, data_fetcher: _DataFetcher) -> None:
        """Train one batch; Lightning's way to make up for a validation is for checkpoints of other moments."""
        if self.restarting and self.due:
            self.val_loop.restarting = False  # from its first batch on: what it had counted is in no checkpoint
            return
        if self.restarting and self.settled:
            self.restarting = False
        self.due = self.settled = False
        super().advance(data_fetcher)

    def _broadcast_sigterm_tensor(self) -> None:
        """Nothing: whether to stop is agreed upon after the batch, and not after every one."""

    def on_save_checkpoint(self) -> dict[str, Any]:
        """Say what is left to be done."""
        return {**super().on_save_checkpoint(), "settled": self.settled, "due": self.due}

    def on_load_checkpoint(self, state_dict: dict[str, Any]) -> None:
        """Learn what is left to be done."""
        super().on_load_checkpoint(state_dict)
        self.settled, self.due = state_dict.get("settled", False), state_dict.get("due", False)


class FitLoop(_FitLoop):
    """The epochs."""

    epoch_loop: EpochLoop

    @_Loop.restarting.setter  # type: ignore[attr-defined]
    def restarting(self, restarting: bool) -> None:
        """Restart within an epoch only where the checkpoint was: `max_steps` makes no difference."""
        current = self.epoch_progress.current
        unfinished = current.ready != current.processed or current.started != current.processed  # type: ignore[attr-defined]
        _Loop.restarting.fset(self, restarting and unfinished)  # type: ignore[attr-defined]

    def on_advance_end(self) -> None:
        """End the epoch, then tell."""
        self._restarting = False  # else an epoch that was resumed would leave out the schedulers that wait for a metric
        super().on_advance_end()
        self.epoch_loop.settled = True
        self.epoch_loop.observer.after_epoch(self.trainer)

    def on_run_end(self) -> None:
        """Tell before callbacks change the weights for good."""
        self.epoch_loop.settled = True
        self.epoch_loop.observer.at_end(self.trainer)
        super().on_run_end()


class Deaf(_SignalConnector):
    """Leaves signals alone: Lightning's handlers save, and talk to other processes, in the middle of a step."""

    def register_signal_handlers(self) -> None:
        """Nothing."""


def leave_signals_alone(trainer: Trainer) -> None:
    """Let a trainer install no handlers of its own."""
    trainer._signal_connector = Deaf(trainer)


def install(trainer: Trainer, observer: Observer) -> None:
    """Let a trainer tell of settled moments; it takes no loops of ours, and its own hold what was set so far."""
    trainer.fit_loop.__class__ = FitLoop
    trainer.fit_loop.epoch_loop.__class__ = EpochLoop
    trainer.fit_loop.epoch_loop.observer = observer  # type: ignore[attr-defined]
