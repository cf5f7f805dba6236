"""Watches how many latents carry information."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from lit_ae import functional
from lit_ae.batch import Batch
from lit_ae.callbacks.collector import Collector, Rows
from lit_ae.callbacks.figures import publish
from lit_ae.errors import ConfigError
from lit_ae.models.base import Autoencoder
from lit_ae.models.generative import Variational
from lit_ae.plots import kl_bars
from lit_ae.posteriors import DiagonalGaussian

PAIRS = 2000  # samples of z that the mutual information is averaged over, several per x where x are few


class CollapseMonitor(Collector):
    """Log what the latents carry, draw it, and warn in words when the posterior collapses to the prior.

    Logs `val/active_units` (latents whose mean varies with x, Burda et al. 2016), `val/mutual_information` between x
    and z in nats, of which N samples show at most log N (Hoffman & Johnson 2016), `val/kl_max` and `val/kl_min` (nats
    of the most and the least used latent), and draws the rate of each latent to `latent_kl.png`.

    Args:
        threshold: Nats below which a latent counts as collapsed.
        tolerated: Share of the latents that may be collapsed before it warns.
        patience: Validations in a row that must show it before it warns.
        every_n_epochs: How often to draw; 0 for the end of training alone, when it always draws.
        max_samples: Number of validation samples looked at, over all processes.

    Raises:
        ConfigError: The model has no rate, or its rate has no closed form per dimension.
    """

    def __init__(
        self,
        threshold: float = 0.01,
        tolerated: float = 0.75,
        patience: int = 2,
        every_n_epochs: int = 5,
        max_samples: int = 2000,
    ) -> None:
        super().__init__(every_n_epochs, max_samples)
        if threshold <= 0 or not 0 <= tolerated <= 1 or patience < 1:
            raise ConfigError(
                "CollapseMonitor needs a threshold above 0, tolerated in [0, 1] and patience of 1 or more: "
                f"got {threshold:g}, {tolerated:g} and {patience}."
            )
        self.threshold, self.tolerated, self.patience = threshold, tolerated, patience
        self._streak, self._warned = 0, False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a model without a rate."""
        if not isinstance(pl_module, Variational):
            raise ConfigError(f"{type(pl_module).__name__} has no rate that could collapse: remove CollapseMonitor.")
        self._streak, self._warned = 0, False

    def collect(self, model: Autoencoder, batch: Batch) -> Rows:
        """Rate of each latent, and the posterior."""
        assert isinstance(model, Variational)
        qs, priors = model.conditionals(batch.x, batch.c, batch.mask)
        try:
            kls = [functional.kl_elements(q, prior) for q, prior in zip(qs, priors, strict=True)]
        except NotImplementedError as error:
            raise ConfigError(f"{error}: CollapseMonitor cannot watch this model, remove it.") from error
        rows = {"kl": in_rows(kls), "mean": in_rows([q.mean for q in qs]).float()}
        scales = [q.scale for q in qs if isinstance(q, DiagonalGaussian)]
        return {**rows, "scale": in_rows(scales).float()} if len(scales) == len(qs) == 1 else rows

    def report(self, trainer: Trainer, model: Autoencoder, rows: Rows) -> None:
        """Log, the same on every process, and warn."""
        kl, mean = rows["kl"].mean(0), rows["mean"]
        values = {"active_units": functional.active_units(mean).float().sum(), "kl_max": kl.max(), "kl_min": kl.min()}
        if "scale" in rows:
            draws = max(1, PAIRS // max(1, len(mean)))
            # the same noise on every process, hence the same number
            noise = torch.randn((draws, *mean.shape), generator=torch.Generator().manual_seed(0)).to(mean)
            q = DiagonalGaussian(mean, rows["scale"])
            values["mutual_information"] = functional.mutual_information(q, mean + rows["scale"] * noise)
        named = {f"val/{name}": value for name, value in values.items()}
        model.log_dict(named, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)
        collapsed, dims = int((kl < self.threshold).sum()), len(kl)
        self._streak = self._streak + 1 if collapsed > self.tolerated * dims else 0
        enough = self.patience if trainer.state.fn == TrainerFn.FITTING else 1
        if self._streak >= enough and not self._warned:
            self._warned = True
            rank_zero_warn(
                f"Posterior collapse: {collapsed} of {dims} latent dimensions carry under {self.threshold:g} nats and "
                f"E[rate] is {float(kl.sum()):.2g} nats: lower β, anneal it (KLAnnealing) or use free bits (FreeBits)."
            )

    def draw(self, trainer: Trainer, model: Autoencoder, rows: Rows) -> None:
        """Draw the rate of each latent."""
        publish(trainer, "latent_kl", lambda: kl_bars(rows["kl"].mean(0), self.threshold))


def in_rows(values: Sequence[Tensor]) -> Tensor:
    """Values of each latent, (B, *D_l) for each level, as one row per sample, (B, D)."""
    return torch.cat([value.flatten(1) for value in values], 1)
