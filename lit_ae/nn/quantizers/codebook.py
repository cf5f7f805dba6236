"""Learned codebooks: the nearest of K vectors, moved by gradients or by running means."""

from __future__ import annotations

from abc import ABC
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_ae.errors import ConfigError
from lit_ae.functional import full_precision
from lit_ae.nn.quantizers.base import Quantizer, check, distance


class Codebook(Quantizer, ABC):
    """K vectors, of which the nearest stands for a vector; it starts by k-means, and dead codes are revived.

    Processes share their statistics, so that all of them hold the same codebook.

    Args:
        features: Number of features of one vector, D.
        num_codes: Number of codes, K.
        commitment: Weight of the pull of vectors to their codes (van den Oord et al. 2017, β in eq. 3).
        decay: What a training batch leaves of the running counts of codes, and of running means.
        revive: Share of the mean use below which a code moves to a random vector of the batch; 0 for never.
        kmeans_steps: Steps of k-means on the first training batch, where the codebook starts; 0 for none.

    Raises:
        ConfigError: A value is out of range.
    """

    codebook: Tensor
    counts: Tensor
    started: Tensor

    def __init__(
        self,
        features: int,
        num_codes: int = 512,
        commitment: float = 0.25,
        decay: float = 0.99,
        revive: float = 0.1,
        kmeans_steps: int = 10,
    ) -> None:
        super().__init__(features)
        check(self, num_codes=(num_codes, 1), commitment=(commitment, 0), revive=(revive, 0))
        check(self, kmeans_steps=(kmeans_steps, 0))
        if not 0 <= decay < 1:
            raise ConfigError(f"decay is {decay}: set --model.quantizer.decay from 0 to below 1.")
        self.num_codes, self.decay, self.revive, self.kmeans_steps = num_codes, decay, revive, kmeans_steps
        self.coefficients = {"commitment": commitment}
        self.register_buffer("counts", torch.ones(num_codes))
        self.register_buffer("started", torch.tensor(kmeans_steps == 0))

    def start(self) -> Tensor:
        """A codebook to begin with, (K, D), near 0."""
        return torch.empty(self.num_codes, self.features).uniform_(-1, 1) / self.num_codes

    @torch.no_grad()
    def encode(self, z: Tensor) -> Tensor:
        """Number of the nearest code, (B, *S); distances are taken in float32 or better."""
        return nearest(full_precision(z).movedim(1, -1), self.codebook)

    def lookup(self, codes: Tensor) -> Tensor:
        """Vectors of the codebook, (B, D, *S)."""
        return F.embedding(codes, full_precision(self.codebook)).movedim(-1, 1)

    def terms(self, z: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """Commitment, (B,): the squared distance of vectors to their codes, which moves the vectors alone."""
        return {"commitment": distance(z, self.lookup(codes).detach())}

    @torch.no_grad()
    def update(self, z: Tensor, codes: Tensor) -> None:
        """Start the codebook, or count its codes, move them, and revive those that are dead."""
        flat = full_precision(z).movedim(1, -1).reshape(-1, self.features)
        if not self.started:
            self.place(*self.kmeans(flat))
            self.started.fill_(True)
            return
        counts, sums = statistics(flat, codes.reshape(-1), self.num_codes)
        self.counts.lerp_(counts.to(self.counts.dtype), 1 - self.decay)
        self.move(sums)
        dead = self.counts < self.revive * self.counts.mean()
        if dead.any():  # the same on every process, whose counts are the same
            centres = torch.where(dead[:, None], gathered(flat, self.num_codes), full_precision(self.codebook))
            self.place(centres, torch.where(dead, self.counts.mean(), self.counts))

    def move(self, sums: Tensor) -> None:
        """Follow the batch: sums of the vectors of each code, (K, D)."""

    def place(self, centres: Tensor, counts: Tensor) -> None:
        """Set the codebook, (K, D), and the running counts, (K,)."""
        self.codebook.copy_(centres)
        self.counts.copy_(counts)

    def kmeans(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Centres, (K, D), and how many of the vectors (N, D) of all processes belong to each."""
        centres = gathered(flat, self.num_codes)
        counts = flat.new_ones(self.num_codes)
        for _ in range(self.kmeans_steps):
            counts, sums = statistics(flat, nearest(flat, centres), self.num_codes)
            centres = torch.where(counts[:, None] > 0, sums / counts[:, None].clamp(min=1), centres)
        return centres, counts


class VectorQuantizer(Codebook):
    """A codebook that gradients move (van den Oord et al. 2017, eq. 3).

    It takes the arguments of `Codebook`.
    """

    def __init__(self, features: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(features, *args, **kwargs)
        self.codebook = nn.Parameter(self.start())
        self.coefficients["codebook"] = 1.0

    def terms(self, z: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """Commitment and codebook, (B,): the same distance, which moves the vectors in one and codes in the other."""
        return super().terms(z, codes) | {"codebook": distance(self.lookup(codes), z.detach())}


class EMAVectorQuantizer(Codebook):
    """A codebook of running means of the vectors that it stands for (van den Oord et al. 2017, appendix A.1).

    It takes the arguments of `Codebook`.
    """

    sums: Tensor

    def __init__(self, features: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(features, *args, **kwargs)
        self.register_buffer("codebook", self.start())
        self.register_buffer("sums", self.codebook.clone())

    def move(self, sums: Tensor) -> None:
        """Divide running sums by running counts, these smoothed so that none is 0 (Laplace)."""
        self.sums.lerp_(sums.to(self.sums.dtype), 1 - self.decay)
        counts, epsilon = full_precision(self.counts), 1e-5
        total = counts.sum()
        smooth = (counts + epsilon) / (total + self.num_codes * epsilon) * total
        self.codebook.copy_(full_precision(self.sums) / smooth[:, None])

    def place(self, centres: Tensor, counts: Tensor) -> None:
        """Set the codebook and its running sums."""
        super().place(centres, counts)
        self.sums.copy_(centres * counts[:, None])


def nearest(z: Tensor, codebook: Tensor) -> Tensor:
    """Number of the code nearest to each vector, (*B), from z, (*B, D), and codes, (K, D)."""
    with torch.autocast(z.device.type, enabled=False):  # bf16 would take near codes for one another
        codebook = codebook.to(z.dtype)
        return (codebook.square().sum(1) - 2 * z @ codebook.T).argmin(-1)


def statistics(flat: Tensor, codes: Tensor, num_codes: int) -> tuple[Tensor, Tensor]:
    """How often each code occurs, (K,), and the sum of its vectors, (K, D), over all processes."""
    both = flat.new_zeros(num_codes, flat.shape[1] + 1)
    both.index_add_(0, codes, F.pad(flat, (0, 1), value=1.0))
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(both)
    return both[:, -1], both[:, :-1]


def gathered(flat: Tensor, n: int) -> Tensor:
    """Draw n of the vectors (N, D) of all processes, the same on each: every process gives every w-th."""
    count = len(flat)
    rows = torch.randperm(count, device=flat.device)[:n]
    if count < n:
        rows = torch.cat([rows, torch.randint(count, (n - count,), device=flat.device)])
    mine = flat[rows].contiguous()
    if not torch.distributed.is_initialized():
        return mine
    parts = [torch.empty_like(mine) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, mine)
    return torch.stack(parts, 1).flatten(0, 1)[:n]
