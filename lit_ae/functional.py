"""Pure maths on tensors and distributions: no module, no state. Everything in nats unless said otherwise."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from math import log
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, kl_divergence

from lit_ae.errors import ConfigError

T = TypeVar("T")
Noise = Literal["gaussian", "masking", "salt_and_pepper"]


def full_precision(raw: Tensor) -> Tensor:
    """Cast to float32, unless raw is in float64 already: bf16 parameters of a narrow Gaussian cost nats."""
    return raw.to(torch.promote_types(raw.dtype, torch.float32))


def detached(value: T) -> T:
    """The same value cut from the graph: tensors, distributions, and tuples, lists and dicts of these.

    Distributions are copied, so that the one passed in keeps its graph; anything else (modules, sizes) is passed on.
    """
    old: Any = value
    new = old
    if isinstance(old, Tensor):
        new = old.detach()
    elif isinstance(old, Distribution):
        new = copy(old)
        vars(new).update({name: detached(item) for name, item in vars(old).items()})
    elif type(old) is tuple or type(old) is list:  # not torch.Size, which is a tuple of plain numbers
        new = type(old)(detached(item) for item in old)
    elif type(old) is dict:
        new = {name: detached(item) for name, item in old.items()}
    return new


def kl_elements(q: Distribution, p: Distribution) -> Tensor:
    """KL(q‖p) of each latent element in nats, (*B, *D), for two factorised distributions.

    Args:
        q: Posterior, batch (*B).
        p: Prior, batch () or (*B).

    Raises:
        NotImplementedError: q or p does not factorise, or torch knows no closed form for the pair.
    """
    if not (isinstance(q, Independent) and isinstance(p, Independent)):
        raise NotImplementedError(f"KL({type(q).__name__}‖{type(p).__name__}) has no elements")
    return kl_divergence(q.base_dist, p.base_dist)


def rate(
    q: Distribution | tuple[Distribution, ...],
    prior: Distribution | tuple[Distribution, ...],
    z: Tensor | tuple[Tensor, ...],
    log_q: Tensor | None = None,
) -> Tensor:
    """KL(q(z|x)‖p(z)) in nats, (B,): closed form where torch knows one, else the mean over samples.

    A hierarchy passes tuples, one entry per level; its rate is the sum over levels, and a level's closed form is
    averaged over the K samples of the level above that it depends on.

    Args:
        q: Posterior, batch (B,), or (K, B) below the top level of a hierarchy.
        prior: Prior, batch () or (B,), or (K, B) below the top level.
        z: Samples of q, (K, B, *D).
        log_q: log q(z|x) of these samples, (K, B), where q has a density only there; for a hierarchy, of all levels.

    Raises:
        ConfigError: q has no density, as that of a deterministic autoencoder.
    """
    if log_q is not None:
        pairs = zip(levels(prior), levels(z), strict=True)
        return (log_q - torch.stack([p.log_prob(level) for p, level in pairs]).sum(0)).mean(0)
    rates = level_rates(q, prior, z)
    return rates[0] if len(rates) == 1 else torch.stack(rates).sum(0)


def levels(value: T | tuple[T, ...]) -> tuple[T, ...]:
    """What belongs to each level of a hierarchy, top level first; without a hierarchy there is one."""
    return value if isinstance(value, tuple) else (value,)


def level_rates(
    q: Distribution | tuple[Distribution, ...],
    prior: Distribution | tuple[Distribution, ...],
    z: Tensor | tuple[Tensor, ...],
) -> list[Tensor]:
    """What each level of a hierarchy adds to the `rate`, (B,) each, top level first.

    Args:
        q: Posterior, batch (B,), or (K, B) below the top level of a hierarchy.
        prior: Prior, batch () or (B,), or (K, B) below the top level.
        z: Samples of q, (K, B, *D).
    """
    return [_level_rate(*level) for level in zip(levels(q), levels(prior), levels(z), strict=True)]


def _level_rate(q: Distribution, prior: Distribution, z: Tensor) -> Tensor:
    try:
        nats = kl_divergence(q, prior)
    except NotImplementedError:
        nats = log_density(q, z) - prior.log_prob(z)
    return nats.mean(0) if nats.ndim > 1 else nats


def log_density(q: Distribution, z: Tensor) -> Tensor:
    """log q(z) in nats, (K, B), of samples z, (K, B, *D).

    Raises:
        ConfigError: q has no density, as that of a deterministic autoencoder.
    """
    try:
        return q.log_prob(z)
    except NotImplementedError:
        name = type(q).__name__
        raise ConfigError(
            f"{name} has no density, hence no rate: choose --model.posterior DiagonalGaussianHead."
        ) from None


def free_bits(kl: Tensor, nats: float | Tensor) -> Tensor:
    """Rate that no dimension is rewarded for lowering below `nats`, (B,) (Kingma et al. 2016, eq. 15).

    Its batch mean is Σ_d max(nats, E_x[KL_d]): the floor holds for the batch mean of each dimension, and a dimension
    below it contributes a constant.

    Args:
        kl: KL of each dimension, (B, *D).
        nats: Floor per dimension, λ.
    """
    mean = kl.mean(0, keepdim=True)
    return torch.where(mean > nats, kl, nats).flatten(1).sum(1)


def capacity_gap(rate: Tensor, capacity: float | Tensor) -> Tensor:
    """|rate − C| in nats, (B,): what the capacity form of the β-VAE weighs with γ (Burgess et al. 2018, eq. 8).

    Args:
        rate: KL(q(z|x)‖p(z)), (B,).
        capacity: Rate to be met, C in nats.
    """
    return (rate - capacity).abs()


def mutual_information(q: Distribution, z: Tensor) -> Tensor:
    """I(x; z) under the batch in nats, (): E[log q(z|x) − log q(z)], at most log B (Hoffman & Johnson 2016).

    The aggregate posterior q(z) is the mixture of the batch's posteriors, (1/B) Σ_j q(z|x_j).

    Args:
        q: Posteriors with a density, batch (B,).
        z: Their samples, (K, B, *D) or (B, *D).
    """
    (size,) = q.batch_shape
    flat = z.reshape(-1, 1, *q.event_shape)
    own = torch.arange(len(flat), device=z.device).remainder(size).unsqueeze(1)
    rows = max(1, 2**22 // (size * q.event_shape.numel()))  # 16 MiB of differences at once
    ratios = []
    for part, column in zip(flat.split(rows), own.split(rows), strict=True):
        pairs = q.log_prob(part)  # log q(z_i|x_j)
        ratios.append(pairs.gather(1, column).squeeze(1) - pairs.logsumexp(1))
    return torch.cat(ratios).mean() + log(size)


def active_units(mean: Tensor, threshold: float = 0.01) -> Tensor:
    """Which latents carry information, (*D) of bool: Var_x(E[z|x]) > threshold (Burda et al. 2015).

    Args:
        mean: Posterior means of N samples, (N, *D).
        threshold: Variance that a unit must exceed.
    """
    return mean.var(0, correction=0) > threshold


def bits_per_dim(nats: Tensor, dims: int) -> Tensor:
    """Nats per sample as bits per element, nats / (dims · log 2); meaningful for a probability mass.

    Args:
        nats: Nats per sample, any shape.
        dims: Number of elements of one sample.
    """
    return nats / (dims * log(2))


def rate_gap(rate: Tensor, rho: float) -> Tensor:
    """Σ_j KL(ρ‖ρ̂_j) of Bernoulli units in nats, (): what keeps each unit active at the rate ρ (Ng 2011, p. 15).

    Args:
        rate: Mean activation of each unit over a batch, ρ̂, (D,), within [0, 1].
        rho: Target rate ρ, within (0, 1).
    """
    limits = torch.finfo(rate.dtype)
    rate = rate.clamp(limits.tiny, 1 - limits.eps)  # a unit at 0 or 1 throughout costs much, not infinitely much
    return (rho * (log(rho) - rate.log()) + (1 - rho) * (log(1 - rho) - (-rate).log1p())).sum()


def top_k(z: Tensor, k: int) -> Tensor:
    """The k largest latents of each sample, and 0 for the others, (B, D), with ties broken (Makhzani & Frey 2014).

    Args:
        z: Latents, (B, D).
        k: How many stay, at most D.
    """
    largest, index = z.topk(k, dim=1)
    return torch.zeros_like(z).scatter(1, index, largest)


def corrupted(x: Tensor, noise: Noise, level: float, ends: tuple[float, float] = (0.0, 1.0)) -> Tensor:
    """Samples with noise, of the shape of x, drawn from the global generator (Vincent et al. 2010, section 3.3).

    Args:
        x: Samples, (B, *E).
        noise: `gaussian` adds N(0, level²); `masking` sets an element to 0, `salt_and_pepper` to one of the ends,
            each with probability `level`.
        level: Standard deviation in units of x, or probability.
        ends: What pepper and salt are.
    """
    if noise == "gaussian":
        return x + level * torch.randn_like(x)
    chosen = torch.rand_like(x) < level
    if noise == "masking":
        return x.masked_fill(chosen, 0.0)
    salt = torch.rand_like(x) < 0.5
    low, high = ends
    return torch.where(chosen, torch.where(salt, high, low).to(x.dtype), x)


def sigmoid_contraction(h: Tensor, weight: Tensor) -> Tensor:
    """‖∂h/∂x‖²_F of one sigmoid layer h = σ(Wx + b), (B,): Σ_j (h_j(1 − h_j))² Σ_i W_ji² (Rifai et al. 2011, p. 3).

    Args:
        h: Output of the layer, (B, D).
        weight: W, (D, number of elements of x).
    """
    return ((h * (1 - h)).square() * weight.square().sum(1)).sum(1)


def exact_contraction(net: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """‖∂net/∂x‖²_F of each sample, (B,), by one backward pass per output; it can be differentiated in turn.

    Args:
        net: Maps (B, *E) to (B, D), each sample by itself.
        x: Samples, (B, *E).
    """
    z, pull, *_ = torch.func.vjp(net, x)
    basis = torch.eye(z.shape[1], dtype=z.dtype, device=z.device).unsqueeze(1)
    return _pulled_back(pull, basis.expand(-1, *z.shape)).sum(0)


def hutchinson_contraction(net: Callable[[Tensor], Tensor], x: Tensor, signs: Tensor) -> Tensor:
    """Unbiased estimate of ‖∂net/∂x‖²_F of each sample, (B,): the mean of ‖vᵀ ∂net/∂x‖² over random signs v.

    Of all v with independent elements, signs give the least variance (Hutchinson 1990).

    Args:
        net: Maps (B, *E) to (B, D), each sample by itself.
        x: Samples, (B, *E).
        signs: Vectors v of −1 and 1, (N, B, D), one backward pass per N.
    """
    _, pull, *_ = torch.func.vjp(net, x)
    return _pulled_back(pull, signs).mean(0)


def _pulled_back(pull: Callable[..., Any], vectors: Tensor) -> Tensor:
    """‖vᵀJ‖² of each vector v and sample, (N, B), from vectors, (N, B, D): 16 at once, for memory's sake."""
    (rows,) = torch.vmap(pull, chunk_size=16)(vectors)
    return full_precision(rows).square().flatten(2).sum(2)


def permuted(z: Tensor) -> Tensor:
    """Each latent dimension in an order of its own across the batch, (B, D): a draw of ∏ q(z_d) (Kim & Mnih, alg. 1).

    Args:
        z: Codes, (B, D).
    """
    return z.gather(0, torch.rand(z.shape, device=z.device).argsort(0))
