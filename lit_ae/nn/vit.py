"""Vision transformers of patches: an encoder that takes any subset of them, and a decoder that takes them all."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lit_ae.batch import Shape
from lit_ae.errors import ConfigError
from lit_ae.nn.base import check_sizes
from lit_ae.nn.patches import patchify, positions, unpatchify


class Transformer(nn.Module):
    """Pre-norm transformer blocks on tokens, and a last norm (Dosovitskiy et al. 2021).

    Args:
        width: Features of a token.
        depth: Number of blocks.
        heads: Attention heads of each block.
        expansion: Width of the blocks' hidden layers over that of the tokens.

    Raises:
        ConfigError: A size is not positive, or heads or positions do not divide the width.
    """

    def __init__(self, width: int, depth: int, heads: int, expansion: int) -> None:
        super().__init__()
        check_sizes(self, width=width, depth=depth, heads=heads, expansion=expansion)
        if width % heads or width % 4:
            raise ConfigError(f"A transformer of width={width} needs a multiple of 4 and of heads={heads}: change one.")
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, expansion * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, absent: Tensor | None = None) -> Tensor:
        """Map tokens, (B, n, width), to such; no token looks at those that are absent, (B, n)."""
        for block in self.blocks:
            tokens = block(tokens, src_key_padding_mask=absent)
        return self.norm(tokens)


class ViTEncoder(nn.Module):
    """Vision transformer on the patches of a picture, or on some of them: the others cost nothing.

    Args:
        input_shape: Shape of one picture, (C, H, W), its sides multiples of patch.
        patch: Side of a patch in pixels.
        width: Features of a patch's token, a multiple of 4 and of heads.
        depth: Number of transformer blocks.
        heads: Attention heads of each block.
        expansion: Width of the blocks' hidden layers over that of the tokens.

    Raises:
        ConfigError: A size is not positive, or heads or positions do not divide the width.
    """

    positions: Tensor

    def __init__(
        self, input_shape: Shape, patch: int, width: int = 64, depth: int = 4, heads: int = 4, expansion: int = 4
    ) -> None:
        super().__init__()
        channels, rows, columns = input_shape
        self.patch, self.width = patch, width
        self.transformer = Transformer(width, depth, heads, expansion)
        self.project = nn.Linear(channels * patch**2, width)
        # torch's own start would let what is in small patches drown in where they lie
        nn.init.kaiming_normal_(self.project.weight, nonlinearity="linear")
        self.hidden = nn.Parameter(0.02 * torch.randn(width))
        self.register_buffer("positions", positions(rows // patch, columns // patch, width), persistent=False)

    def forward(
        self, x: Tensor, there: Tensor | None = None, visible: int | None = None, extra: Tensor | None = None
    ) -> Tensor:
        """Map pictures to a token per patch, (B, N, width): one learned token where a patch is not looked at.

        Args:
            x: Pictures, (B, C, H, W).
            there: True for the patches that are looked at, (B, N), the only ones that enter the transformer; None
                for all.
            visible: How many these are, where it is the same for all pictures: spares an accelerator a stop.
            extra: One more token to look at, (B, width).
        """
        cut = patchify(x, self.patch)
        if there is None:
            return with_extra(self.transformer, self.project(cut) + self.positions, extra)
        if torch.compiler.is_exporting():  # a program's shapes do not depend on values: what is absent goes along
            unseen = ~there & there.any(1, keepdim=True)
            seen = with_extra(self.transformer, self.project(cut) + self.positions, extra, unseen)
            return seen.where(there.unsqueeze(2), self.hidden.to(seen.dtype))
        most = visible or max(1, int(there.sum(1).max()))
        kept = there.int().argsort(dim=1, descending=True, stable=True)[:, :most]
        absent = None
        if visible is None:
            absent = ~there.gather(1, kept)
            absent &= ~absent.all(1, keepdim=True)  # attention to nothing at all is NaN
        cut = cut.gather(1, kept.unsqueeze(2).expand(-1, -1, cut.shape[2]))
        seen = with_extra(self.transformer, self.project(cut) + self.positions[kept], extra, absent)
        tokens = seen.new_zeros(*there.shape, self.width).scatter(1, kept.unsqueeze(2).expand_as(seen), seen)
        return tokens.where(there.unsqueeze(2), self.hidden.to(seen.dtype))


class ViTDecoder(nn.Module):
    """Vision transformer from tokens of all patches to a picture; by default lighter than the encoder.

    Args:
        in_features: Features of a token.
        output_shape: Shape of the raw likelihood parameters of one picture, (C, H, W), its sides multiples of patch.
        patch: Side of a patch in pixels.
        width: Features of a token within, a multiple of 4 and of heads.
        depth: Number of transformer blocks.
        heads: Attention heads of each block.
        expansion: Width of the blocks' hidden layers over that of the tokens.

    Raises:
        ConfigError: A size is not positive, or heads or positions do not divide the width.
    """

    positions: Tensor

    def __init__(
        self,
        in_features: int,
        output_shape: Shape,
        patch: int,
        width: int = 32,
        depth: int = 2,
        heads: int = 4,
        expansion: int = 4,
    ) -> None:
        super().__init__()
        channels, self.height, self.across = output_shape
        self.patch = patch
        self.project = nn.Linear(in_features, width)
        self.register_buffer(
            "positions", positions(self.height // patch, self.across // patch, width), persistent=False
        )
        self.transformer = Transformer(width, depth, heads, expansion)
        self.head = nn.Linear(width, channels * patch**2)

    def forward(self, z: Tensor, extra: Tensor | None = None) -> Tensor:
        """Map tokens of all patches, (B, N, in_features), and one more, (B, in_features), to (B, C, H, W)."""
        seen = self.project(z) + self.positions
        tokens = with_extra(self.transformer, seen, None if extra is None else self.project(extra))
        return unpatchify(self.head(tokens), self.patch, self.height, self.across)


def with_extra(net: Transformer, tokens: Tensor, extra: Tensor | None, absent: Tensor | None = None) -> Tensor:
    """Tokens, (B, n, width), after a transformer in which they look at one more, (B, width), too."""
    if extra is None:
        return net(tokens, absent)
    if absent is not None:
        absent = torch.cat([absent.new_zeros(len(absent), 1), absent], 1)
    return net(torch.cat([extra.to(tokens.dtype).unsqueeze(1), tokens], 1), absent)[:, 1:]
