"""What a picture is drawn from: opened runs that can serve it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lit_ae.batch import Batch, Shape
from lit_ae.errors import ConfigError, DataError
from lit_ae.jobs.opening import Opened, Split
from lit_ae.models.denoising_ae import DenoisingAE
from lit_ae.models.latent import VectorDecoding, VectorVariational
from lit_ae.models.masked_autoencoder import MaskedAutoencoder

Kind = type | tuple[type, ...]
RESTORING = (DenoisingAE, MaskedAutoencoder)
WANTED: dict[Kind, str] = {
    DenoisingAE: "a run of DenoisingAE",
    RESTORING: "a run of DenoisingAE or MaskedAutoencoder",
    VectorDecoding: "a run with one vector of latents per sample, such as AE's or VAE's",
    VectorVariational: "a run with a posterior and a prior, such as VAE's, BetaVAE's or CVAE's",
}


@dataclass(frozen=True)
class Request:
    """What is to be drawn.

    Args:
        picture: Its name.
        runs: The runs, opened.
        split: Which samples.
        n: How many of them.
    """

    picture: str
    runs: Sequence[Opened]
    split: Split
    n: int

    def first(self, n: int | None = None) -> list[Batch]:
        """The first n samples, by default those asked for, of every run.

        Raises:
            DataError: They are of different shapes.
        """
        batches = [run.first(n or self.n, self.split) for run in self.runs]
        for run, batch in zip(self.runs, batches, strict=True):
            if batch.x.shape != batches[0].x.shape:
                raise DataError(
                    f"The picture {self.picture} compares runs on the same data: {run.run.folder} has "
                    f"{len(batch.x):,} samples of shape {tuple(batch.x.shape[1:])}, {self.runs[0].run.folder} has "
                    f"{len(batches[0].x):,} of {tuple(batches[0].x.shape[1:])}."
                )
        return batches

    def names(self) -> list[str]:
        """What tells the runs apart: their variants, or else their names, or else their folders."""
        choices = ([run.variant for run in self.runs], [run.name for run in self.runs])
        folders = [str(run.run.folder) for run in self.runs]
        return next((names for names in choices if len(set(names)) == len(names)), folders)

    def need(self, kind: Kind, *which: int) -> None:
        """Refuse runs, by default any, of variants that cannot serve.

        Raises:
            ConfigError: Names what can.
        """
        for number, run in enumerate(self.runs):
            if not isinstance(run.model, kind) and (not which or number in which):
                raise ConfigError(
                    f"The picture {self.picture} needs {WANTED[kind]}: {run.run.folder} is a run of {run.variant}."
                )

    def need_shape(self, fits: Callable[[Shape], bool], wanted: str) -> None:
        """Refuse runs on data of another kind.

        Raises:
            ConfigError: Names what is wanted.
        """
        for run in self.runs:
            if not fits(shape := run.model.input_shape):
                raise ConfigError(
                    f"The picture {self.picture} needs runs on {wanted}: {run.run.folder} has samples of shape {shape}."
                )
