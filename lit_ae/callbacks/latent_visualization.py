"""Pictures of the latent space."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import Independent, Normal

from lit_ae.batch import Batch
from lit_ae.callbacks.collector import Collector, Rows
from lit_ae.callbacks.figures import publish
from lit_ae.models.base import Autoencoder
from lit_ae.models.generative import Generative
from lit_ae.plots import Plane, decoded_grid, interpolations, latent_scatter, traversals
from lit_ae.plots.tiles import is_picture, limits
from lit_ae.posteriors import DiagonalGaussian


class LatentVisualization(Collector):
    """Draw the latent space of the validation data: codes, a decoded grid, traversals and interpolations.

    `latent.png` scatters the codes, coloured by label, with the spread of some posteriors as ellipses;
    `latent_grid.png` decodes a grid over the plane; `traversals.png` moves one latent at a time; `interpolations.png`
    walks between pairs of samples. With more than two latents the plane is that of the first two principal components.

    Args:
        every_n_epochs: How often to draw; 0 for the end of training alone, when it always draws.
        max_samples: Number of validation samples looked at, over all processes.
        ellipses: Number of posteriors drawn as ellipses of one standard deviation.
        grid: Pictures along each side of the decoded grid.
        dims: Most latents to traverse, the most active first.
        pairs: Pairs of samples to interpolate between.
        steps: Pictures from one sample to the other.
        spherical: Interpolate along great circles instead of straight lines (White 2016).
        history: Keep the pictures of every epoch drawn, not the newest alone.
        class_names: Names of the classes for the legend; by default their numbers.
    """

    def __init__(
        self,
        every_n_epochs: int = 5,
        max_samples: int = 2000,
        ellipses: int = 30,
        grid: int = 15,
        dims: int = 10,
        pairs: int = 6,
        steps: int = 11,
        spherical: bool = False,
        history: bool = False,
        class_names: list[str] | None = None,
    ) -> None:
        super().__init__(every_n_epochs, max_samples)
        self.ellipses, self.grid, self.dims, self.pairs, self.steps = ellipses, grid, dims, pairs, steps
        self.spherical, self.history, self.class_names = spherical, history, class_names
        self._first: Batch | None = None  # the samples to interpolate between
        self._told = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start without samples."""
        self._first = None

    def collect(self, model: Autoencoder, batch: Batch) -> Rows:
        """Codes, labels, and the posterior's standard deviations where it is Gaussian."""
        if self._first is None:
            kept = [None if part is None else part[: 2 * self.pairs] for part in batch[:4]]
            self._first = Batch(*kept)  # type: ignore[arg-type]
        q = model.encode(batch.x, batch.c, batch.mask)
        rows = {"z": q.mode.float()}
        if isinstance(q, DiagonalGaussian):
            rows["scale"] = q.scale.float()
        if batch.y is not None:
            rows["y"] = batch.y
        return rows

    def draw(self, trainer: Trainer, model: Autoencoder, rows: Rows) -> None:
        """Draw and publish all pictures."""
        assert self._first is not None
        finite = rows["z"].flatten(1).isfinite().all(1)
        if not finite.any():
            rank_zero_warn("No pictures of the latent space: every code is NaN or infinite.")
            return
        rows = {name: value[finite] for name, value in rows.items()}
        z, y, scale, first = rows["z"], rows.get("y"), rows.get("scale"), self._first
        span = limits(first.x.float().cpu().numpy())

        def show(name: str, draw: Callable[[], Figure]) -> None:
            publish(trainer, name, draw, self.history)

        show("latent", lambda: latent_scatter(z, y, scale, self.class_names, self.ellipses))
        if is_picture(model.input_shape):
            plane, across, down = self.coordinates(model, z, first.c)
            points = np.stack(np.meshgrid(across, down[::-1]), -1)[..., : len(plane.labels)]
            decoded = decode(model, z, torch.from_numpy(plane.lift(points)), first.c)
            show("latent_grid", lambda: decoded_grid(decoded, across.tolist(), down[::-1].tolist(), plane.labels, span))
        elif not self._told:
            self._told = True
            rank_zero_info(f"No latent_grid.png: samples of shape {model.input_shape} are not pictures.")
        codes, offsets, dims = walks(z, scale, self.dims)
        moved = decode(model, z, codes, first.c)
        show("traversals", lambda: traversals(moved, offsets.tolist(), dims.tolist(), span))
        if trainer.strategy.broadcast(len(first.x)) >= 2:  # the first process decides: `publish` is for all or none
            show("interpolations", lambda: self.interpolate(model, z, first, span))

    def interpolate(self, model: Autoencoder, z: Tensor, first: Batch, span: tuple[float, float]) -> Figure:
        """Walks between pairs of the first samples of this process."""
        pairs = len(first.x) // 2
        kept = [None if part is None else part[: 2 * pairs] for part in (first.x, first.c, first.mask)]
        ends = model.embed(*kept).flatten(1).float()  # type: ignore[arg-type]
        way = between(ends[0::2], ends[1::2], self.steps, self.spherical)
        c = None if first.c is None else first.c[: 2 * pairs : 2].repeat_interleave(self.steps, 0)
        walked = decode(model, z, way, c)
        return interpolations(walked, first.x[: 2 * pairs].unflatten(0, (-1, 2)), span)

    def coordinates(self, model: Autoencoder, z: Tensor, c: Tensor | None) -> tuple[Plane, np.ndarray, np.ndarray]:
        """The plane, and where its columns and rows lie, both rising: at the prior's quantiles or over the data."""
        plane = Plane.fit(z.flatten(1))
        u = torch.linspace(0.02, 0.98, self.grid, dtype=torch.float64)
        prior = model.prior(None if c is None else c[:1]) if isinstance(model, Generative) else None
        if isinstance(prior, Independent) and isinstance(prior.base_dist, Normal) and z[0].numel() <= 2:
            loc, scale = (value.reshape(-1, 1).cpu().double() for value in (prior.mean, prior.stddev))
            ticks = (loc + scale * torch.special.ndtri(u)).numpy()
        else:
            low, high = np.percentile(plane.project(z.flatten(1)), [1, 99], axis=0)
            ticks = np.linspace(low, high, self.grid, axis=1)
        return plane, ticks[0], ticks[1] if len(ticks) > 1 else np.zeros(1)


def decode(model: Autoencoder, like: Tensor, codes: Tensor, c: Tensor | None) -> Tensor:
    """E[x|z], (*B, *E), of flat codes (*B, D); one condition per code, or the first for all."""
    flat = codes.reshape(-1, codes.shape[-1]).to(like).unflatten(1, like.shape[1:])
    if c is not None and len(c) != len(flat):
        c = c[:1].expand(len(flat), *c.shape[1:])
    return model.decode(flat, c).mean.float().unflatten(0, codes.shape[:-1])


def walks(z: Tensor, scale: Tensor | None, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Codes (R, C, D) that move one latent about the mean code by offsets (C,), ±3 deviations, and which latents (R,).

    The deviation is that of the aggregated posterior: the spread of the codes plus the mean spread about them.
    """
    z = z.flatten(1)
    activity = z.var(0, correction=0)
    deviation = activity if scale is None else activity + scale.flatten(1).square().mean(0)
    dims = activity.argsort(descending=True)[:most]
    offsets = torch.linspace(-3, 3, 13, device=z.device)
    codes = z.mean(0).repeat(len(dims), len(offsets), 1)
    for row, dim in enumerate(dims):
        codes[row, :, dim] += offsets * deviation[dim].sqrt()
    return codes, offsets, dims


def between(start: Tensor, stop: Tensor, steps: int, spherical: bool = False) -> Tensor:
    """Codes on the way from start to stop, (N, steps, D), along lines or great circles (White 2016, arXiv:1609.04468).

    Great circles fall back to lines where the two are parallel.
    """
    t = torch.linspace(0, 1, steps, device=start.device)[:, None]
    a, b = start[:, None], stop[:, None]
    line = (1 - t) * a + t * b
    if not spherical:
        return line
    cosine = torch.cosine_similarity(a, b, dim=-1)[..., None].clamp(-1, 1)
    angle, sine = cosine.arccos(), (1 - cosine.square()).sqrt()
    arc = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / sine
    return torch.where(sine > 1e-4, arc, line)
