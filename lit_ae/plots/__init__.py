"""Tensors in, matplotlib figures out: no trainer in sight."""

from lit_ae.plots.bubbles import View, bubbles
from lit_ae.plots.collapse import kl_bars
from lit_ae.plots.concepts import Map, codes, error_lines, latent_maps, noises, rebuilt, restorations
from lit_ae.plots.energy import energy_maps, over_plane, plane_points, surroundings, vector_field
from lit_ae.plots.latent import Plane, latent_scatter
from lit_ae.plots.samples import decoded_grid, interpolations, reconstructions, samples, traversals

__all__ = [
    "Map",
    "Plane",
    "View",
    "bubbles",
    "codes",
    "decoded_grid",
    "energy_maps",
    "error_lines",
    "interpolations",
    "kl_bars",
    "latent_maps",
    "latent_scatter",
    "noises",
    "over_plane",
    "plane_points",
    "rebuilt",
    "reconstructions",
    "restorations",
    "samples",
    "surroundings",
    "traversals",
    "vector_field",
]
