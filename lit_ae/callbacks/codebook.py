"""Watches how many codes are in use."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from lit_ae.batch import Batch
from lit_ae.callbacks.collector import Collector, Rows
from lit_ae.errors import ConfigError
from lit_ae.models.base import Autoencoder
from lit_ae.models.vq_vae import VQVAE, code_use


class CodebookMonitor(Collector):
    """Log how much of a codebook all validation samples use together, and warn in words when it collapses.

    Logs `val/codes_used`, the share of codes that occur, and `val/codes_perplexity`, exp(entropy) of their frequencies.

    Args:
        used: Share of the codes under which it warns, or of the codes that so many positions can show at most.
        patience: Validations in a row that must show it before it warns.
        max_samples: Number of validation samples looked at, over all processes.

    Raises:
        ConfigError: The model has no codes.
    """

    def __init__(self, used: float = 0.1, patience: int = 5, max_samples: int = 2000) -> None:
        super().__init__(0, max_samples)
        if not 0 <= used <= 1:
            raise ConfigError(f"CodebookMonitor needs used between 0 and 1: got {used:g}.")
        if patience < 1:
            raise ConfigError(f"CodebookMonitor needs patience of 1 or more: got {patience}.")
        self.used, self.patience = used, patience
        self._streak, self._warned = 0, False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a model without codes."""
        if not isinstance(pl_module, VQVAE):
            raise ConfigError(f"{type(pl_module).__name__} has no codes to watch: remove CodebookMonitor.")
        self._streak, self._warned = 0, False

    def collect(self, model: Autoencoder, batch: Batch) -> Rows:
        """The codes."""
        assert isinstance(model, VQVAE)
        return {"codes": model.encode(batch.x, batch.c, batch.mask).codes}

    def report(self, trainer: Trainer, model: Autoencoder, rows: Rows) -> None:
        """Log, the same on every process, and warn."""
        assert isinstance(model, VQVAE)
        codes, quantizer = rows["codes"], model.quantizer
        if not len(codes):
            return
        share, perplexity = code_use(codes, quantizer.num_codes, quantizer.depth)
        named = {"val/codes_used": share, "val/codes_perplexity": perplexity}
        model.log_dict(named, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)
        most = min(quantizer.num_codes, codes.numel() // quantizer.depth)
        self._streak = self._streak + 1 if share * quantizer.num_codes < self.used * most else 0
        enough = self.patience if trainer.state.fn == TrainerFn.FITTING else 1
        if self._streak >= enough and not self._warned:
            self._warned = True
            rank_zero_warn(
                f"Codebook collapse: {float(share):.1%} of {quantizer.num_codes} codes are in use: take fewer codes, "
                "start them by k-means (kmeans_steps), revive dead ones (revive), or use FSQ, which has no codebook."
            )

    def draw(self, trainer: Trainer, model: Autoencoder, rows: Rows) -> None:
        """Numbers alone."""
