"""The hooks that every variant fills in, and all that is written once for every variant."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import reduce
from operator import add
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lit_ae.batch import Batch, DataError, DataSpec, key
from lit_ae.errors import ConfigError, NonFiniteError
from lit_ae.finite import BUFFERS
from lit_ae.likelihoods import Likelihood
from lit_ae.models.arguments import plain
from lit_ae.models.guard import Guard, nothing
from lit_ae.models.means import Means, gathered
from lit_ae.models.output import Latent, Output
from lit_ae.models.randomness import reseed
from lit_ae.models.reopened import reopened
from lit_ae.optim import FusedAdam, stop_driver_search
from lit_ae.posteriors import Posterior

Coefficients = dict[str, float | Tensor]
Schedule = Callable[[int], float | Tensor]  # batches trained so far → value


class Autoencoder(LightningModule, ABC):
    """batch → corrupt → encode → q → z → decode → p → loss → terms → scalar.

    Args:
        spec: What the model must know of its data; the command line fills it in from the datamodule.
        optimizer: Builds the optimizer from the parameters.
        lr_scheduler: Builds a learning-rate scheduler, stepped once per epoch, from the optimizer.

    Attributes:
        coefficients: Every weight and scheduled scalar with its target value. A coefficient named like a loss term
            weighs it; a term without one weighs 1; `loss` reads the others.
        schedules: Coefficients that change while training, as functions of the batch count; callbacks fill it.
        guard: Looks at every training batch; a callback sets it.
    """

    def __init__(
        self,
        spec: DataSpec | None = None,
        optimizer: Callable[[Iterable[Tensor]], Optimizer] = FusedAdam,
        lr_scheduler: Callable[[Optimizer], LRScheduler] | None = None,
    ) -> None:
        super().__init__()
        if spec is None or spec.input_shape is None:
            raise ConfigError(f"{type(self).__name__} needs the shape of its data: pass spec=data.spec.")
        self.save_hyperparameters(logger=False)
        if "_instantiator" not in self.hparams:  # built in Python, not by the command line
            arguments = {name: plain(value, name) for name, value in self.hparams.items()}
            path = plain(type(self), "class")["class_path"]
            instantiator = "lightning.pytorch.cli.instantiate_module"
            self._set_hparams({**arguments, "_class_path": path, "_instantiator": instantiator})
        self.spec, self.input_shape = spec, tuple(spec.input_shape)
        self.make_optimizer, self.make_lr_scheduler = optimizer, lr_scheduler
        self.coefficients: dict[str, float] = {"distortion": 1.0}
        self.schedules: dict[str, Schedule] = {}
        self.guard: Guard | None = None
        self.samples = 1
        self._means = {stage: Means() for stage in ("train", "val", "test")}
        self._seed = int(os.environ.get("PL_GLOBAL_SEED", 0))

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute: strings, no parameters or modules, at once, as Lightning sets forty of them per step."""
        if type(value) is str:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    load_from_checkpoint: Any = classmethod(reopened)

    # ---- hooks: what a variant says

    @abstractmethod
    def encode(self, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Posterior:
        """q(z|x), batch (B,), from x, (B, *E)."""

    @abstractmethod
    def decode(self, z: Latent, c: Tensor | None = None, mask: Tensor | None = None) -> Likelihood:
        """p(x|z), batch (*B), event E, from z, (*B, *D)."""

    @abstractmethod
    def loss(self, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """Named, unweighted terms in nats per sample: (B,), or () where a term belongs to the whole batch."""

    def metrics(self, batch: Batch, out: Output) -> dict[str, Tensor]:
        """Diagnostics, (B,) or (), logged in evaluation and never weighted."""
        return {}

    def corrupt(self, batch: Batch) -> tuple[Batch, dict[str, Tensor]]:
        """What the encoder sees instead of the batch, and what `Output.aux` keeps of it."""
        return batch, {}

    def update(self, batch: Batch, out: Output) -> None:
        """Change state outside the optimizer, once per training batch and without gradients: EMA codebooks."""

    def check(self, batch: Batch) -> None:
        """Refuse the first batch of a loop where it does not fit the model.

        Raises:
            DataError: The samples have another shape than the model was built for.
        """
        if tuple(batch.x.shape[1:]) != self.input_shape:
            raise DataError(
                f"The model was built for samples of shape {self.input_shape}, the data have "
                f"{tuple(batch.x.shape[1:])}: use the data that it was trained on, or transforms that give its shape."
            )

    def forward(self, batch: Batch, k: int | None = None) -> Output:
        """One pass with k samples of the posterior (by default `self.samples`)."""
        seen, aux = self.corrupt(batch)
        q = self.encode(seen.x, seen.c, seen.mask)
        z = q.rsample(torch.Size((k or self.samples,)))
        return Output(q=q, z=z, p=self.decode(z, seen.c, seen.mask), aux=aux)

    # ---- written once

    @torch.no_grad()
    def embed(self, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The posterior's mode, (B, *D): never a sample."""
        return self.encode(x, c, mask).mode

    @torch.no_grad()
    def reconstruct(self, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """E[x̂|z] at the posterior's mode, (B, *E): never from a sampled z. Missing cells are filled in."""
        return self.decode(self.encode(x, c, mask).mode, c).mean

    def weigh(self, terms: dict[str, Tensor], coef: Coefficients) -> Tensor:
        """The scalar that is minimised: the one place where terms are weighted and averaged over the batch."""
        parts = []
        for name, term in terms.items():
            weight, mean = coef.get(name, 1.0), term.mean() if term.ndim else term
            parts.append(mean if isinstance(weight, float) and weight == 1 else weight * mean)
        return reduce(add, parts)

    def annealed(self, count: int) -> Coefficients:
        """Coefficients after `count` training batches."""
        return {**self.coefficients, **{name: schedule(count) for name, schedule in self.schedules.items()}}

    def diagnose(self, means: dict[str, Tensor], p: Likelihood) -> dict[str, Tensor]:
        """What follows from the means of the terms alone."""
        return {}

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Weighted loss of one batch; `terms` in the outputs are batch means for callbacks, none if it is left out."""
        trainer = self.trainer
        if batch_idx == 0:
            self.check(batch)
        reseed(key(self._seed, trainer.current_epoch, batch_idx, trainer.global_rank), batch.x.device)
        coef = self.annealed(self.batches_trained(batch_idx))
        if self.guard is not None:
            batch = self.guard.admit(batch, batch_idx)
        out = self(batch)
        means = {name: term.mean() for name, term in self.loss(batch, out, coef).items()}
        loss = self.weigh(means, coef)
        if self.guard is not None and self.guard.refuse(batch_idx, loss):
            return {"loss": nothing(self), "terms": {}}
        with torch.no_grad():
            self.update(batch, out)
            means = {name: mean.detach() for name, mean in means.items()}
            row = {"loss": loss.detach(), **means, **self.diagnose(means, out.p)}
            self._means["train"].add(row, len(batch.x))
        if trainer._logger_connector.should_update_logs and (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self._report("train", coef)
        return {"loss": loss if batch.weight == 1 else loss * batch.weight, "terms": row}

    def batches_trained(self, batch_idx: int) -> int:
        """Training batches before this one since the start of the run; resumed runs count on."""
        trainer = self.trainer
        per_epoch = trainer.num_training_batches
        if per_epoch == float("inf"):  # a stream has no epochs to count in
            return trainer.fit_loop.epoch_loop.batch_progress.total.ready - 1
        return trainer.current_epoch * int(per_epoch) + batch_idx

    def evaluate(self, stage: str, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the means of a stage, with target coefficients and noise keyed by the batch's number."""
        if batch_idx == 0:
            self.check(batch)
        number = batch_idx * self.trainer.world_size + self.trainer.global_rank
        reseed(key(self._seed, number), batch.x.device)
        out = self(batch)
        coef: Coefficients = dict(self.coefficients)
        terms = self.loss(batch, out, coef)
        loss = self.weigh(terms, coef)
        values = {"distortion": -out.p.log_prob(batch.x).mean(0), "mse": out.p.squared_error(batch.x).mean(0)}
        values |= self.metrics(batch, out) | terms
        means = {name: value.mean() for name, value in values.items()}
        row = {"loss": loss, **means, **self.diagnose(means, out.p)}
        self._means[stage].add(row, len(batch.x) if batch.weight else 0)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Evaluate one validation batch."""
        self.evaluate("val", batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Evaluate one test batch."""
        self.evaluate("test", batch, batch_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Embedding and reconstruction of one batch, with its labels where it has any."""
        reseed(key(self._seed, batch_idx * self.trainer.world_size + self.trainer.global_rank), batch.x.device)
        z = self.embed(batch.x, batch.c, batch.mask)
        labels = {} if batch.y is None else {"y": batch.y}
        return {"z": z, "reconstruction": self.decode(z, batch.c).mean, **labels}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the means of the epoch."""
        if self._trainer is not None:
            trainer = self.trainer
            device = trainer.strategy.root_device
            self._means["train"].restore(checkpoint.get("means", {}), trainer.global_rank, trainer.world_size, device)

    def on_train_epoch_start(self) -> None:
        """Forget what a checkpoint at the end of an epoch held of it."""
        self._means["train"].reset()

    def on_train_epoch_end(self) -> None:
        """Log the means over the epoch."""
        self._report("train")

    def on_validation_epoch_end(self) -> None:
        """Log the means over all validation samples."""
        self._report("val")

    def on_test_epoch_end(self) -> None:
        """Log the means over all test samples."""
        self._report("test")

    def _report(self, stage: str, coef: Coefficients | None = None) -> None:
        window = coef is not None  # amid an epoch, whose own means go on
        means = self._means[stage].compute(lambda x: self.trainer.strategy.reduce(x, reduce_op="sum"), window)
        if not window:
            self._means[stage].reset()
        if "loss" in means and not means["loss"].isfinite():
            raise NonFiniteError(
                f"{stage}/loss is {means['loss'].item()} at step {self.trainer.global_step}: lower the learning rate, "
                "clip gradients (--trainer.gradient_clip_val 1), or look at the data."
            )
        values = {f"{stage}/{name}": value for name, value in means.items()}
        if coef is None:  # every rank holds the same values already; sync_dist says so, at the price of one more mean
            self.log_dict(values, sync_dist=True)
        else:  # `self.log` would take a millisecond per value
            values |= {f"coefficient/{name}": torch.as_tensor(value) for name, value in coef.items()}
            self.trainer._logger_connector.log_metrics(values)
            self.log(f"{stage}/loss", means["loss"], on_step=True, logger=False)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say which weights are buffers, which may hold infinities, and add the means of the epoch so far."""
        checkpoint["means"] = self._means["train"].state(lambda rows: gathered(rows, self.trainer.world_size))
        checkpoint[BUFFERS] = [name for name, _ in self.named_buffers()]

    def build_optimizer(self) -> Optimizer:
        """The one optimizer of all parameters."""
        return self.make_optimizer(self.parameters())

    def build_schedulers(self, optimizer: Optimizer) -> list[LRScheduler]:
        """What moves the learning rates, each stepped once per epoch."""
        return [] if self.make_lr_scheduler is None else [self.make_lr_scheduler(optimizer)]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """One optimizer over all parameters, and its schedulers."""
        stop_driver_search()
        optimizer = self.build_optimizer()
        schedulers = [{"scheduler": each, "monitor": "val/loss"} for each in self.build_schedulers(optimizer)]
        return [optimizer], schedulers  # type: ignore[return-value]
