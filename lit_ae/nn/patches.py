"""Pictures as patches: cut, joined, placed, counted, and hidden at random."""

from __future__ import annotations

import torch
from torch import Tensor

from lit_ae.batch import Shape
from lit_ae.errors import ConfigError


def patchify(x: Tensor, patch: int) -> Tensor:
    """Cut pictures, (B, C, H, W), into patches row by row, (B, N, C · patch²)."""
    batch, channels, height, width = x.shape
    cut = x.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpatchify(patches: Tensor, patch: int, height: int, width: int) -> Tensor:
    """Join patches, (B, N, C · patch²), to pictures, (B, C, height, width): what `patchify` cut."""
    batch = patches.shape[0]  # len would fix the batch of an exported program
    cut = patches.reshape(batch, height // patch, width // patch, -1, patch, patch)
    return cut.permute(0, 3, 1, 4, 2, 5).reshape(batch, -1, height, width)


def count_patches(shape: Shape, patch: int) -> int:
    """Number of patches that a picture of a shape, (C, H, W), is cut into.

    Raises:
        ConfigError: The samples are no pictures, or not of whole patches.
    """
    if len(shape) != 3:
        raise ConfigError(f"Patches are cut from pictures of shape (C, H, W), but the samples have {shape}: use AE.")
    _, height, width = shape
    if patch < 1 or height % patch or width % patch:
        fits = [str(side) for side in range(1, min(height, width) + 1) if height % side == width % side == 0]
        raise ConfigError(
            f"Pictures of {height} x {width} pixels cannot be cut into patches of side {patch}: "
            f"set --model.patch to one of {', '.join(fits)}, or resize them."
        )
    return height * width // patch**2


def positions(height: int, width: int, features: int) -> Tensor:
    """Fixed 2-D sine-cosine positions of a grid, row by row, (height · width, features) (Chen et al. 2021, MoCo v3).

    The first half of the features says the column, the second the row, each as sin(ω_i t), then cos(ω_i t), with
    ω_i = 10000^(−4i / features).

    Args:
        height: Rows of the grid.
        width: Columns of the grid.
        features: Numbers per place, a multiple of 4.
    """
    quarter = features // 4
    omega = 10000.0 ** -(torch.arange(quarter, dtype=torch.float64) / quarter)
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    angles = [place.reshape(-1, 1) * omega for place in (column, row)]
    return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], 1).float()


def shown(patches: int, mask_ratio: float) -> int:
    """How many of a picture's patches are visible: at least one, and not all unless the ratio is 0."""
    hidden = max(round(mask_ratio * patches), 1) if mask_ratio else 0
    return max(patches - hidden, 1)


def hide(there: Tensor, mask_ratio: float, visible: int | None = None) -> Tensor:
    """Hide patches at random, of each picture's own as many as its ratio says: True where hidden, (B, N).

    Args:
        there: True for the patches that are known, (B, N).
        mask_ratio: Share of the known patches that are hidden.
        visible: How many stay visible, where it is the same for all pictures.
    """
    rank = (torch.rand(there.shape, device=there.device) + ~there).argsort(1).argsort(1)
    if visible is not None:
        return rank >= visible
    return rank >= torch.tensor([[shown(count, mask_ratio)] for count in there.sum(1).tolist()], device=rank.device)
