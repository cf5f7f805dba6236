"""Pure maths on tensors and distributions: no module, no state. Everything in nats unless said otherwise."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, kl_divergence


def kl_elements(q: Distribution, p: Distribution) -> Tensor:
    """KL(q‖p) of each latent element in nats, (*B, *D), for two factorised distributions.

    Raises:
        NotImplementedError: q or p does not factorise, or torch knows no closed form for the pair.
    """
    if not (isinstance(q, Independent) and isinstance(p, Independent)):
        raise NotImplementedError(f"KL({type(q).__name__}‖{type(p).__name__}) has no elements")
    return kl_divergence(q.base_dist, p.base_dist)


def rate(q: Distribution, prior: Distribution, z: Tensor, log_q: Tensor | None = None) -> Tensor:
    """KL(q(z|x)‖p(z)) in nats, (B,): closed form where torch knows one, else the mean over samples.

    Args:
        q: Posterior, batch (B,).
        prior: Prior, batch () or (B,).
        z: Samples of q, (K, B, *D).
        log_q: log q(z|x) of these samples, (K, B), where q has a density only there.
    """
    if log_q is None:
        try:
            return kl_divergence(q, prior)
        except NotImplementedError:
            log_q = q.log_prob(z)
    return (log_q - prior.log_prob(z)).mean(0)


def free_bits(kl: Tensor, nats: float | Tensor) -> Tensor:
    """Rate that no dimension is rewarded for lowering below `nats`, (B,) (Kingma et al. 2016, eq. 15).

    The floor holds for the batch mean of each dimension; a dimension below it contributes a constant.

    Args:
        kl: KL of each dimension, (B, D).
        nats: Floor per dimension.
    """
    mean = kl.mean(0, keepdim=True)
    return torch.where(mean > nats, kl, torch.as_tensor(nats, dtype=kl.dtype, device=kl.device)).flatten(1).sum(1)


def capacity_gap(rate: Tensor, capacity: float | Tensor) -> Tensor:
    """|rate − C| in nats, (B,) (Burgess et al. 2018, eq. 8)."""
    return (rate - capacity).abs()


def detached(value: object) -> object:
    """The same tensors, distributions, tuples and dicts, cut from the graph."""
    raise NotImplementedError
