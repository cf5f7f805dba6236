"""The families with a grid of latents per picture: fully convolutional encoder and decoder."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterable

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lit_ae.batch import Batch, DataSpec, Shape
from lit_ae.errors import ConfigError
from lit_ae.likelihoods import Gaussian, Likelihood, LikelihoodHead
from lit_ae.models.base import Autoencoder
from lit_ae.nn import Condition, fold
from lit_ae.nn.grid import GridDecoder, GridEncoder
from lit_ae.optim import FusedAdam


class GridLatent(Autoencoder, ABC):
    """A grid of latents, (D, h, w), which both networks see the condition beside, where the data have one.

    Args:
        spec: What the model must know of its data; the command line fills it in from the datamodule.
        latent_dim: Number of channels of the grid, D.
        grid_encoder: Builds the encoder from (input_shape, out_channels).
        grid_decoder: Builds the decoder from (in_channels, output_shape); it has as many stages as the encoder.
        likelihood: Builds the head that turns the decoder's output into p(x|z).
        optimizer: Builds the optimizer from the parameters.
        lr_scheduler: Builds a learning-rate scheduler, stepped once per epoch, from the optimizer.
        condition_features: Numbers that the condition becomes, beside the input and beside the latents.

    Raises:
        ConfigError: The samples are not pictures, or encoder and decoder mean different grids.
    """

    raw_channels = 1  # what the encoder yields for each channel of the grid

    def __init__(
        self,
        spec: DataSpec | None = None,
        latent_dim: int = 16,
        grid_encoder: Callable[[Shape, int], GridEncoder] = GridEncoder,
        grid_decoder: Callable[[int, Shape], GridDecoder] = GridDecoder,
        likelihood: Callable[[Shape], LikelihoodHead] = Gaussian,
        optimizer: Callable[[Iterable[Tensor]], Optimizer] = FusedAdam,
        lr_scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        condition_features: int = 16,
    ) -> None:
        super().__init__(spec, optimizer, lr_scheduler)
        for name, value in (("latent_dim", latent_dim), ("condition_features", condition_features)):
            if value < 1:
                raise ConfigError(f"{name} is {value}: set --model.{name} to 1 or more.")
        self.likelihood = likelihood(self.input_shape)
        self.likelihood.suit(self.spec)
        shape = self.spec.condition_shape
        self.condition = None if shape is None else Condition(shape, self.spec.num_classes, condition_features)
        more = 0 if self.condition is None else self.condition.features
        channels, *rest = self.input_shape
        self.encoder = grid_encoder((channels + more, *rest), self.raw_channels * latent_dim)
        self.decoder = grid_decoder(latent_dim + more, self.likelihood.raw_shape())
        if self.encoder.grid != self.decoder.grid:
            raise ConfigError(
                f"The encoder ends in a grid of {self.encoder.grid}, but the decoder starts from {self.decoder.grid}: "
                "give --model.grid_encoder.channels and --model.grid_decoder.channels the same number of stages."
            )
        self.latent_shape: Shape = (latent_dim, *self.encoder.grid)

    def check(self, batch: Batch) -> None:
        """Refuse values outside the likelihood's support, and conditions that do not fit."""
        super().check(batch)
        self.likelihood.check_values(batch.x)
        if self.condition is not None:
            self.condition.check(batch.c)

    def raw(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """The encoder's output, (B, raw_channels · D, h, w)."""
        return self.encoder(x if self.condition is None else self.condition.beside_sample(x, c))

    def decode(self, z: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Likelihood:  # type: ignore[override]
        """p(x|z, c), batch (*B), event E, from z, (*B, D, h, w)."""
        seen = z
        if self.condition is not None:
            if c is None:
                self.condition.check(c)
            seen = fold(self.condition.beside_sample, z, c, event_ndim=3)
        return self.likelihood(fold(self.decoder, seen, event_ndim=3)).masked(mask)
