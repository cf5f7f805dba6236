"""Importance-weighted bounds on log p(x) from K samples of q(z|x), and their gradients: pure functions, in nats."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution

from lit_ae.functional import detached, log_density


def log_ratio(
    q: Distribution | tuple[Distribution, ...],
    prior: Distribution | tuple[Distribution, ...],
    z: Tensor | tuple[Tensor, ...],
    log_q: Tensor | None = None,
) -> Tensor:
    """log p(z) − log q(z|x) of each sample, (K, B); its sum with log p(x|z) is the log weight log w.

    Args:
        q: Posterior, batch (B,), or a tuple for a hierarchy, with batch (K, B) below its top level.
        prior: Prior, batch () or (B,), or a tuple likewise.
        z: Samples of q, (K, B, *D), or a tuple likewise.
        log_q: log q(z|x) of these samples, of all levels, (K, B), where q has a density only there.

    Raises:
        ConfigError: q has no density, as that of a deterministic autoencoder.
    """
    qs = q if isinstance(q, tuple) else (q,)
    priors = prior if isinstance(prior, tuple) else (prior,)
    zs = z if isinstance(z, tuple) else (z,)
    log_p = torch.stack([p.log_prob(level) for p, level in zip(priors, zs, strict=True)]).sum(0)
    if log_q is None:
        log_q = torch.stack([log_density(level, at) for level, at in zip(qs, zs, strict=True)]).sum(0)
    return log_p - log_q


def bound(log_w: Tensor, groups: int = 1) -> Tensor:
    """Mean over M groups of log (1/K) Σ_k w_k, (B,): at most log p(x) in expectation, more so the larger K.

    One group is IWAE's bound (Burda et al. 2016, eq. 8), several are MIWAE's (Rainforth et al. 2018, section 5). Each
    group is normalised by its own size K, so any number of samples will do, also one that M does not divide.

    Args:
        log_w: Log weights, (samples, B).
        groups: M; at most one group per sample is made.
    """
    grouped, sizes = _grouped(log_w, groups)
    return (grouped.logsumexp(0) - sizes.log()).mean(0)


def weights(log_w: Tensor, groups: int = 1) -> Tensor:
    """∂bound/∂log w, (samples, B): the weights normalised within each group, over M (Burda et al. 2016, eq. 14).

    Args:
        log_w: Log weights, (samples, B).
        groups: M.
    """
    grouped, sizes = _grouped(log_w, groups)
    return (grouped.softmax(0) / len(sizes)).flatten(0, 1)[: len(log_w)]


def _grouped(log_w: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Log weights as (K, M, B), filled up with weights of zero, and the true size of each group, (M, 1)."""
    samples = len(log_w)
    groups = min(groups, samples)
    whole, rest = divmod(samples, groups)
    sizes = whole + (torch.arange(groups, device=log_w.device) < rest).to(log_w.dtype)
    if rest:
        log_w = F.pad(log_w, (0, 0, 0, groups - rest), value=-torch.inf)
    return log_w.unflatten(0, (-1, groups)), sizes.unsqueeze(1)


def steered(
    log_p: Tensor, q: Distribution, prior: Distribution, z: Tensor, generative: Tensor, inference: Tensor, score: bool
) -> Tensor:
    """A sum, (B,), with gradient Σ a_k ∂log w_k for the generative net and Σ b_k ∂log w_k for the inference net.

    Only its gradient is meant, not its value. One backward pass yields both: it carries a_k as far as z, where a hook
    turns it into b_k. Call it once per z.

    Args:
        log_p: log p(x|z), (K, B), with its graph to z.
        q: Posterior, batch (B,).
        prior: Prior, batch () or (B,).
        z: Samples of q, (K, B, *D).
        generative: a_k, constants, (K, B).
        inference: b_k, constants, (K, B).
        score: Whether q's parameters are also followed where z is held; without, the gradient goes through z alone.
    """
    # a weight of zero could not be turned into another; this one adds nothing that float32 can hold
    generative = generative.clamp_min(torch.finfo(torch.float32).tiny ** 0.5)
    log_w = log_p + log_ratio(detached(q), prior, z)
    if z.requires_grad:
        scale = (inference / generative).reshape(*inference.shape, *[1] * (z.ndim - 2))
        z.register_hook(lambda slope: slope * scale)
    total = (generative * log_w).sum(0)
    return total - (inference * log_density(q, z.detach())).sum(0) if score else total
