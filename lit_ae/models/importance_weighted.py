"""What the models trained on importance-weighted bounds share: K samples in one pass, and one finished term."""

from __future__ import annotations

from abc import ABC
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.distributions import Distribution

from lit_ae import importance
from lit_ae.batch import Batch
from lit_ae.errors import ConfigError
from lit_ae.functional import detached
from lit_ae.models.base import Coefficients
from lit_ae.models.latent import VectorVariational
from lit_ae.models.multiplayer import frozen
from lit_ae.models.output import Output

Gradient = Literal["standard", "doubly"]


class ImportanceWeighted(VectorVariational, ABC):
    """A model trained on a bound on log p(x) from many samples of the posterior.

    The bound is no sum of distortion and rate: the term `nll_bound` is minus the bound, finished, and the other two are
    reported beside it with a weight of 0. Free bits, a floor of the rate, have no meaning here.

    Attributes:
        groups: M, groups of samples whose bounds are averaged, for the inference net and for the generative net.
        gradient: "standard" is autograd of the bound; "doubly" is doubly reparameterised (Tucker et al. 2019): the
            inference net's gradient goes through the samples alone, weighted with squared weights.

    Args:
        samples: Samples per group, K.
    """

    groups: tuple[int, int] = (1, 1)
    gradient: Gradient = "standard"

    def __init__(self, *args: Any, samples: int = 5, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if samples < 1:
            raise ConfigError(f"samples is {samples}: set --model.samples to 1 or more.")
        if self.coefficients.pop("free_bits"):
            raise ConfigError(f"{type(self).__name__} has no rate to keep a floor under: leave --model.free_bits at 0.")
        self.samples = samples
        self.coefficients |= {"nll_bound": 1.0, "distortion": 0.0, "rate": 0.0}

    def choose(self, gradient: Gradient, groups: int = 1) -> None:
        """Set the estimator of the gradient, and M for both nets: K samples become M · K."""
        if groups < 1:
            raise ConfigError(f"groups is {groups}: set --model.groups to 1 or more.")
        if gradient not in get_args(Gradient):
            raise ConfigError(f"gradient is {gradient!r}: set --model.gradient to {' or '.join(get_args(Gradient))}.")
        self.gradient, self.groups = gradient, (groups, groups)
        self.samples *= groups

    def loss(self, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """Minus the bound, distortion and rate, in nats, (B,). It is to be taken once per pass."""
        assert isinstance(out.q, Distribution)
        assert isinstance(out.prior, Distribution)
        assert isinstance(out.z, Tensor)
        log_p = out.p.log_prob(batch.x)
        log_w = log_p + importance.log_ratio(out.q, out.prior, out.z, out.log_q)
        inference, generative = self.groups
        bound = importance.bound(log_w, generative)
        if torch.is_grad_enabled() and (self.gradient == "doubly" or inference != generative):
            if out.log_q is not None:
                raise ConfigError(f"{type(self).__name__} needs q(z|x) at any z: choose another --model.posterior.")
            doubly, constant = self.gradient == "doubly", log_w.detach()
            of_inference, of_generative = (importance.weights(constant, groups) for groups in self.groups)
            if doubly:
                of_inference = of_inference.square() * min(inference, len(log_w))
            # half precision has no room for weights that a hook turns into others
            if inference != generative and in_half(batch.x.device.type):
                source = self.apart(batch, out, of_generative, of_inference, score=not doubly)
            else:
                source = importance.steered(log_p, out.q, out.prior, out.z, of_generative, of_inference, not doubly)
            bound = bound.detach() + source - source.detach()
        return {"nll_bound": -bound, "distortion": -log_p.mean(0), "rate": self.rate(out)}

    def apart(self, batch: Batch, out: Output, generative: Tensor, inference: Tensor, score: bool) -> Tensor:
        """What `importance.steered` yields, (B,), from one more pass of the decoder for each of both nets."""
        assert isinstance(out.q, Distribution)
        assert isinstance(out.prior, Distribution)
        assert isinstance(out.z, Tensor)
        with frozen(self.parameters()):
            log_p = self.decode(out.z, batch.c, batch.mask).log_prob(batch.x)
        of_inference = importance.steered(log_p, out.q, detached(out.prior), out.z, inference, inference, score)
        z = out.z.detach()
        log_joint = self.decode(z, batch.c, batch.mask).log_prob(batch.x) + out.prior.log_prob(z)
        return of_inference + (generative * log_joint).sum(0)


def in_half(device: str) -> bool:
    """Whether networks run in float16, with its narrow range of exponents."""
    return torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16
