"""How near generated samples come to real ones, by features of both: FID, KID, precision, recall, density, coverage."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lit_ae.errors import DataError

BUDGET = 2**25  # bytes of distances at a time


class KID(NamedTuple):
    """Kernel distance: its mean and standard deviation over subsets."""

    mean: float
    std: float


class PRDC(NamedTuple):
    """Precision and density of what was generated, recall and coverage of what is real; density may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def fid(real: Tensor, fake: Tensor) -> float:
    """Fréchet distance of two Gaussians, ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½), fitted to features.

    With networks other than Inception it compares models on the same features, and nothing else.

    Args:
        real: Features of real samples, (N, F).
        fake: Features of generated samples, (M, F).

    Raises:
        DataError: There are fewer than two samples, or features that do not fit or are not finite.

    Reference:
        Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", NeurIPS
        2017, eq. 6. https://arxiv.org/abs/1706.08500
    """
    check(real, fake, 2)
    (mean, spread), (other_mean, other_spread) = moments(real), moments(fake)
    # tr (Σ₁Σ₂)^½ as the sum of the singular values of Σ₁^½ Σ₂^½: no root of rounding errors is taken
    overlap = torch.linalg.svdvals(root(spread).T @ root(other_spread)).sum()
    distance = (mean - other_mean).square().sum() + spread.trace() + other_spread.trace() - 2 * overlap
    return max(0.0, distance.item())


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean, (F,), and unbiased covariance, (F, F), in float64."""
    mean = features.mean(0, dtype=torch.float64)
    parts = (part.double() - mean for part in features.split(4096))
    total = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=mean.device)
    for part in parts:
        total.addmm_(part.T, part)
    return mean, total / (len(features) - 1)


def root(spread: Tensor) -> Tensor:
    """A with A Aᵀ = Σ."""
    values, vectors = torch.linalg.eigh(spread)
    return vectors * values.clamp_min(0).sqrt()


def kid(real: Tensor, fake: Tensor, subsets: int = 100, size: int = 1000, seed: int = 0) -> KID:
    """Squared maximum mean discrepancy with the kernel (xᵀy / F + 1)³, unbiased, averaged over random subsets.

    Args:
        real: Features of real samples, (N, F).
        fake: Features of generated samples, (M, F).
        subsets: Number of subsets.
        size: Samples in each, or all where there are fewer.
        seed: Of the subsets.

    Raises:
        DataError: There are fewer than two samples, or features that do not fit or are not finite.

    Reference:
        Bińkowski et al., "Demystifying MMD GANs", ICLR 2018, section 4. https://arxiv.org/abs/1801.01401
    """
    check(real, fake, 2)
    size = min(size, len(real), len(fake))
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(subsets):
        x, y = (
            part[torch.randperm(len(part), generator=generator)[:size].to(part.device)].double()
            for part in (real, fake)
        )
        within = sum(kernel(part, part).fill_diagonal_(0).sum() for part in (x, y))
        values.append(within / (size * (size - 1)) - 2 * kernel(x, y).mean())
    column = torch.stack(values)
    return KID(column.mean().item(), column.std(correction=0).item())


def kernel(x: Tensor, y: Tensor) -> Tensor:
    """(xᵀy / F + 1)³ of all pairs."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def prdc(real: Tensor, fake: Tensor, k: int = 5) -> PRDC:
    """Precision, recall, density and coverage: who lies within the distance to the k-th neighbour of whom.

    Args:
        real: Features of real samples, (N, F).
        fake: Features of generated samples, (M, F).
        k: Number of neighbours within one set, which a sample is not one of itself.

    Raises:
        DataError: There are no more than k samples, or features that do not fit or are not finite.

    Reference:
        Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", ICML 2020, eqs. 2-6.
        https://arxiv.org/abs/2002.09797
        Precision and recall: Kynkäänniemi et al., NeurIPS 2019, https://arxiv.org/abs/1904.06991.
    """
    check(real, fake, k + 1)
    reach, fake_reach = radii(real, k), radii(fake, k)
    within = torch.zeros(len(fake), dtype=torch.int64, device=real.device)
    recalled, covered, made = 0, 0, fake.double()
    for start, part in parts(real, len(fake)):
        distance = torch.cdist(part, made)
        mine = reach[start : start + len(part), None]
        within += (distance < mine).sum(0)
        recalled += int((distance < fake_reach).any(1).sum())
        covered += int((distance < mine).any(1).sum())
    precision, density = (within > 0).double().mean().item(), within.double().mean().item() / k
    return PRDC(precision, recalled / len(real), density, covered / len(real))


def radii(features: Tensor, k: int) -> Tensor:
    """Distance of each sample to its k-th neighbour, (N,)."""
    whole = features.double()
    return torch.cat(
        [torch.cdist(part, whole).topk(k + 1, 1, largest=False).values[:, k] for _, part in parts(features, len(whole))]
    )


def parts(features: Tensor, other: int) -> list[tuple[int, Tensor]]:
    """Parts of the samples, each with its start, so small that their distances to `other` samples fit the budget."""
    size = max(1, BUDGET // (8 * other))
    return [(start, features[start : start + size].double()) for start in range(0, len(features), size)]


def check(real: Tensor, fake: Tensor, least: int) -> None:
    """Refuse features that cannot be compared.

    Raises:
        DataError: They are too few, of different widths, or not finite.
    """
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1]:
        raise DataError(
            f"Features of shapes {tuple(real.shape)} and {tuple(fake.shape)} cannot be compared: "
            "give two tables with the same columns."
        )
    if min(len(real), len(fake)) < least:
        raise DataError(
            f"{len(real)} real and {len(fake)} generated samples are too few: give {least} or more of each."
        )
    if not (real.isfinite().all() and fake.isfinite().all()):
        raise DataError("Features are not all finite: look at the samples, or at the network that they come from.")
