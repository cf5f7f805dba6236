"""The posteriors as bubbles, before, while and after training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import Independent

from lit_ae.batch import Batch
from lit_ae.callbacks.collector import Collector, Rows
from lit_ae.callbacks.figures import publish, write
from lit_ae.callbacks.gif import gif
from lit_ae.callbacks.scheduler import autoencoder
from lit_ae.errors import ConfigError
from lit_ae.models.base import Autoencoder
from lit_ae.models.generative import Generative
from lit_ae.plots.bubbles import View, bubbles
from lit_ae.posteriors import DiagonalGaussian
from lit_ae.priors import UnitNormal


class History:
    """Posteriors of the same samples at several epochs.

    Args:
        most: Most epochs to keep; every second one is dropped when they are more.
        state: What `state` gave for another history.

    Attributes:
        moments: Epoch → means and standard deviations, (N, D) each, in half precision.
        y: Labels, (N,).

    Raises:
        ValueError: `state` is something else.
    """

    def __init__(self, most: int, state: dict[str, Any] | None = None) -> None:
        self.most, self.stride, self.prior = most, 1, False
        self.moments: dict[int, tuple[Tensor, Tensor]] = {}
        self.y: Tensor | None = None
        if state:
            if not sound(state):
                raise ValueError("what Bubbles remembers is no history")
            self.stride, self.prior, self.y = state["stride"], state["prior"], state["y"]
            self.moments = dict(zip(state["epochs"], zip(state["means"], state["scales"], strict=True), strict=True))

    def state(self) -> dict[str, Any]:
        """Everything, as plain values and tensors."""
        means, scales = ([moment[i] for moment in self.moments.values()] for i in (0, 1))
        plain = {"stride": self.stride, "prior": self.prior, "y": self.y, "epochs": list(self.moments)}
        return plain | {"means": means, "scales": scales}

    def add(self, epoch: int, rows: Rows) -> None:
        """Remember the posteriors after an epoch, 0 before the first; of the last one whatever the stride."""
        moment = (rows["mean"].half().cpu(), rows["scale"].half().cpu())
        y = rows["y"].cpu() if "y" in rows else None
        before = next(iter(self.moments.values()), moment)
        if before[0].shape != moment[0].shape or not same(self.y, y):  # resumed on other samples: nothing compares
            self.moments = {}
        self.y = y
        self.moments = {number: kept for number, kept in self.moments.items() if number % self.stride == 0}
        if len(self.moments) >= self.most:
            self.stride *= 2
            self.moments = {number: kept for number, kept in self.moments.items() if number % self.stride == 0}
        self.moments[epoch] = moment

    def pictures(self, names: Sequence[str] | None = None) -> tuple[Figure, list[Figure]]:
        """The first and the last moment side by side, and every moment by itself."""
        means, scales = (torch.stack([moment[i].float() for moment in self.moments.values()]) for i in (0, 1))
        titles = [title(epoch) for epoch in self.moments]
        view = View.of(means, scales, self.prior)
        ends = [0, -1] if len(titles) > 1 else [-1]
        common = (self.y, names, self.prior, view)
        still = bubbles([titles[i] for i in ends], means[ends], scales[ends], *common)
        return still, [bubbles([titles[i]], means[i : i + 1], scales[i : i + 1], *common) for i in range(len(titles))]


def sound(state: dict[str, Any]) -> bool:
    """Whether a state holds what `History.state` writes: a checkpoint may come from anywhere."""
    lists = all(isinstance(state[name], list) for name in ("epochs", "means", "scales"))
    if not lists or type(state["stride"]) is not int or state["stride"] < 1 or type(state["prior"]) is not bool:
        return False
    moments, y = [*state["means"], *state["scales"]], state["y"]
    if not all(isinstance(part, Tensor) and part.ndim == 2 for part in moments) or not isinstance(y, Tensor | None):
        return False
    return all(type(epoch) is int for epoch in state["epochs"]) and len({part.shape for part in moments}) <= 1


class Bubbles(Collector):
    """Draw mean and radius of some posteriors before and after training, and as an animation over the epochs.

    `bubbles.png` shows both moments on the same axes, `bubbles.gif` the epochs between. With more than two latents the
    plane is that of the first two principal components after training. The posteriors go into the checkpoints, so that
    a resumed run goes on.

    Args:
        max_samples: Number of validation samples whose posteriors are drawn, over all processes.
        frames: Most epochs to animate; every second one is dropped when they are more.
        class_names: Names of the classes for the legend; by default their numbers.

    Raises:
        ConfigError: The posteriors are no diagonal Gaussians of two latents or more, or an argument is out of range.
    """

    def __init__(self, max_samples: int = 200, frames: int = 40, class_names: list[str] | None = None) -> None:
        super().__init__(0, max_samples)
        if frames < 2:
            raise ConfigError(f"Bubbles needs frames of 2 or more: got {frames}.")
        self.class_names = class_names
        self.history = History(frames)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the posteriors before the first step."""
        if self.history.moments or trainer.val_dataloaders is None:
            return
        model, self._parts = autoencoder(pl_module, self), []
        training = model.training
        model.eval()
        for batch in trainer.val_dataloaders:
            self._take(trainer, model, trainer.strategy.batch_to_device(batch))
            if sum(len(part["mean"]) for part in self._parts) >= self.max_samples / trainer.world_size:
                break
        model.train(training)
        self.remember(trainer.current_epoch, model, self._joined(trainer))

    def collect(self, model: Autoencoder, batch: Batch) -> Rows:
        """Means, standard deviations and labels."""
        q = gaussian(model.encode(batch.x, batch.c, batch.mask), model)
        rows = {"mean": q.mode.float(), "scale": q.scale.float()}
        return rows if batch.y is None or batch.y.ndim > 1 else {**rows, "y": batch.y}

    def remember(self, epoch: int, model: Autoencoder, rows: Rows) -> None:
        """Add the posteriors of an epoch to the history."""
        self.history.prior = standard(model)
        self.history.add(epoch, rows)

    def report(self, trainer: Trainer, model: Autoencoder, rows: Rows) -> None:
        """Remember the posteriors of this epoch while training, of now alone elsewhere."""
        if trainer.state.fn != TrainerFn.FITTING:
            self.history = History(self.history.most)
        self.remember(trainer.current_epoch + 1, model, rows)

    def draw(self, trainer: Trainer, model: Autoencoder, rows: Rows) -> None:
        """Draw both moments, and the animation where there is more than that."""
        folder = Path(trainer.log_dir or trainer.default_root_dir) / "figures"  # asks all processes
        still, moving = self.history.pictures(self.class_names) if trainer.is_global_zero else (Figure(), [])
        publish(trainer, "bubbles", lambda: still)
        if len(moving) > 2:
            write(folder / "bubbles.gif", gif(moving))

    def state_dict(self) -> dict[str, Any]:
        """The history."""
        return self.history.state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the history of another run."""
        self.history = History(self.history.most, state_dict)


def gaussian(q: object, model: Autoencoder) -> DiagonalGaussian:
    """A posterior that is a bubble.

    Raises:
        ConfigError: It is none.
    """
    if not isinstance(q, DiagonalGaussian) or len(q.event_shape) != 1 or q.event_shape.numel() < 2:
        raise ConfigError(
            f"Bubbles are diagonal Gaussian posteriors of two latents or more, which {type(model).__name__} does not "
            "have here: leave them out, or take a variational model such as VAE."
        )
    return q


def standard(model: Autoencoder) -> bool:
    """Whether the prior is a standard normal for every sample."""
    prior = model.prior() if isinstance(model, Generative) else None
    return isinstance(prior, Independent) and isinstance(prior.base_dist, UnitNormal)


def same(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether labels are the same."""
    return one is None or other is None or torch.equal(one, other)


def title(epoch: int) -> str:
    """What a moment is called."""
    return "before training" if epoch == 0 else f"after epoch {epoch}"
