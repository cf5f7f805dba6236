"""Free energies, and where in latent space the energy is low: pure functions, every energy in nats.

An energy maps latents (*K, B, D) to (*K, B). F_β = −1/β log ∫ exp(−βE) dz is estimated at K points, each standing for
a volume of latent space: the cell of a grid, or 1/(K q) for a sample of a proposal q.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

Energy = Callable[[Tensor], Tensor]


def free_energy(energy: Tensor, log_volume: Tensor | float, beta: float | Tensor = 1.0) -> Tensor:
    """F_β = −1/β log Σ_k exp(−β E_k) dz_k in nats, (B,) (LeCun et al. 2006, eq. 6 and section 6).

    Args:
        energy: E at K points, (K, B).
        log_volume: log dz of each point, broadcast to (K, B).
        beta: Inverse temperature β.
    """
    return -(log_volume - beta * energy).logsumexp(0) / beta


def gibbs(energy: Tensor, log_volume: Tensor | float, beta: float | Tensor = 1.0) -> tuple[Tensor, Tensor]:
    """Weights w_k ∝ exp(−β E_k) dz_k, (K, B), and their differential entropy H[w] in nats, (B,).

    F_β = ⟨E⟩_w − H[w]/β exactly, and ∂F_β = ⟨∂E⟩_w: with w and H cut from the graph, autograd of the right-hand side is
    that of the left.

    Args:
        energy: E at K points, (K, B).
        log_volume: log dz of each point, broadcast to (K, B).
        beta: Inverse temperature β.
    """
    log_weights = (log_volume - beta * energy).detach().log_softmax(0)
    weights = log_weights.exp()
    return weights, -(weights * (log_weights - log_volume)).sum(0)


def descend(energy: Energy, z: Tensor, steps: int, step_size: float) -> tuple[Tensor, Tensor]:
    """Gradient descent from z, (*K, B, D): latents, and their energies, (*K, B), none of them higher than at the start.

    Each latent has a step of its own that grows by a quarter after a step that lowered its energy, and halves, with the
    step undone, after one that did not (Vogl et al. 1988, the "bold driver"): no step size diverges.

    Args:
        energy: E(z).
        z: Latents to start from.
        steps: Number of steps.
        step_size: First step per unit of gradient.
    """
    slope, value = _slope(energy, z)
    length = torch.full_like(value, step_size).unsqueeze(-1)
    for _ in range(steps):
        trial = z - length * slope
        trial_slope, trial_value = _slope(energy, trial)
        lower = trial_value < value
        value, wide = torch.where(lower, trial_value, value), lower.unsqueeze(-1)
        z, slope = torch.where(wide, trial, z), torch.where(wide, trial_slope, slope)
        length = length * torch.where(wide, 1.25, 0.5)
    return z, value


def langevin(energy: Energy, z: Tensor, steps: int, step_size: float, beta: float = 1.0) -> Tensor:
    """Samples, (*K, B, D), of exp(−βE) by Langevin steps from z, each accepted or not (Roberts & Tweedie 1996, MALA).

    z' = z − η ∇E + √(2η/β) ξ with ξ ~ N(0, I) from the global generator; the acceptance makes exp(−βE) stationary at
    every step size η.

    Args:
        energy: E(z).
        z: Latents to start from.
        steps: Number of steps.
        step_size: η.
        beta: Inverse temperature β.
    """
    slope, value = _slope(energy, z)
    for _ in range(steps):
        trial = z - step_size * slope + (2 * step_size / beta) ** 0.5 * torch.randn_like(z)
        trial_slope, trial_value = _slope(energy, trial)
        there = (trial - z + step_size * slope).square().sum(-1)
        back = (z - trial + step_size * trial_slope).square().sum(-1)
        log_ratio = beta * (value - trial_value) + beta / (4 * step_size) * (there - back)
        accepted = torch.rand_like(value).log() < log_ratio
        value, wide = torch.where(accepted, trial_value, value), accepted.unsqueeze(-1)
        z, slope = torch.where(wide, trial, z), torch.where(wide, trial_slope, slope)
    return z


def _slope(energy: Energy, z: Tensor) -> tuple[Tensor, Tensor]:
    """∂E/∂z, (*K, B, D), and E, (*K, B), without a graph to anything else; works in inference mode."""

    def total(at: Tensor) -> tuple[Tensor, Tensor]:
        value = energy(at)
        return value.sum(), value

    with torch.no_grad():
        slope, value = torch.func.grad(total, has_aux=True)(z)
    return slope, value


def box_grid(low: float, high: float, points: int, dim: int) -> tuple[Tensor, float]:
    """Midpoints of points^dim equal cells of the box [low, high]^dim, (points^dim, dim), and a cell's log volume."""
    side = (high - low) / points
    line = low + side * (torch.arange(points) + 0.5)
    return torch.cartesian_prod(*[line] * dim).reshape(-1, dim), dim * log(side)


def box_starts(low: float, high: float, count: int, dim: int) -> Tensor:
    """The middle of the box [low, high]^dim and count − 1 points spread over it, (count, dim), always the same ones."""
    spread = SobolEngine(dim, scramble=True, seed=0).draw(count - 1) if count > 1 else torch.empty(0, dim)
    return low + (high - low) * torch.cat([torch.full((1, dim), 0.5), spread])
