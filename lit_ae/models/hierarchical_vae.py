"""The hierarchical variational autoencoder: a ladder of latents, inferred from the top down."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lit_ae.errors import ConfigError
from lit_ae.functional import full_precision
from lit_ae.models.hierarchy import Choose, Hierarchical, Levels
from lit_ae.nn import BottomUp, TopDown
from lit_ae.posteriors import DiagonalGaussian, DiagonalGaussianHead


class HierarchicalVAE(Hierarchical):
    """Hierarchical VAE of pictures: grids of latents from coarse to fine, inferred from the top down.

    One state runs from the top down to the picture. At every level it yields the prior and, joined by features of the
    picture, the posterior, and takes up the latents. The posterior is stated as what the picture adds to the prior's
    means and log variances (Vahdat & Kautz 2020, section 3.2). Minimises distortion plus rate, which is the sum of the
    levels' KL; evaluation logs each as `rate_0` (the top), `rate_1`, ...

    Args:
        latent_dim: Number of channels of each level's grid.
        channels: Width of each scale; the first is at full size, each later one halves the picture, rounding up.
        blocks: Number of levels of latents at each scale; 0 for none, but 1 or more at the last, the top.

    Reference:
        Sønderby et al., "Ladder Variational Autoencoders", NeurIPS 2016. https://arxiv.org/abs/1602.02282
        Child, "Very Deep VAEs Generalize Autoregressive Models", ICLR 2021. https://arxiv.org/abs/2011.10650
    """

    def __init__(
        self,
        *args: Any,
        latent_dim: int = 16,
        channels: tuple[int, ...] = (16, 32, 64),
        blocks: tuple[int, ...] = (0, 2, 2),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if latent_dim < 1:
            raise ConfigError(f"latent_dim is {latent_dim}: set --model.latent_dim to 1 or more.")
        features = 0 if self.condition is None else self.condition.features
        first, *size = self.input_shape
        self.encoder = BottomUp((first + features, *size), channels, blocks)
        self.decoder = TopDown(latent_dim, self.likelihood.raw_shape(), channels, blocks, features)
        self.latent_shapes = [(latent_dim, *size) for size in self.decoder.sizes]
        # within e^±5 of 1, neither a prior nor a posterior collapses to a point, which gives infinite gradients
        self.head = DiagonalGaussianHead((latent_dim, 1, 1), max_log_variance=10.0)

    def walk(self, choose: Choose, c: Tensor | None = None, x: Tensor | None = None) -> Levels:
        """Go from the top down, with latents that `choose` gives from a level's number and its posterior."""
        posteriors: list[DiagonalGaussian] = []
        priors: list[DiagonalGaussian] = []
        zs: list[Tensor] = []
        features = None
        if x is not None:
            features = self.encoder(x if self.condition is None else self.condition.beside_sample(x, c))

        def level(raw: Tensor, added: Tensor | None) -> Tensor:
            raw = full_precision(raw)
            seen: DiagonalGaussian = self.head(raw)
            priors.append(seen)
            if added is not None:
                seen = self.head(raw + added)
                posteriors.append(seen)
            zs.append(choose(len(zs), seen))
            return zs[-1]

        raw = self.decoder(level, features, None if self.condition is None else self.condition(c))
        return Levels(tuple(posteriors), tuple(priors), tuple(zs), raw)
