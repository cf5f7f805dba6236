"""Callbacks: schedules, constraints, monitors and pictures."""

from lit_ae.callbacks.bubbles import Bubbles
from lit_ae.callbacks.codebook import CodebookMonitor
from lit_ae.callbacks.collapse import CollapseMonitor
from lit_ae.callbacks.figures import publish
from lit_ae.callbacks.geco import GECO
from lit_ae.callbacks.latent_visualization import LatentVisualization
from lit_ae.callbacks.non_finite import NonFinite
from lit_ae.callbacks.reconstructions import Reconstructions
from lit_ae.callbacks.schedules import FreeBits, KLAnnealing, Schedule

__all__ = [
    "GECO",
    "Bubbles",
    "CodebookMonitor",
    "CollapseMonitor",
    "FreeBits",
    "KLAnnealing",
    "LatentVisualization",
    "NonFinite",
    "Reconstructions",
    "Schedule",
    "publish",
]
