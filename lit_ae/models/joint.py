"""Latents of several levels as one vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from math import prod

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.types import _size

from lit_ae.batch import Shape

Pick = Callable[[int, Distribution], Tensor]
Walk = Callable[[Pick], tuple[Sequence[Distribution], Sequence[Tensor]]]


def flat(zs: Sequence[Tensor]) -> Tensor:
    """Latents of all levels, (*B, *D_l) each, in one row, (*B, D), top level first."""
    return torch.cat([z.flatten(-3) for z in zs], -1)


def parted(z: Tensor, shapes: Sequence[Shape]) -> tuple[Tensor, ...]:
    """A row of latents, (*B, D), as its levels, (*B, *D_l): the way back of `flat`."""
    sizes = [prod(shape) for shape in shapes]
    parts = (z[..., end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True))
    return tuple(part.unflatten(-1, shape) for part, shape in zip(parts, shapes, strict=True))


class Joint(Distribution):
    """∏ p(z_l|z_<l) over the latents of all levels in one row: each level's distribution follows from those above.

    Args:
        walk: Goes from the top down, asks for the latents of each level, given its number and distribution, and yields
            all distributions and latents.
        batch_shape: Batch of the top level.
        shapes: Shape of the latents of each level, top level first.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 (torch's own convention)
    has_rsample = True

    def __init__(self, walk: Walk, batch_shape: _size, shapes: Sequence[Shape]) -> None:
        self.walk, self.shapes = walk, shapes
        super().__init__(torch.Size(batch_shape), torch.Size((sum(map(prod, shapes)),)), validate_args=False)

    @property
    def mode(self) -> Tensor:
        """The mode of each level given those of the levels above, (*B, D)."""
        return flat(self.walk(lambda _, level: level.mode)[1])

    def rsample(self, sample_shape: _size = ()) -> Tensor:
        """Draw z, (*sample_shape, *B, D), top level first."""
        shape = torch.Size(sample_shape)
        return flat(self.walk(lambda number, level: level.rsample(torch.Size() if number else shape))[1])

    @torch.no_grad()
    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draw z, (*sample_shape, *B, D), without a gradient."""
        return self.rsample(sample_shape)

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats, (*S, *B), of z, (*S, *B, D)."""
        parts = parted(z, self.shapes)
        levels, _ = self.walk(lambda number, _: parts[number])
        return torch.stack([level.log_prob(part) for level, part in zip(levels, parts, strict=True)]).sum(0)
