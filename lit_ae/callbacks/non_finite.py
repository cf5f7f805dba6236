"""Stops, or leaves batches out, where an input or a loss is not finite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer

from lit_ae.batch import Batch
from lit_ae.callbacks.scheduler import autoencoder
from lit_ae.errors import ConfigError, NonFiniteError
from lit_ae.finite import check, finite, suspects
from lit_ae.models.base import Autoencoder

SOUND, GRADIENT, LOSS, INPUT = range(4)  # what is wrong, the first cause last
WHAT = {GRADIENT: "a gradient", LOSS: "the loss", INPUT: "the input"}
MEND = "lower the learning rate, clip gradients (--trainer.gradient_clip_val 1), or look at the data"
CLEAN = "mend the data, or have such batches left out: --trainer.callbacks+=NonFinite --trainer.callbacks.action=skip"
NEVER = 2**62


class NonFinite(Callback):
    """Stop before a batch is trained on whose input or loss is nan or infinite, or leave such batches out.

    The command line adds it to every training, with `stop`. A batch that is left out leaves no trace in weights,
    optimizer, buffers (batch statistics, codebooks) and logged means, on no process; schedules and the number of steps
    count it. Under accumulation the others of its step stand for it. Where the loss is finite but a gradient is not,
    the whole step is left out, and its loss stays in the means; fp16, whose scaler does so by itself, is left alone in
    this. On an accelerator `stop` looks at what it has seen where values are logged or saved, so that no step waits
    for the host.

    Args:
        action: stop (status 5), or skip.
        most: Number of batches in a run that may be left out; one more stops it.

    Raises:
        ConfigError: An argument is out of range, or the strategy cannot leave batches out.
        NonFiniteError: Training stops.
    """

    def __init__(self, action: Literal["stop", "skip"] = "stop", most: int = 10) -> None:
        if action not in ("stop", "skip"):
            raise ConfigError(f"NonFinite knows the actions stop and skip: got {action}.")
        if most < 0:
            raise ConfigError(f"NonFinite needs most of 0 or more batches: got {most}.")
        self.action, self.most = action, most
        self.skipped = 0
        self._trainer: Trainer | None = None
        self._lazy = False
        self._first: Tensor | None = None  # the first fault, on an accelerator
        self._kept: list[tuple[Tensor, Tensor]] = []  # buffers, and what they held before the batch
        self._input = SOUND
        self._good = self._bad = 0  # batches since the last step

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse what cannot work."""
        if stage != "fit":
            return
        autoencoder(pl_module, self)
        if self.action == "skip" and not isinstance(trainer.strategy, DDPStrategy | SingleDeviceStrategy):
            raise ConfigError(
                f"NonFinite leaves no batches out under {type(trainer.strategy).__name__}: use ddp, or action: stop."
            )
        self.skipped = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the model ask."""
        self._trainer = trainer
        self._lazy = self.action == "stop" and pl_module.device.type != "cpu"
        self._first = torch.full((), NEVER, dtype=torch.int64, device=pl_module.device)
        self._good = self._bad = 0
        model = autoencoder(pl_module, self)
        model.guard = self
        if self.action == "skip":
            self._kept = [(buffer, buffer.clone()) for buffer in model.buffers()]

    def admit(self, batch: Batch, batch_idx: int) -> Batch:
        """The batch itself, or with zeros in place of an input that is not finite, so that nothing stumbles over it."""
        observed = batch.x if batch.mask is None else batch.x.where(batch.mask, 0)
        if self._lazy:
            self._note(batch_idx, INPUT, observed)
            return batch
        for buffer, kept in self._kept:
            kept.copy_(buffer)
        if finite(observed):
            self._input = SOUND
            return batch
        self._input = INPUT
        return batch._replace(x=batch.x.nan_to_num(0.0, 0.0, 0.0))

    def refuse(self, batch_idx: int, loss: Tensor) -> bool:
        """Whether the batch is left out, on all processes alike."""
        trainer = self._running()
        if self._lazy:
            self._note(batch_idx, LOSS, loss)
            if trainer._logger_connector.should_update_logs:
                self._look(trainer)
            return False
        found = self._input or (SOUND if finite(loss.detach()) else LOSS)
        if trainer.world_size > 1:
            shared = torch.tensor(found, device=loss.device)
            found = int(trainer.strategy.reduce(shared, reduce_op="max"))
        if found == SOUND:
            self._good += 1
            return False
        self._bad += 1
        self._out(found, trainer.current_epoch, batch_idx)
        return True

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Let no batch that was left out, and no gradient that is not finite, move the weights."""
        good, bad, self._good, self._bad = self._good, self._bad, 0, 0
        if self._lazy:
            return
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if good:
            if bad:
                torch._foreach_mul_(gradients, (good + bad) / good)
            plugin = trainer.precision_plugin
            scaled = isinstance(plugin, MixedPrecision) and plugin.scaler is not None
            if scaled or not suspects(gradients):  # processes share their gradients, hence the answer
                return
            self._out(GRADIENT, trainer.current_epoch, trainer.fit_loop.batch_idx)
        for parameter in parameters:
            parameter.grad = None  # which every optimizer passes over, decay and momentum included

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log how many batches the run has left out."""
        self._look(trainer)
        if self.action == "skip":
            pl_module.log("train/skipped", float(self.skipped), sync_dist=True)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse weights that are not finite on every process, rather than on the one that writes."""
        self._look(trainer)
        if trainer.world_size > 1:
            check(checkpoint, [name for name, _ in pl_module.named_buffers()])

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the model go."""
        self._look(trainer)
        self._release(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Let the model go."""
        self._release(pl_module)

    def state_dict(self) -> dict[str, int]:
        """How many batches were left out, which a continued run counts on."""
        return {"skipped": self.skipped} if self.action == "skip" else {}

    def load_state_dict(self, state_dict: Mapping[str, int]) -> None:
        """Count on.

        Raises:
            ValueError: The count is no number.
        """
        skipped = state_dict.get("skipped", 0)
        if type(skipped) is not int:
            raise ValueError("the number of skipped batches is none")
        self.skipped = skipped

    def _running(self) -> Trainer:
        assert self._trainer is not None
        return self._trainer

    def _release(self, pl_module: LightningModule) -> None:
        if isinstance(pl_module, Autoencoder):
            pl_module.guard = None
        self._trainer, self._first, self._kept = None, None, []

    def _out(self, found: int, epoch: int, batch_idx: int) -> None:
        """Stop, or count and say that the batch is left out."""
        place = f"{WHAT[found]} of batch {batch_idx} in epoch {epoch} is not finite"
        if self.action == "stop":
            raise self._error(f"{place[0].upper()}{place[1:]}: {CLEAN if found == INPUT else MEND}.")
        for buffer, kept in self._kept:
            buffer.copy_(kept)
        self.skipped += 1
        if self.skipped > self.most:
            raise self._error(
                f"{place[0].upper()}{place[1:]}, and so were {self.most} batches before it, which is as many as "
                f"NonFinite leaves out: {MEND}."
            )
        rank_zero_warn(
            f"Batch {batch_idx} of epoch {epoch} is left out, {self.skipped} of at most {self.most}: {place}."
        )

    def _error(self, text: str) -> NonFiniteError:
        """What every process raises, and the first one says."""
        error = NonFiniteError(text)
        error.quiet = not self._running().is_global_zero
        return error

    def _note(self, batch_idx: int, found: int, values: Tensor) -> None:
        """Remember the first fault on the device, without waiting for it."""
        assert self._first is not None
        if values.is_floating_point():
            code = ((self._running().current_epoch << 32) | batch_idx) * 4 + INPUT - found
            torch.minimum(self._first, torch.where(values.detach().isfinite().all(), NEVER, code), out=self._first)

    def _look(self, trainer: Trainer) -> None:
        """Stop where a fault was noted, on all processes."""
        if not self._lazy or self._first is None:
            return
        first = self._first
        if trainer.world_size > 1:
            first = trainer.strategy.reduce(first.clone(), reduce_op="min")
        if (code := int(first)) != NEVER:
            number, found = divmod(code, 4)
            self._out(INPUT - found, number >> 32, number & (2**32 - 1))


def watched(callbacks: Sequence[Callback]) -> list[Callback]:
    """The callbacks with one NonFinite among them: the last that is given, or else one that stops."""
    given = [callback for callback in callbacks if isinstance(callback, NonFinite)]
    return [*(callback for callback in callbacks if callback not in given), *(given[-1:] or [NonFinite()])]
