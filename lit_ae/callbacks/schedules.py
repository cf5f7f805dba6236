"""Coefficients that change while training, as pure functions of the batch count."""

from __future__ import annotations

import math
from abc import ABC
from typing import Literal

from lightning.pytorch import Callback, LightningModule, Trainer

from lit_ae.callbacks.scheduler import Scheduler, autoencoder, known_coefficient
from lit_ae.errors import ConfigError

Shape = Literal["linear", "cosine", "sigmoid", "cyclical", "steps"]
Unit = Literal["batches", "epochs"]

STEEPNESS = 12.0  # of the sigmoid: its slope in the middle is three times the linear one


def ramp(progress: float, shape: Shape) -> float:
    """Weight of the end value, from 0 at progress 0 to 1 at progress 1: linear, half a cosine, or a logistic curve."""
    progress = min(max(progress, 0.0), 1.0)
    if shape == "cosine":
        return (1.0 - math.cos(math.pi * progress)) / 2
    if shape == "sigmoid":  # a tanh, stretched so that it starts at 0 and ends at 1
        return 0.5 + math.tanh(STEEPNESS / 2 * (progress - 0.5)) / (2 * math.tanh(STEEPNESS / 4))
    return progress


def cyclical(progress: float, cycles: int, ratio: float) -> float:
    """Ramps that start again: in each cycle up for its first `ratio`, then 1 (Fu et al. 2019, eq. 6 and 7)."""
    if progress < 0 or progress >= 1:
        return float(progress >= 1)
    return min(progress * cycles % 1.0 / ratio, 1.0)


class Ramped(Scheduler, ABC):
    """The shapes that `Schedule` and `KLAnnealing` share; see there."""

    def __init__(
        self,
        coefficient: str,
        shape: Shape,
        start: float,
        end: float | None,
        begin: float,
        length: float,
        unit: Unit,
        cycles: int,
        ratio: float,
        steps: list[tuple[float, float]] | None,
    ) -> None:
        super().__init__(coefficient)
        name = type(self).__name__
        if (shape == "steps") != bool(steps):
            raise ConfigError(f"{name} needs steps: [[at, value], ...] with shape: steps, and only with it.")
        if length <= 0 or begin < 0:
            raise ConfigError(f"{name} needs length above 0 and begin of 0 or more: got {length:g} and {begin:g}.")
        if cycles < 1 or not 0 < ratio <= 1:
            raise ConfigError(f"{name} needs cycles of 1 or more and ratio in (0, 1]: got {cycles} and {ratio:g}.")
        self.shape, self.start, self.end, self.unit = shape, float(start), end, unit
        self.begin, self.length, self.cycles, self.ratio = begin, length, cycles, ratio
        self.steps = sorted((float(at), float(value)) for at, value in steps or [])
        self.target = end
        self.unit_batches: float = 1.0  # batches per unit

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Register, and let evaluation use what training ends with."""
        super().setup(trainer, pl_module, stage)
        model = autoencoder(pl_module, self)
        last = self.steps[-1][1] if self.steps else self.end
        if last is not None:
            model.coefficients[self.coefficient] = float(last)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Learn how long an epoch is, and the value to end with.

        Raises:
            ConfigError: The data are a stream, which has no epochs.
        """
        if self.unit == "epochs":
            if math.isinf(trainer.num_training_batches):
                raise ConfigError(f"{type(self).__name__} counts epochs, but a stream has none: set unit: batches.")
            self.unit_batches = float(trainer.num_training_batches)
        self.target = autoencoder(pl_module, self).coefficients[self.coefficient]

    def value(self, count: int) -> float:
        """The coefficient after `count` training batches."""
        if self.shape == "steps":
            return next((value for at, value in reversed(self.steps) if count >= at * self.unit_batches), self.start)
        assert self.target is not None
        progress = (count / self.unit_batches - self.begin) / self.length
        cycle = self.shape == "cyclical"
        weight = cyclical(progress, self.cycles, self.ratio) if cycle else ramp(progress, self.shape)
        return self.start + (self.target - self.start) * weight


class Schedule(Ramped):
    """Move any coefficient of the model from one value to another while training.

    It is a function of the batch count alone, so a resumed run continues it exactly. Validation and test use the
    value that training ends with.

    Args:
        coefficient: Name of the coefficient: a loss term's weight, or a scalar that the loss reads.
        shape: Way from start to end: linear, cosine, sigmoid, cyclical (Fu et al. 2019) or steps.
        start: First value.
        end: Last value; by default the model's own.
        begin: When it leaves the first value, in units.
        length: How long it takes, in units.
        unit: What begin, length and steps count: batches or epochs.
        cycles: Number of ramps, for shape: cyclical.
        ratio: Part of each cycle spent rising, for shape: cyclical.
        steps: [at, value] pairs, for shape: steps; before the first one the value is start.

    Raises:
        ConfigError: The model has no such coefficient, or an argument is out of range.
    """

    def __init__(
        self,
        coefficient: str,
        shape: Shape = "linear",
        start: float = 0.0,
        end: float | None = None,
        begin: float = 0.0,
        length: float = 10.0,
        unit: Unit = "epochs",
        cycles: int = 4,
        ratio: float = 0.5,
        steps: list[tuple[float, float]] | None = None,
    ) -> None:
        super().__init__(coefficient, shape, start, end, begin, length, unit, cycles, ratio, steps)


class KLAnnealing(Ramped):
    """Raise the weight of the rate while training (Bowman et al. 2016), in cycles if asked (Fu et al. 2019).

    A rate that costs little at first lets the decoder learn to use the latents before they are pushed to the prior.

    Args:
        shape: Way from start to end: linear, cosine, sigmoid, cyclical or steps.
        start: First weight.
        end: Last weight; by default the model's own β.
        begin: When it leaves the first weight, in units.
        length: How long it takes, in units.
        unit: What begin, length and steps count: batches or epochs.
        cycles: Number of ramps, for shape: cyclical.
        ratio: Part of each cycle spent rising, for shape: cyclical.
        steps: [at, weight] pairs, for shape: steps.

    Reference:
        Bowman et al., "Generating Sentences from a Continuous Space", CoNLL 2016. https://arxiv.org/abs/1511.06349
        Fu et al., "Cyclical Annealing Schedule", NAACL 2019. https://arxiv.org/abs/1903.10145
    """

    def __init__(
        self,
        shape: Shape = "linear",
        start: float = 0.0,
        end: float | None = None,
        begin: float = 0.0,
        length: float = 10.0,
        unit: Unit = "epochs",
        cycles: int = 4,
        ratio: float = 0.5,
        steps: list[tuple[float, float]] | None = None,
    ) -> None:
        super().__init__("rate", shape, start, end, begin, length, unit, cycles, ratio, steps)


class FreeBits(Callback):
    """Leave every latent dimension a rate that is not pushed down (Kingma et al. 2016, eq. 15).

    Args:
        nats: Nats per latent dimension; the batch mean of each dimension's rate may fall to it for nothing.

    Reference:
        Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow", NeurIPS 2016.
        https://arxiv.org/abs/1606.04934
    """

    def __init__(self, nats: float = 0.1) -> None:
        if nats < 0:
            raise ConfigError(f"FreeBits needs 0 nats or more: got {nats:g}.")
        self.nats = float(nats)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Set the model's coefficient.

        Raises:
            ConfigError: The model has no free bits.
        """
        model = autoencoder(pl_module, self)
        known_coefficient(model, "free_bits", self)
        model.coefficients["free_bits"] = self.nats
