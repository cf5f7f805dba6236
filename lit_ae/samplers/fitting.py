"""How a sampler is fitted: maximum likelihood of what a frozen model makes of its data."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim import Optimizer

from lit_ae.batch import Batch, key
from lit_ae.errors import ConfigError, NonFiniteError
from lit_ae.models.base import Autoencoder
from lit_ae.models.randomness import reseed
from lit_ae.samplers.base import Sampler


class Fitting(LightningModule):
    """Trains a sampler on the batches of the model's own data; `loss` is nats per sample.

    Args:
        sampler: What is trained.
        model: What turns samples into values: frozen, in evaluation mode, and left out of checkpoints.
        lr: Learning rate.
        seed: Seed of dropout and of latents that are drawn; the order of samples is the data's own.
    """

    def __init__(self, sampler: Sampler, model: Autoencoder, lr: float, seed: int) -> None:
        super().__init__()
        self.sampler, self.lr, self.seed = sampler, lr, seed
        self._frozen = (model,)  # in a tuple, which hides it from `parameters`, `state_dict` and `train`

    @property
    def model(self) -> Autoencoder:
        """The frozen model, where the sampler is."""
        return self._frozen[0].to(self.device)

    def values(self, batch: Batch, *number: int) -> tuple[Tensor, Tensor | None]:
        """What the model makes of a batch, (B, *S), and what the sampler is conditioned on, (B, *C).

        Args:
            batch: Samples.
            number: What the randomness of this batch is keyed by, beside the seed: its epoch, its place.
        """
        model = self.model
        reseed(key(self.seed, *number), self.device)
        x, y, c, mask = (None if part is None else part.to(self.device) for part in batch[:4])
        assert x is not None
        with torch.no_grad():
            return self.sampler.values(model, x, c, mask), given(self.sampler, y, c)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean nats of one batch, or an upper bound of them."""
        loss = -self.sampler.bound(*self.values(batch, self.trainer.current_epoch, batch_idx)).mean()
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(batch.x))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the nats of one batch to the mean."""
        nats = -self.sampler.log_prob(*self.values(batch, batch_idx))
        self.log("val/loss", nats.mean(), on_epoch=True, batch_size=len(batch.x))

    def on_validation_epoch_end(self) -> None:
        """Stop where nothing can be learned any more.

        Raises:
            NonFiniteError: The loss is not finite.
        """
        loss = self.trainer.callback_metrics.get("val/loss")
        if loss is not None and not loss.isfinite():
            raise NonFiniteError(f"val/loss is {loss.item()} in epoch {self.current_epoch}: lower --lr.")

    def configure_optimizers(self) -> Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.sampler.parameters(), self.lr)


def given(sampler: Sampler, y: Tensor | None, c: Tensor | None) -> Tensor | None:
    """What a sampler is conditioned on: nothing, the model's own condition, or else the label.

    Raises:
        ConfigError: It was fitted to labels, and the data have none.
    """
    if not sampler.conditional:
        return None
    if c is None and y is None:
        raise ConfigError("The sampler was fitted to labels, and these data have none: give it the data of its run.")
    return y if c is None else c
