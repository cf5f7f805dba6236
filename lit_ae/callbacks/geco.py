"""A constraint on the reconstruction instead of a weight."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lit_ae.batch import Batch
from lit_ae.callbacks.scheduler import Scheduler, autoencoder
from lit_ae.errors import ConfigError


class GECO(Scheduler):
    """Minimise the rate subject to E[term] ≤ target: the multiplier λ on the distortion follows the constraint.

    After each batch C̄ ← α C̄ + (1 − α) C with C = term − target, then λ ← λ exp(step_size · C̄), C̄ clipped.
    Validation keeps weight 1, so `val/loss` stays comparable between runs.

    Args:
        target: Value that the batch mean of the term must not exceed, κ: nats per sample for `distortion`.
        term: Name of the constrained term, as logged under `train/`.
        step_size: How fast λ moves, per unit of the constraint.
        decay: Weight of the past in the moving average of the constraint, α.
        clip: Largest violation that one step takes into account, which keeps early λ bounded.
        limits: Smallest and largest λ.

    Raises:
        ConfigError: An argument is out of range, the loss has no such term, or a schedule decides the distortion's
            weight too.

    Reference:
        Rezende & Viola, "Taming VAEs", 2018, algorithm 1. https://arxiv.org/abs/1810.00597
    """

    def __init__(
        self,
        target: float,
        term: str = "distortion",
        step_size: float = 0.01,
        decay: float = 0.99,
        clip: float = 1.0,
        limits: tuple[float, float] = (1e-6, 1e6),
    ) -> None:
        super().__init__("distortion")
        if step_size <= 0 or not 0 <= decay < 1 or clip <= 0 or not 0 < limits[0] < limits[1]:
            raise ConfigError(
                "GECO needs step_size and clip above 0, decay in [0, 1) and rising limits above 0: "
                f"got {step_size:g}, {clip:g}, {decay:g} and {limits}."
            )
        self.target, self.term, self.limits = target, term, limits
        self.step_size, self.decay, self.clip = step_size, decay, clip
        self.multiplier: Tensor | None = None  # both stay on the device: no synchronisation per step
        self.average: Tensor | None = None

    def value(self, count: int) -> Tensor:
        """λ, whatever the count."""
        assert self.multiplier is not None
        return self.multiplier

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Register, and forget an earlier fit; a checkpoint's state is loaded after this."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self.multiplier = self.average = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring λ to the device; it starts at the model's own weight."""
        device = pl_module.device
        if self.multiplier is None:
            start = autoencoder(pl_module, self).coefficients[self.coefficient]
            self.multiplier = torch.tensor(start, device=device)
        self.multiplier = self.multiplier.to(device)
        self.average = None if self.average is None else self.average.to(device)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Move λ by the mean of the term over all processes."""
        terms = outputs["terms"]
        if not terms:  # the batch was left out, on every process
            return
        if self.term not in terms:
            raise ConfigError(f"GECO cannot constrain {self.term!r}: the loss has {', '.join(map(repr, terms))}.")
        assert self.multiplier is not None
        mean = trainer.strategy.reduce(terms[self.term].float() * batch.weight, reduce_op="mean")
        violation = mean - self.target
        self.average = violation if self.average is None else torch.lerp(violation, self.average, self.decay)
        step = (self.step_size * self.average.clamp(-self.clip, self.clip)).exp()
        self.multiplier = (self.multiplier * step).clamp(*self.limits)

    def state_dict(self) -> dict[str, float | None]:
        """λ and C̄, exactly."""
        state = {"multiplier": self.multiplier, "average": self.average}
        return {name: None if value is None else value.item() for name, value in state.items()}

    def load_state_dict(self, state_dict: dict[str, float | None]) -> None:
        """Continue where the run stopped."""
        restored = {name: None if value is None else torch.tensor(float(value)) for name, value in state_dict.items()}
        self.multiplier, self.average = restored["multiplier"], restored["average"]
