"""A critic that judges patches of a picture instead of the whole."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from lit_ae.batch import Shape
from lit_ae.nn.base import check_sizes
from lit_ae.nn.blocks import check_choice, down, group_norm, keep_scale, pyramid
from lit_ae.nn.grid import check_grid


class PatchCritic(nn.Module):
    """Fully convolutional critic: one logit for each patch of a picture (PatchGAN, Isola et al. 2017).

    The paper normalises over the batch; here no picture's logit depends on the others beside it, so that a batch of
    one trains and processes need not agree on statistics.

    Args:
        input_shape: Shape of one picture, (C, H, W).
        channels: Width of each stage, one halving each; the more stages, the larger the patches.
        kernel: Side of the halving convolutions' kernels in pixels.
        norm: `none`, `group` (Wu & He 2018, in all stages but the first) or `spectral` (Miyato et al. 2018, in all
            layers).

    Attributes:
        grid: Number of patches, (h, w).

    Raises:
        ConfigError: The samples are not pictures, a size is not positive, there is no stage, or norm is unknown.
    """

    def __init__(
        self,
        input_shape: Shape,
        channels: tuple[int, ...] = (32, 64),
        kernel: int = 4,
        norm: Literal["none", "group", "spectral"] = "none",
    ) -> None:
        super().__init__()
        check_grid(self, input_shape, channels)
        check_sizes(self, input_shape=input_shape, channels=channels, kernel=kernel)
        check_choice(self, "norm", norm, ("none", "group", "spectral"))
        *sizes, self.grid = pyramid(input_shape, len(channels))
        layers: list[nn.Module] = []
        for n_in, n_out, size in zip((input_shape[0], *channels[:-1]), channels, sizes, strict=True):
            normalised = [group_norm(n_out)] * (norm == "group" and len(layers) > 0)
            layers += [down(n_in, n_out, size, kernel), *normalised, nn.LeakyReLU(0.2)]
        self.trunk = nn.Sequential(*layers, nn.Conv2d(channels[-1], 1, 3, padding=1))
        keep_scale(self.trunk[:-1])
        if norm == "spectral":
            for layer in self.trunk:
                if isinstance(layer, nn.Conv2d):
                    spectral_norm(layer)

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures, (B, C, H, W), to logits for their patches being data, (B, 1, h, w)."""
        return self.trunk(x)
