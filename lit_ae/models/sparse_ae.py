"""The sparse autoencoder: few latents are active at a time."""

from __future__ import annotations

from typing import Any, Literal, get_args

from torch import Tensor

from lit_ae import functional
from lit_ae.batch import Batch
from lit_ae.errors import ConfigError
from lit_ae.models.base import Coefficients
from lit_ae.models.latent import PointLatent
from lit_ae.models.output import Output
from lit_ae.posteriors import Delta

Penalty = Literal["l1", "kl", "topk"]


class SparseAE(PointLatent):
    """Sparse autoencoder: distortion + λ · sparsity, so that few latents are active at a time.

    With `l1` the term is Σ_j |z_j|, in which small codes and a large decoder cost little: decay the decoder's weights.
    With `kl` the code is the sigmoid of the encoder's output, and the term Σ_j KL(ρ‖ρ̂_j), where ρ̂_j is the mean of
    latent j over the batch, over that of all processes in training. With `topk` there is no term: the k largest
    latents of a sample stay, the others are 0; an encoder that ends in a ReLU may leave fewer.

    In evaluation `active` is the measured rate: the mean of the code with `kl`, the share of latents that are not 0
    with `topk`, and that of latents above a hundredth of the batch's largest with `l1`.

    Args:
        penalty: What makes the code sparse: `l1`, `kl` or `topk`.
        rho: Target rate of activation ρ of each latent, for `kl`.
        k: Number of active latents per sample, for `topk`.
        sparsity: Weight λ of the term, for `l1` and `kl`.

    Reference:
        Lee, Ekanadham & Ng, "Sparse Deep Belief Net Model for Visual Area V2", NeurIPS 2007.
        Ng, "Sparse Autoencoder", CS294A lecture notes 2011. https://web.stanford.edu/class/cs294a/sparseAutoencoder.pdf
        Makhzani & Frey, "k-Sparse Autoencoders", ICLR 2014. https://arxiv.org/abs/1312.5663
    """

    def __init__(
        self,
        *args: Any,
        penalty: Penalty = "kl",
        rho: float = 0.05,
        k: int | None = None,
        sparsity: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if penalty not in get_args(Penalty):
            raise ConfigError(f"penalty is {penalty!r}: set --model.penalty to {', '.join(get_args(Penalty))}.")
        if not 0 < rho < 1:
            raise ConfigError(f"rho is {rho}: set --model.rho, a rate of activation, between 0 and 1.")
        if sparsity < 0:
            raise ConfigError(f"sparsity is {sparsity}: set --model.sparsity to 0 or more.")
        (latent_dim,) = self.latent_shape
        if penalty == "topk" and (k is None or not 1 <= k <= latent_dim):
            raise ConfigError(f"k is {k}: set --model.k from 1 to latent_dim, which is {latent_dim}.")
        self.penalty, self.rho, self.k = penalty, rho, k
        if penalty != "topk":
            self.coefficients["sparsity"] = sparsity

    def encode(self, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Delta:
        """q(z|x), batch (B,), event (D,): of the sigmoid with `kl`, of the largest latents with `topk`."""
        z = super().encode(x, c, mask).mode
        if self.penalty == "kl":
            z = z.sigmoid()
        elif self.k is not None and self.penalty == "topk":
            z = functional.top_k(z, self.k)
        return Delta(z)

    def loss(self, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """Distortion in nats, (B,), and the sparsity: (B,) with `l1`, () in nats with `kl`, none with `topk`."""
        assert isinstance(out.q, Delta)
        terms = super().loss(batch, out, coef)
        if self.penalty == "l1":
            terms["sparsity"] = out.q.mode.abs().sum(1)
        elif self.penalty == "kl":
            terms["sparsity"] = functional.rate_gap(self.activation(out.q.mode, batch.weight), self.rho)
        return terms

    def activation(self, z: Tensor, weight: float) -> Tensor:
        """ρ̂, (D,): the mean of z, (B, D), over the batch; in training over that of all processes, with its gradient."""
        rate, trainer = z.mean(0), self._trainer
        if trainer is None or not trainer.training or trainer.world_size == 1:
            return rate
        gathered = self.all_gather(weight * rate, sync_grads=True)  # the mean of these is the mean over samples
        assert isinstance(gathered, Tensor)
        return gathered.mean(0)

    def metrics(self, batch: Batch, out: Output) -> dict[str, Tensor]:
        """The measured rate of activation, (B,)."""
        assert isinstance(out.q, Delta)
        z = out.q.mode.abs()
        if self.penalty == "kl":
            return {"active": z.mean(1)}
        floor = 0.01 * z.amax() if self.penalty == "l1" else 0.0
        return {"active": (z > floor).to(z.dtype).mean(1)}
