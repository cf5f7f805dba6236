"""Tensors in, matplotlib figures out: no trainer in sight."""

from lit_ae.plots.collapse import kl_bars
from lit_ae.plots.latent import Plane, latent_scatter
from lit_ae.plots.samples import decoded_grid, interpolations, reconstructions, samples, traversals

__all__ = [
    "Plane",
    "decoded_grid",
    "interpolations",
    "kl_bars",
    "latent_scatter",
    "reconstructions",
    "samples",
    "traversals",
]
