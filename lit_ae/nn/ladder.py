"""The two sides of a ladder: features of a picture from full size up, and a state from the top down to the picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lit_ae.batch import Shape
from lit_ae.errors import ConfigError
from lit_ae.nn.base import check_sizes, fold
from lit_ae.nn.blocks import ChannelsLast, down, group_norm, pyramid, up
from lit_ae.nn.grid import check_grid
from lit_ae.nn.resnet import ResBlock

Choose = Callable[[Tensor, Tensor | None], Tensor]
"""From raw prior parameters, (*B, 2D, h, w), and what the picture adds to them, or None, to latents (*B, D, h, w)."""


class BottomUp(nn.Module):
    """Features of pictures of any size at several scales: each after the first halves the picture, rounding up.

    Args:
        input_shape: Shape of one picture, (C, H, W).
        channels: Width of each scale, the first at full size.
        blocks: Number of residual blocks at each scale.

    Raises:
        ConfigError: The samples are not pictures, a size is not positive, or blocks and channels do not fit.
    """

    def __init__(self, input_shape: Shape, channels: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        check_grid(self, input_shape, channels)
        check_sizes(self, input_shape=input_shape, channels=channels)
        if len(blocks) != len(channels) or min(blocks) < 0 or blocks[-1] < 1:
            raise ConfigError(
                f"channels {tuple(channels)} and blocks {tuple(blocks)} do not make a ladder: give --model.blocks as "
                "many entries as --model.channels, none of them negative, and the last, the top, of 1 or more."
            )
        sizes = pyramid(input_shape, len(channels) - 1)
        scales = []
        for i, (width, count) in enumerate(zip(channels, blocks, strict=True)):
            plain = nn.Conv2d(input_shape[0], width, 3, padding=1)
            first = plain if i == 0 else down(channels[i - 1], width, sizes[i - 1], 3)
            scales.append(nn.Sequential(first, ChannelsLast(), *(ResBlock(width, nn.SiLU) for _ in range(count))))
        self.scales = nn.ModuleList(scales)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map x, (B, C, H, W), to features, (B, channels, h, w), of each scale from full size up."""
        features = []
        for scale in self.scales:
            x = scale(x)
            features.append(x)
        return features


class Rung(nn.Module):
    """One level of latents: what the state says of them, what the picture adds, and what they add to the state.

    The last convolutions start so that depth does no harm: the prior's at zero, those to and from the latents with
    1/√levels of their usual scale (Child 2021, section 3.3). Ladders of any depth then start with the same rate.

    Args:
        width: Channels of the state, W, and of the features.
        latent_dim: Channels of the latents, D.
        levels: Number of levels in the ladder.
    """

    def __init__(self, width: int, latent_dim: int, levels: int) -> None:
        super().__init__()
        self.split = (2 * latent_dim, width)
        self.seen = nn.Sequential(group_norm(width), nn.SiLU(), nn.Conv2d(width, width, 1))
        self.prior = nn.Sequential(
            group_norm(width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(), nn.Conv2d(width, sum(self.split), 1),
        )  # fmt: skip
        self.posterior = Merge(width, 2 * latent_dim)
        self.latent = nn.Conv2d(latent_dim, width, 1)
        self.residual = ResBlock(width, nn.SiLU)
        with torch.no_grad():
            for zero in self.prior[-1].parameters():
                zero.zero_()
            for small in (self.latent.weight, *self.posterior.out[-1].parameters()):
                small.mul_(levels**-0.5)

    def forward(self, state: Tensor, features: Tensor | None, choose: Choose) -> Tensor:
        """Map a state, (*B, W, h, w), and features, (B, W, h, w), or None, to the next state."""
        prior, more = fold(self.prior, state, event_ndim=3).split(self.split, -3)
        added = None
        if features is not None:
            wide = state if state.ndim > 3 else state.expand(features.shape[0], *state.shape)
            added = fold(self.posterior, wide, self.seen(features), event_ndim=3)
        state = state + more + fold(self.latent, choose(prior, added), event_ndim=3)
        return fold(self.residual, state, event_ndim=3)


class Merge(nn.Module):
    """What state and features together say of the latents.

    Args:
        width: Channels of both.
        out_channels: Channels of the result.
    """

    def __init__(self, width: int, out_channels: int) -> None:
        super().__init__()
        self.state = nn.Sequential(group_norm(width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))
        self.out = nn.Sequential(nn.SiLU(), nn.Conv2d(width, out_channels, 1))

    def forward(self, state: Tensor, seen: Tensor) -> Tensor:
        """Map two maps, (N, W, h, w), to (N, out_channels, h, w)."""
        return self.out(self.state(state) + seen)


class TopDown(nn.Module):
    """A state that starts at the top, takes up latents level by level, and ends as a picture.

    Args:
        latent_dim: Channels of the latents of every level.
        output_shape: Shape of the raw likelihood parameters of one picture, (C, H, W).
        channels: Width of each scale, the first at full size.
        blocks: Number of levels at each scale.
        condition_features: Numbers that the state starts from beside what is learned.

    Attributes:
        sizes: Size of the latents of each level, (h, w), top level first.
    """

    def __init__(
        self,
        latent_dim: int,
        output_shape: Shape,
        channels: tuple[int, ...],
        blocks: tuple[int, ...],
        condition_features: int = 0,
    ) -> None:
        super().__init__()
        sizes = pyramid(output_shape, len(channels) - 1)
        self.start = nn.Parameter(torch.zeros(channels[-1], *sizes[-1]))
        self.condition = nn.Linear(condition_features, channels[-1]) if condition_features else None
        self.sizes = [sizes[i] for i in reversed(range(len(blocks))) for _ in range(blocks[i])]
        scales, ways = [], []
        for i in reversed(range(len(channels))):
            scales.append(nn.ModuleList(Rung(channels[i], latent_dim, sum(blocks)) for _ in range(blocks[i])))
            if i:
                ways.append(nn.Sequential(ChannelsLast(), up(channels[i], channels[i - 1], sizes[i - 1], 3, "resize")))
        last = nn.Conv2d(channels[0], output_shape[0], 3, padding=1)
        ways.append(nn.Sequential(group_norm(channels[0]), nn.SiLU(), last))
        self.scales, self.ways = nn.ModuleList(scales), nn.ModuleList(ways)

    def forward(
        self, choose: Choose, features: Sequence[Tensor] | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """Map latents, chosen level by level, to raw parameters, (*B, C, H, W), with the batch that they have.

        Args:
            choose: Chooses the latents of the next level, top level first.
            features: Of `BottomUp`, where the picture is known.
            condition: Numbers of each sample, (B, condition_features), where there are any.
        """
        state: Tensor = self.start
        if self.condition is not None:
            assert condition is not None
            state = state + self.condition(condition).unflatten(-1, (-1, 1, 1))
        seen = [None] * len(self.ways) if features is None else features[::-1]
        for rungs, way, feature in zip(self.scales, self.ways, seen, strict=True):
            assert isinstance(rungs, nn.ModuleList)
            for rung in rungs:
                state = rung(state, feature, choose)
            state = fold(way, state, event_ndim=3)
        return state
