"""What is timed, behind one interface: a bare loop, pythae's trainer, lit_ae's console command, the loader alone."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datamodules import MNIST
from datamodules.loader import BatchLoader, EpochSampler
from datamodules.samples import Resident
from lit_ae.arguments import resolve
from lit_ae.launch import import_classes, quieten
from lit_ae.lightning_cli import LitCLI

SHAPE, LATENT = (1, 28, 28), 16


@dataclass(frozen=True)
class Plan:
    """What every contender is given alike.

    Args:
        folder: Folder that holds MNIST.
        scratch: Folder for checkpoints and logs.
        device: cpu or cuda.
        download: Whether MNIST may be fetched.
        rounds: Rounds that count; one more comes first, for compilation.
        steps: Timed training steps per round.
        warmup: Steps of each round before the clock starts.
        batch: Pictures per step.
    """

    folder: Path
    scratch: Path
    device: torch.device
    download: bool = False
    rounds: int = 7
    steps: int = 500
    warmup: int = 40
    batch: int = 100

    @property
    def total(self) -> int:
        """Steps per round."""
        return self.warmup + self.steps


class Contender(ABC):
    """Something that goes through MNIST one round at a time, and stays alive, its optimizer too, between rounds.

    The clock runs from the end of step `warmup` to the end of the last step: whole steps, and nothing that comes before
    or after a training epoch. Two comparisons of integers per step are all that it costs.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, self.count, self.marks = plan, 0, [0.0, 0.0]
        self.facts: dict[str, float] = {}  # what else there is to report
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Build everything that lives longer than a round."""

    @abstractmethod
    def train(self) -> None:
        """Go through `plan.total` steps, and call `tick` after each."""

    def tick(self) -> None:
        """Count a step, and read the clock after the last one of the warm-up and after the last one."""
        self.count += 1
        if self.count == self.plan.warmup or self.count == self.plan.total:
            if self.plan.device.type == "cuda":
                torch.cuda.synchronize()
            self.marks[self.count == self.plan.total] = perf_counter()

    def measure(self) -> float:
        """Run a round; milliseconds per step."""
        self.count = 0
        self.train()
        assert self.count == self.plan.total, (type(self).__name__, self.count, self.plan.total)
        begin, end = self.marks
        return 1000 * (end - begin) / self.plan.steps


class Bare(Contender):
    """The loop that one writes by hand: pictures on the device as uint8, one gather per batch, fused Adam.

    Args:
        plan: Steps and batch size.
        encoder: Builds the encoder from (input_shape, out_features).
        decoder: Builds the decoder from (in_features, output_shape).
    """

    def __init__(self, plan: Plan, encoder: Callable[..., nn.Module], decoder: Callable[..., nn.Module]) -> None:
        torch.set_flush_denormal(True)  # as our command line does: the ratio to it shall not come from there
        self.encoder = encoder(SHAPE, 2 * LATENT).to(plan.device)
        self.decoder = decoder(LATENT, SHAPE).to(plan.device)
        super().__init__(plan)

    def prepare(self) -> None:
        self.pictures = pictures(self.plan).to(self.plan.device)
        parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)

    def train(self) -> None:
        order = torch.randperm(len(self.pictures), device=self.plan.device)
        for index in order.split(self.plan.batch)[: self.plan.total]:
            x = self.pictures.index_select(0, index).float().div_(255)
            loc, log_variance = self.encoder(x).chunk(2, 1)
            z = loc + log_variance.mul(0.5).exp() * torch.randn_like(loc)
            distortion = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
            rate = 0.5 * (loc.square() + log_variance.exp() - 1 - log_variance).sum()
            loss = (distortion + rate) / len(x)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.tick()


class Pythae(Contender):
    """pythae's own trainer, loader, networks and optimizer, on the same pictures as floats in memory."""

    def prepare(self) -> None:
        from pythae.data.preprocessors import DataProcessor
        from pythae.models import VAE, VAEConfig
        from pythae.trainers import BaseTrainer, BaseTrainerConfig
        from pythae.trainers.training_callbacks import TrainingCallback

        tick = self.tick

        class Ticks(TrainingCallback):
            """Tells our clock of every batch."""

            def on_train_step_end(self, training_config: BaseTrainerConfig, **kwargs: Any) -> None:
                tick()  # their "train step" begins with an epoch, but ends with every batch

        processor = DataProcessor()
        floats = processor.process_data(pictures(self.plan)[: self.plan.total * self.plan.batch] / 255)
        settings = BaseTrainerConfig(
            output_dir=str(self.plan.scratch / "pythae"),
            num_epochs=1,
            per_device_train_batch_size=self.plan.batch,
            no_cuda=self.plan.device.type == "cpu",
        )
        model = VAE(VAEConfig(input_dim=SHAPE, latent_dim=LATENT, reconstruction_loss="bce"))
        self.trainer = BaseTrainer(model, processor.to_dataset(floats), None, settings, [Ticks()])
        self.trainer.prepare_training()

    def train(self) -> None:
        self.trainer.train_step(1)
        self.trainer.callback_handler.on_epoch_end(training_config=self.trainer.training_config)  # closes its bar


class Built(LitCLI):
    """The console command up to the point where it would train."""

    def _run_subcommand(self, subcommand: str) -> None:
        pass


class Ticks(pl.Callback):
    """Calls a function after each training step."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self.tick = tick

    def on_train_batch_end(self, *args: Any) -> None:
        self.tick()


class LitAE(Contender):
    """What `lit_ae fit --data MNIST --model VAE ...` builds: its trainer, callbacks, CSV log, checkpoints, validation.

    Args:
        plan: Steps and batch size.
        argv: Further arguments of the command line.
    """

    def __init__(self, plan: Plan, *argv: str) -> None:
        self.argv, self.epochs = argv, 0
        super().__init__(plan)

    def prepare(self) -> None:
        import_classes()
        quieten()
        arguments = {
            "--data": "MNIST",
            "--data.root": self.plan.folder,
            "--data.batch_size": self.plan.batch,
            "--model": "VAE",
            "--model.likelihood": "Bernoulli",
            "--model.latent_dim": LATENT,
            "--trainer.accelerator": self.plan.device.type,
            "--trainer.devices": 1,
            "--trainer.limit_train_batches": self.plan.total,
            "--runs": self.plan.scratch,
        }
        given = [str(item) for pair in arguments.items() for item in pair]
        self.cli = Built(resolve(["fit", *given, *self.argv]))
        self.cli.trainer.callbacks.append(Ticks(self.tick))  # type: ignore[attr-defined]

    def train(self) -> None:
        self.epochs += 1
        trainer = self.cli.trainer
        trainer.fit_loop.max_epochs = self.epochs
        trainer.fit(self.cli.model, datamodule=self.cli.datamodule)
        (optimizer,) = trainer.optimizers
        self.cli.model.make_optimizer = lambda parameters: optimizer  # as in one long run


class Loader(Contender):
    """The training loader alone, with ten times the steps, since a step takes a tenth of a millisecond.

    Args:
        plan: Steps and batch size.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__(replace(plan, steps=10 * plan.steps))

    def prepare(self) -> None:
        torch.ones(1000).add(1).sum()  # what torch allocates for itself is not the data's
        before = memory()
        source, positions = mnist(self.plan).split("train")
        assert isinstance(source, Resident)
        self.facts = {"mnist_uint8_mb": source.samples.x.nbytes / 1e6, "process_growth_mb": round(memory() - before, 1)}
        sampler = EpochSampler(positions, shuffle=True)
        self.loader = BatchLoader(source, self.plan.batch, sampler, device=self.plan.device, training=True)

    def train(self) -> None:
        while self.count < self.plan.total:
            for _ in zip(range(self.plan.total - self.count), self.loader, strict=False):
                self.tick()


def mnist(plan: Plan) -> MNIST:
    """MNIST as our datamodule reads it, fetched where the plan allows."""
    return MNIST(root=str(plan.folder), batch_size=plan.batch, download=plan.download)


def pictures(plan: Plan) -> Tensor:
    """Training pictures without those held out, (N, 1, 28, 28) uint8."""
    source, positions = mnist(plan).split("train")
    return next(iter(source.fetch([positions]))).x


def memory() -> float:
    """Resident memory of this process in MB, nan where the system does not say."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if statm.is_file() else float("nan")
