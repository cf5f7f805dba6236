"""What a posterior says of the data: how many of its latents are used, and how many nats they carry."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor
from torch.distributions import Distribution

from lit_ae.batch import key
from lit_ae.errors import ConfigError, DataError
from lit_ae.functional import log_density
from lit_ae.models.joint import Joint
from lit_ae.models.randomness import reseed
from lit_ae.posteriors import DiagonalGaussian, Posterior
from lit_ae.quantized import Codes, Quantized

BUDGET = 2**25  # bytes that one part of all pairs of samples may need


def active_units(means: Tensor, threshold: float = 0.01) -> int:
    """Number of latents whose posterior mean varies over the data: Var_x(E[z_d|x]) > threshold.

    Args:
        means: Posterior means, (N, *D).
        threshold: Of the variance, in squared units of z.

    Reference:
        Burda et al., "Importance Weighted Autoencoders", ICLR 2016, section 5.2. https://arxiv.org/abs/1509.00519
    """
    return int((means.flatten(1).var(0, correction=0) > threshold).sum())


@torch.no_grad()
def mutual_information(q: Posterior, samples: int = 1, seed: int = 0) -> float:
    """I(x; z) in nats of N samples x and z ~ q(z|x): mean of log q(z|x_i) − log (1/N) Σ_j q(z|x_j).

    N samples can be told apart by log N nats, so that is the most it can be: where it comes near, give more samples.
    Codes without noise carry the entropy of their distribution over the samples. Time grows with N², memory with N.

    Args:
        q: Posterior of all samples, batch (N,), event D.
        samples: Draws of z per sample.
        seed: Of the draws; the global generators are left as they were.

    Raises:
        ConfigError: The posterior has no density, or only one that needs a pass through the model.
        DataError: It is not that of one batch of samples.

    Reference:
        Hoffman & Johnson, "ELBO surgery: yet another way to carve up the variational evidence lower bound", 2016.
    """
    if len(q.batch_shape) != 1 or not q.batch_shape[0]:
        raise DataError(f"The posterior is of a batch {tuple(q.batch_shape)}: give that of one batch of samples.")
    if isinstance(q, Joint):
        raise ConfigError("The mutual information of a hierarchy is not known: its levels need the model itself.")
    count = q.batch_shape[0]
    if isinstance(q, Quantized):
        same = torch.unique(q.codes.flatten(1), dim=0, return_counts=True)[1].double() / count
        return -(same * same.log()).sum().item()
    device = q.mode.device
    table, total = Table(q), 0.0
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        for number in range(samples):
            reseed(key(seed, number), device)
            drawn = q.sample()
            for start in range(0, count, table.rows):
                pairs = table.log_prob(drawn[start : start + table.rows])
                own = pairs.diagonal(start)
                total += (own - pairs.logsumexp(1) + log(count)).sum().item()
    return total / (samples * count)


class Table:
    """log q(z_i|x_j) of all pairs, a few rows at a time.

    Gaussians and categorical distributions are products of matrices, which need no room for D numbers per pair.

    Args:
        q: Posterior, batch (N,), event D.
    """

    def __init__(self, q: Distribution) -> None:
        self.q, count = q, q.batch_shape[0]
        size = q.event_shape.numel()
        if isinstance(q, DiagonalGaussian):
            loc, scale = q.loc.flatten(1).double(), q.scale.flatten(1).double()
            self.shift = loc.mean(0)  # small numbers, as their squares are subtracted
            loc, precision = loc - self.shift, scale.pow(-2)
            self.weights = torch.cat([-precision / 2, loc * precision], 1).T
            self.offset = -(loc.square() * precision / 2 + scale.log()).sum(1) - size * log(2 * torch.pi) / 2
            size = 1
        elif isinstance(q, Codes):
            self.weights = q.logits.flatten(1).double().T
            size = 1
        self.rows = max(1, BUDGET // (8 * count * size))

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z_i|x_j), (n, N), of n draws, (n, *D)."""
        if isinstance(self.q, DiagonalGaussian):
            at = z.flatten(1).double() - self.shift
            return torch.cat([at.square(), at], 1) @ self.weights + self.offset
        if isinstance(self.q, Codes):
            return z.flatten(1).double() @ self.weights
        return log_density(self.q, z.unsqueeze(1)).double()
