"""Which latent dimensions carry information."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from lit_ae.plots.style import ACCENT, array, canvas, styled

MAX_TICKS = 32  # more labels than these collide


@styled
def kl_bars(kl: Tensor | np.ndarray, threshold: float = 0.01) -> Figure:
    """Bars of the rate of each latent dimension, the largest first.

    Args:
        kl: Mean KL(q(z_d|x)‖p(z_d)) in nats, (D,).
        threshold: Nats below which a dimension counts as collapsed.
    """
    kl = array(kl).ravel()
    order = np.argsort(-kl, kind="stable")
    active = int((kl >= threshold).sum())
    figure = canvas(height=4.5)
    axes = figure.add_subplot()
    colours = [ACCENT if kl[i] >= threshold else "#BBBBBB" for i in order]
    bars = axes.bar(range(len(kl)), kl[order], color=colours, width=min(0.8, 0.15 * len(kl)))
    axes.set_title(f"{active} of {len(kl)} latent dimensions carry {threshold:g} nats or more, {kl.sum():.3g} in all")
    axes.set(xlabel="latent dimension, largest first", ylabel="mean KL(q‖p), nats", xlim=(-0.6, len(kl) - 0.4))
    if len(kl) <= MAX_TICKS:
        axes.set_xticks(range(len(kl)), [str(i + 1) for i in order])
        axes.tick_params(axis="x", length=0)
    if len(kl) <= MAX_TICKS // 2:
        axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=10)
    return figure
