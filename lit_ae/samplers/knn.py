"""A kernel density over latents, wide where they are sparse."""

from __future__ import annotations

from collections.abc import Iterator
from math import log, pi

import torch
from torch import Tensor

from lit_ae.batch import Shape
from lit_ae.errors import ConfigError
from lit_ae.samplers.estimated import Density, EstimatedSampler

CELLS = 2**22  # distances held at once
FACTORS = tuple(2.0 ** (i / 2) for i in range(-6, 5))  # 1/8 to 4
JUDGES = 2_000  # latents by which a factor is chosen


class Kernels(Density):
    """1/N Σ_i N(z; z_i, (α d_i)² I / D), where d_i is the distance of z_i to its k-th neighbour.

    Args:
        neighbours: k.
        bandwidth: α; None for the one under which each latent is likeliest given all others.
        points: Latents that are kept at most, drawn without replacement.
    """

    at: Tensor
    widths: Tensor

    def __init__(self, neighbours: int, bandwidth: float | None, points: int) -> None:
        super().__init__()
        self.neighbours, self.bandwidth, self.points = neighbours, bandwidth, points
        self.register_buffer("at", torch.empty(0))  # (N, D)
        self.register_buffer("widths", torch.empty(0))  # α d_i / √D, (N,)

    def estimate(self, z: Tensor, seed: int, whose: str) -> None:
        """Keep latents and find their bandwidths."""
        order = torch.randperm(len(z), generator=torch.Generator().manual_seed(seed))[: self.points]
        z = z[order.to(z.device)]
        if len(z) <= self.neighbours:
            raise ConfigError(
                f"{whose} has {len(z)} training samples, too few for their neighbour number {self.neighbours}: lower "
                "--sampler.neighbours, or fit without --condition."
            )
        nearest = [each.topk(self.neighbours + 1, largest=False).values[:, -1] for each in distances(z, z)]
        reach = torch.cat(nearest) / z.shape[1] ** 0.5  # the nearest of all is the latent itself
        reach = reach.clamp_min(1e-3 * reach.median().clamp_min(1e-6))  # of latents that are there k times
        self.at, self.widths = z, reach
        if self.bandwidth is None:
            scores = self.apart([factor * reach for factor in FACTORS])
            self.widths = FACTORS[max(range(len(FACTORS)), key=scores.__getitem__)] * reach
        else:
            self.widths = self.bandwidth * reach

    def apart(self, choices: list[Tensor]) -> list[float]:
        """Mean log density of the first latents, each given all but itself, under each choice of widths, (N,)."""
        first, start = self.at[:JUDGES], 0
        parts: list[list[Tensor]] = [[] for _ in choices]
        for each in distances(first, self.at):
            rows = torch.arange(len(each), device=each.device)
            each[rows, start + rows] = torch.inf
            for found, widths in zip(parts, choices, strict=True):
                found.append(total(kernel(each, widths, self.at.shape[1])))
            start += len(each)
        return [float(torch.cat(found).double().mean()) for found in parts]

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density in nats, (B,), of latents, (B, D)."""
        parts = [total(kernel(each, self.widths, z.shape[1])) for each in distances(z, self.at)]
        return torch.cat(parts) - log(len(self.at)) if parts else z.new_empty(0)

    def draw(self, n: int, temperature: float) -> Tensor:
        """n latents, (n, D)."""
        i = torch.randint(len(self.at), (n,), device=self.at.device)
        noise = torch.randn(n, self.at.shape[1], device=i.device, dtype=self.at.dtype)
        return self.at[i] + temperature * self.widths[i, None] * noise


def distances(z: Tensor, points: Tensor) -> Iterator[Tensor]:
    """Distances of latents, (B, D), to points, (N, D), in parts of some rows, (b, N), one after the other."""
    rows = max(1, CELLS // max(1, len(points)))
    for part in z.split(rows) if len(z) else ():
        # a difference of squares, the default, would leave close points no digits
        yield torch.cdist(part, points, compute_mode="donot_use_mm_for_euclid_dist")


def kernel(distance: Tensor, widths: Tensor, dim: int) -> Tensor:
    """Log density in nats, (b, N), of each kernel at a distance, (b, N), from its middle."""
    return distance.square().mul_(-0.5 / widths.square()).sub_(dim * (widths.log() + 0.5 * log(2 * pi)))


def total(log_p: Tensor) -> Tensor:
    """Log of the sum of densities, (b,), of their logs, (b, N), which it overwrites.

    Those 1e-35 times as large as the largest count as that: exp of what leaves the range takes ten times as long.
    """
    largest = log_p.amax(1)
    return log_p.sub_(largest[:, None]).clamp_min_(-80.0).exp_().sum(1).log_().add_(largest)


class KNNSampler(EstimatedSampler):
    """Kernel density over latents: a Gaussian about each, as wide as it is far from its k-th neighbour.

    A draw is a training latent and noise: at a temperature of 0 it is a training latent. With classes, one density
    each.

    Args:
        latent_dim: Number of latents, D.
        condition_shape: () is the number of a class, None is no condition.
        num_classes: Number of classes where the condition is one.
        neighbours: k.
        bandwidth: Standard deviation of a kernel over the root mean square of the distance to that neighbour per
            latent; without it the one of some under which each training latent is likeliest given all others.
        points: Training latents that are kept at most, of each class where there are some.

    Raises:
        ConfigError: A setting is out of range.

    Reference:
        Breiman, Meisel & Purcell, "Variable Kernel Estimates of Multivariate Densities", Technometrics 1977. https://doi.org/10.1080/00401706.1977.10489521
    """

    def __init__(
        self,
        latent_dim: int,
        condition_shape: Shape | None = None,
        num_classes: int = 0,
        neighbours: int = 5,
        bandwidth: float | None = None,
        points: int = 20_000,
    ) -> None:
        for name, size in (("neighbours", neighbours), ("points", points)):
            if size < 1:
                raise ConfigError(f"{name} is {size}: set --sampler.{name} to 1 or more.")
        if bandwidth is not None and not 0 < bandwidth < float("inf"):
            raise ConfigError(f"bandwidth is {bandwidth}: set --sampler.bandwidth to a finite number above 0.")
        self.settings = (neighbours, bandwidth, points)
        super().__init__(latent_dim, condition_shape, num_classes)

    def one(self) -> Kernels:
        """Build a kernel density."""
        return Kernels(*self.settings)
