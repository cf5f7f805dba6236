"""The masked autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lit_ae.batch import Batch, DataSpec, Shape
from lit_ae.errors import ConfigError
from lit_ae.functional import full_precision
from lit_ae.likelihoods import Gaussian, Likelihood, LikelihoodHead
from lit_ae.models.base import Autoencoder, Coefficients
from lit_ae.models.output import Output
from lit_ae.nn import Condition, ViTDecoder, ViTEncoder, fold
from lit_ae.nn.patches import count_patches, hide, patchify, shown, unpatchify
from lit_ae.optim import FusedAdam
from lit_ae.posteriors import Delta

Score = Literal["hidden", "all"]


class MaskedAutoencoder(Autoencoder):
    """Masked autoencoder: a vision transformer sees a quarter of the patches, and the others must be restored.

    Minimises −log p(hidden patches | visible patches), in nats per sample: distortion and mse, in training and in
    evaluation, count the scored patches alone. Only visible patches go through the encoder; z has one token per patch,
    (N, D), in which one learned token stands for every hidden patch. `embed` and `reconstruct` hide nothing but what
    their mask says was not observed. The paper's targets normalised per patch are left out: to undo that takes the
    mean and variance of the hidden patch itself, so that no p(x|z) follows from them.

    Args:
        spec: What the model must know of its data; the command line fills it in from the datamodule.
        patch: Side of a patch in pixels, a divisor of both sides of the picture.
        mask_ratio: Share of patches that are hidden, anew at every look, rounded to whole patches; one at least is
            hidden, unless it is 0, and one visible.
        score: Patches whose likelihood counts: `hidden` alone as in the paper, which leaves the decoder's pictures of
            visible patches untrained, or `all`.
        vit_encoder: Builds the encoder from (input_shape, patch).
        vit_decoder: Builds the decoder from (in_features, output_shape, patch).
        likelihood: Builds the head that turns the decoder's output into p(x|z).
        optimizer: Builds the optimizer from the parameters.
        lr_scheduler: Builds a learning-rate scheduler, stepped once per epoch, from the optimizer.

    Raises:
        ConfigError: The samples are no pictures of whole patches, or nothing could be learned.

    Reference:
        He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022. https://arxiv.org/abs/2111.06377
    """

    def __init__(
        self,
        spec: DataSpec | None = None,
        patch: int = 4,
        mask_ratio: float = 0.75,
        score: Score = "hidden",
        vit_encoder: Callable[[Shape, int], ViTEncoder] = ViTEncoder,
        vit_decoder: Callable[[int, Shape, int], ViTDecoder] = ViTDecoder,
        likelihood: Callable[[Shape], LikelihoodHead] = Gaussian,
        optimizer: Callable[[Iterable[Tensor]], Optimizer] = FusedAdam,
        lr_scheduler: Callable[[Optimizer], LRScheduler] | None = None,
    ) -> None:
        super().__init__(spec, optimizer, lr_scheduler)
        self.patch, self.mask_ratio, self.score = patch, mask_ratio, score
        self.likelihood = likelihood(self.input_shape)
        self.likelihood.suit(self.spec)
        self.patches = count_patches(self.input_shape, patch)
        if not 0 <= mask_ratio < 1:
            raise ConfigError(f"mask_ratio is {mask_ratio}: set --model.mask_ratio to 0 or more, and below 1.")
        if score not in get_args(Score):
            raise ConfigError(f"score is {score!r}: set --model.score to {' or '.join(get_args(Score))}.")
        self.visible = shown(self.patches, mask_ratio)
        if score == "hidden" and self.visible == self.patches:
            raise ConfigError(
                f"With mask_ratio {mask_ratio} no patch of {self.patches} is hidden, and none would be scored: set "
                "--model.mask_ratio above 0 and --model.patch below the picture's side, or --model.score to all."
            )
        self.encoder = vit_encoder(self.input_shape, patch)
        self.decoder = vit_decoder(self.encoder.width, self.likelihood.raw_shape(), patch)
        shape = self.spec.condition_shape
        self.condition = None if shape is None else Condition(shape, self.spec.num_classes, self.encoder.width)
        self.latent_shape: Shape = (self.patches, self.encoder.width)

    def check(self, batch: Batch) -> None:
        """Refuse values outside the likelihood's support, and conditions that do not fit."""
        super().check(batch)
        self.likelihood.check_values(batch.x)
        if self.condition is not None:
            self.condition.check(batch.c)

    def pixels(self, patches: Tensor) -> Tensor:
        """The pixels, (B, *E), of those patches, (B, N), that are True."""
        channels, height, width = self.input_shape
        each = patches.unsqueeze(2).expand(-1, -1, channels * self.patch**2)
        return unpatchify(each, self.patch, height, width)

    def corrupt(self, batch: Batch) -> tuple[Batch, dict[str, Tensor]]:
        """The batch with a mask that leaves out the `hidden` patches, (B, N), which `aux` keeps."""
        if batch.mask is None:
            there = torch.ones(len(batch.x), self.patches, dtype=torch.bool, device=batch.x.device)
            hidden = hide(there, self.mask_ratio, self.visible)
            return batch._replace(mask=self.pixels(~hidden)), {"hidden": hidden}
        hidden = hide(patchify(batch.mask, self.patch).any(2), self.mask_ratio)
        return batch._replace(mask=self.pixels(~hidden) & batch.mask), {"hidden": hidden}

    def encode(
        self, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None, visible: int | None = None
    ) -> Delta:
        """A token per patch, batch (B,), event (N, D): a learned one where the mask leaves a patch out altogether.

        Args:
            x: Pictures, (B, *E).
            c: Conditions, (B, *C).
            mask: True where x is observed, (B, *E).
            visible: How many patches the mask leaves, where it is the same for all pictures.
        """
        extra = None if self.condition is None else self.condition(c)
        there = None if mask is None else patchify(mask, self.patch).any(2)
        seen = x if mask is None else x.where(mask, 0.0)
        return Delta(full_precision(self.encoder(seen, there, visible, extra)), event_ndim=2)

    def decode(self, z: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Likelihood:  # type: ignore[override]
        """p(x|z, c), batch (*B), event E, from a token per patch, (*B, N, D)."""
        extra = None if self.condition is None else self.condition(c)
        return self.likelihood(fold(self.decoder, z, extra, event_ndim=2)).masked(mask)

    def forward(self, batch: Batch, k: int | None = None) -> Output:
        """One pass, in which hidden patches are in p, but not seen."""
        seen, aux = self.corrupt(batch)
        q = self.encode(seen.x, seen.c, seen.mask, self.visible if batch.mask is None else None)
        z = q.rsample(torch.Size((k or self.samples,)))
        return Output(q=q, z=z, p=self.decode(z, batch.c, batch.mask), aux=aux)

    def scored(self, out: Output) -> Likelihood:
        """p(x|z) of the pixels that count."""
        return out.p if self.score == "all" else out.p.masked(self.pixels(out.aux["hidden"]))

    def loss(self, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """Distortion of the scored patches in nats, (B,)."""
        return {"distortion": -self.scored(out).log_prob(batch.x).mean(0)}

    def metrics(self, batch: Batch, out: Output) -> dict[str, Tensor]:
        """Squared error of the scored patches, (B,), in squared units of x."""
        return {"mse": self.scored(out).squared_error(batch.x).mean(0)}
