"""The categorical variational autoencoder: Gumbel-softmax."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lit_ae.batch import Batch, Shape
from lit_ae.errors import ConfigError
from lit_ae.functional import full_precision
from lit_ae.models.base import Coefficients
from lit_ae.models.coded import Coded
from lit_ae.models.generative import Variational
from lit_ae.models.grid import GridLatent
from lit_ae.models.output import Output
from lit_ae.quantized import Codes


class CategoricalVAE(GridLatent, Variational, Coded):
    """Variational autoencoder of one of K classes at each place of a grid, trained with Gumbel-softmax samples.

    Minimises distortion plus rate, which is KL to the uniform categorical in closed form. Training decodes relaxed
    samples at a temperature, a coefficient that `Schedule` can anneal; evaluation decodes true one-hot samples, so
    that val/elbo is a bound of the discrete model. The latent has latent_dim = K channels.

    Args:
        temperature: Of relaxed samples: towards 0 they become one-hot, and their gradients noisy.

    Reference:
        Jang, Gu & Poole, "Categorical Reparameterization with Gumbel-Softmax", ICLR 2017. https://arxiv.org/abs/1611.01144
        Maddison, Mnih & Teh, "The Concrete Distribution", ICLR 2017. https://arxiv.org/abs/1611.00712
    """

    uniform: Tensor

    def __init__(self, *args: Any, temperature: float = 1.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if temperature <= 0:
            raise ConfigError(f"temperature is {temperature}: set --model.temperature above 0.")
        self.coefficients |= {"rate": 1.0, "temperature": temperature}
        self.register_buffer("uniform", torch.zeros(self.latent_shape), persistent=False)

    @property
    def relaxed(self) -> float | Tensor:
        """Temperature of the present training batch; without a trainer, the one that training ends with."""
        if self._trainer is None or not self.trainer.training:
            return self.coefficients["temperature"]
        return self.annealed(self.batches_trained(self.trainer.fit_loop.epoch_loop.batch_idx))["temperature"]

    def encode(self, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Codes:
        """A class at each place, batch (B,), event (K, h, w)."""
        return Codes(full_precision(self.raw(x, c)), self.relaxed if self.training else None)

    def prior(self, c: Tensor | None = None) -> Codes:
        """Uniform over classes, event (K, h, w)."""
        return Codes(self.uniform)

    def loss(self, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """Distortion and rate in nats, (B,)."""
        return {"distortion": -out.p.log_prob(batch.x).mean(0), "rate": self.rate(out)}

    @property
    def num_codes(self) -> int:
        """Number of classes, K."""
        return self.latent_shape[0]

    @property
    def code_shape(self) -> Shape:
        """(h, w)."""
        return self.latent_shape[1:]

    def lookup(self, codes: Tensor) -> Tensor:
        """Classes, (B, h, w), as one-hot vectors, (B, K, h, w)."""
        return Codes(self.uniform).one_hot(codes)
