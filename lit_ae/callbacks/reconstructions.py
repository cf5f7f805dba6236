"""Pictures of what the model gives back, and of what it makes up."""

from __future__ import annotations

from lightning.pytorch import Trainer

from lit_ae.batch import Batch
from lit_ae.callbacks.collector import Collector, Rows
from lit_ae.callbacks.figures import publish
from lit_ae.errors import ConfigError
from lit_ae.models.base import Autoencoder
from lit_ae.models.generative import Generative
from lit_ae.plots import reconstructions, samples
from lit_ae.plots.tiles import limits


class Reconstructions(Collector):
    """Draw validation samples over their reconstructions, and samples of the prior where the model has one.

    `reconstructions.png` decodes the posterior's mode, never a sample of it; `samples.png` shows E[x|z] with z from the
    prior.

    Args:
        n: Number of validation samples.
        samples: Number of samples of the prior; 0 for none.
        every_n_epochs: How often to draw; 0 for the end of training alone, when it always draws.
        history: Keep the pictures of every epoch drawn, not the newest alone.
    """

    def __init__(self, n: int = 12, samples: int = 60, every_n_epochs: int = 5, history: bool = False) -> None:
        super().__init__(every_n_epochs, n)
        if samples < 0:
            raise ConfigError(f"Reconstructions needs samples of 0 or more: got {samples}.")
        self.samples, self.history = samples, history

    def collect(self, model: Autoencoder, batch: Batch) -> Rows:
        """Samples and their conditions; what is missing stays so."""
        n = self.max_samples
        c, mask = (None if part is None else part[:n] for part in (batch.c, batch.mask))
        x_hat = model.reconstruct(batch.x[:n], c, mask)
        rows = {"x": batch.x[:n].float(), "x_hat": x_hat.float()}
        if mask is not None:
            rows["x"] = rows["x"].where(mask, float("nan"))
        return rows if c is None else {**rows, "c": c}

    def draw(self, trainer: Trainer, model: Autoencoder, rows: Rows) -> None:
        """Draw and publish both pictures."""
        n = self.max_samples
        x, x_hat = rows["x"][:n], rows["x_hat"][:n]
        publish(trainer, "reconstructions", lambda: reconstructions(x, x_hat), self.history)
        if isinstance(model, Generative) and self.samples:
            c = rows.get("c")
            if c is not None:
                c = c.repeat(-(-self.samples // len(c)), *[1] * (c.ndim - 1))[: self.samples]
            drawn, span = model.sample(self.samples, c).float(), limits(x.cpu().numpy())
            publish(trainer, "samples", lambda: samples(drawn, span), self.history)
