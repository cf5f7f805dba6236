"""A progress bar with the terms that matter, and a few plain lines where there is no terminal."""

from __future__ import annotations

import math
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from rich import get_console

SHOWN = ("elbo", "distortion", "rate")  # of the validation data; models without an ELBO show their loss
PER_SECOND = 5.0  # drawing the bar takes some 3 ms


class Progress(RichProgressBar):
    """Loss in training, and ELBO, distortion and rate in validation.

    A bar in a terminal or a notebook, redrawn a few times a second however short a step is. Elsewhere, in a file or a
    batch job, one line for every so many epochs.

    Args:
        lines: About how many lines to print over a whole run where there is no terminal; 0 prints none.
        leave: Keep the finished bar of every epoch.
    """

    def __init__(self, lines: int = 10, leave: bool = False) -> None:
        super().__init__(refresh_rate=int(PER_SECOND), leave=leave)
        self.lines = lines
        self._plain = False
        self._due = 0.0  # when the bar is next redrawn
        self._printed = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Choose between the bar and lines, on the first process only."""
        super().setup(trainer, pl_module, stage)
        console = get_console()
        if not (console.is_terminal or console.is_jupyter):
            self._plain = trainer.is_global_zero and self.lines > 0
            self.disable()

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """What stands beside the bar."""
        return {name.split("/")[-1]: short(value) for name, value in shown(trainer).items()}

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        """Lightning's, made narrow enough for a terminal of 100 columns."""
        description, bar, batches, _, speed = super().configure_columns(trainer)
        bar.bar_width = 12
        return [description, bar, batches, speed]

    def _redraw(self, last: bool = False) -> bool:
        """Whether it is time again: the only work in most batches."""
        now = time.monotonic()
        if now < self._due and not last:
            return False
        self._due = now + 1 / PER_SECOND
        return self.is_enabled

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Redraw now and then."""
        if self._redraw(args[2] + 1 == self.total_train_batches):
            super().on_train_batch_end(trainer, pl_module, *args)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Redraw now and then."""
        if self._redraw():
            super().on_validation_batch_end(trainer, pl_module, *args)

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Redraw now and then."""
        if self._redraw():
            super().on_test_batch_end(trainer, pl_module, *args)

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Redraw now and then."""
        if self._redraw():
            super().on_predict_batch_end(trainer, pl_module, *args)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on from the epoch that a continued run had reached."""
        super().on_train_start(trainer, pl_module)
        self._printed = trainer.current_epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line of the epoch before, which is complete only now."""
        super().on_train_epoch_start(trainer, pl_module)
        if self._plain and trainer.current_epoch - self._printed >= self._every(trainer):
            self._print(trainer, trainer.current_epoch)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the last epoch's line."""
        super().on_train_end(trainer, pl_module)
        if self._plain and trainer.current_epoch > self._printed:
            self._print(trainer, trainer.current_epoch)

    def _every(self, trainer: Trainer) -> int:
        return max(1, round(epochs(trainer) / self.lines)) if epochs(trainer) else 1

    def _print(self, trainer: Trainer, done: int) -> None:
        self._printed = done
        values = shown(trainer)
        words = [f"{name} {short(value)}" for name, value in values.items()]
        words[2:] = [word.removeprefix("val/") for word in words[2:]]
        nats = " nats" if "val/elbo" in values else ""
        total = f"/{epochs(trainer)}" if epochs(trainer) else ""
        print(f"epoch {done}{total}  {'  '.join(words)}{nats}", flush=True)


def shown(trainer: Trainer) -> dict[str, float]:
    """The newest of the values that matter, training first."""
    values = trainer.callback_metrics
    names = [f"val/{name}" for name in SHOWN] if "val/elbo" in values else ["val/loss"]
    names.insert(0, "train/loss")
    return {name: float(values[name]) for name in names if name in values}


def short(value: float) -> str:
    """Two decimals, and three digits where that says nothing."""
    return f"{value:.2f}" if value == 0 or 0.1 <= abs(value) < 1e5 else f"{value:.3g}"


def epochs(trainer: Trainer) -> int:
    """How many epochs there will be, 0 where nobody knows."""
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        return trainer.max_epochs
    if trainer.max_steps > 0 and math.isfinite(trainer.num_training_batches):
        return math.ceil(trainer.max_steps / max(1, trainer.num_training_batches))
    return 0
