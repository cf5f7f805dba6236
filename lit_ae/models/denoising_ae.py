"""The denoising autoencoder."""

from __future__ import annotations

from typing import Any, get_args

from torch import Tensor

from lit_ae import functional
from lit_ae.batch import Batch
from lit_ae.errors import ConfigError
from lit_ae.models.latent import PointLatent


class DenoisingAE(PointLatent):
    """Denoising autoencoder: restore the clean input from a corrupted one.

    Minimises E[−log p(x|z)] at z = Enc(x̃), where x̃ is x with noise, drawn anew at every look. `embed` and `reconstruct`
    take x as it is; at level 0 this is the plain autoencoder.

    Args:
        noise: `gaussian` adds N(0, level²); `masking` sets an element to 0, `salt_and_pepper` to the smallest or the
            largest value of the training data (0 or 1 where unknown), each with probability `level`.
        level: Standard deviation in units of x, or probability.

    Reference:
        Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders", ICML 2008.
        Vincent et al., "Stacked Denoising Autoencoders", JMLR 2010. https://jmlr.org/papers/v11/vincent10a.html
    """

    def __init__(self, *args: Any, noise: functional.Noise = "gaussian", level: float = 0.3, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if noise not in get_args(functional.Noise):
            raise ConfigError(f"noise is {noise!r}: set --model.noise to {', '.join(get_args(functional.Noise))}.")
        if level < 0 or (noise != "gaussian" and level > 1):
            what = "a standard deviation of 0 or more" if noise == "gaussian" else "a probability from 0 to 1"
            raise ConfigError(f"level is {level}: with noise {noise}, set --model.level to {what}.")
        self.noise, self.level = noise, level

    def corrupt(self, batch: Batch) -> tuple[Batch, dict[str, Tensor]]:
        """The batch with noise in x, which `aux` keeps as `corrupted`, (B, *E)."""
        ends = self.spec.value_range or (0.0, 1.0)
        x = functional.corrupted(batch.x, self.noise, self.level, ends)
        return batch._replace(x=x), {"corrupted": x}
