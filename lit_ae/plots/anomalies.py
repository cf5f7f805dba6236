"""How scores of new data lie beside those of known data, and the samples of highest score."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lit_ae.plots.style import INK, WIDTH, array, bare, canvas, styled
from lit_ae.plots.tiles import montage

BINS = 60  # at most
SHOWN = 0.995  # share of the scores within the axis; those beyond are counted in its last bin
GREY, BLUE, ORANGE = "#999999", "#0072B2", "#D55E00"
Worst = tuple[Tensor, Tensor, np.ndarray]


@styled
def anomalies(
    usual: np.ndarray,
    score: np.ndarray,
    threshold: float,
    normal: np.ndarray | None,
    name: str,
    quantile: str,
    worst: Worst | None = None,
    span: tuple[float, float] = (0.0, 1.0),
) -> Figure:
    """Histograms of scores, and under them the most anomalous samples over their reconstructions.

    Args:
        usual: Scores of validation data, (N,), in nats.
        score: Scores of the data, (M,).
        threshold: Score above which a sample counts as anomalous.
        normal: Which of the data are normal, (M,), where that is known.
        name: What is measured.
        quantile: The quantile that the threshold is, as text.
        worst: Pictures, (W, C, H, W), their reconstructions and scores, (W,), the highest first.
        span: Values shown as black and white.
    """
    page, centres = None, np.zeros(0)
    if worst is not None and len(worst[0]):
        page, _, centres = montage(np.stack([array(worst[0]), array(worst[1])]), span)
    share = 0.0 if page is None else page.shape[0] / page.shape[1]
    breadth = WIDTH - 1.1
    figure = canvas(WIDTH, 3.6 + (0.7 + breadth * share if page is not None else 0.0))
    if page is None:
        upper = figure.add_subplot()
    else:
        upper, lower = figure.subplots(2, 1, height_ratios=[3.0, 0.4 + breadth * share])
    histograms(upper, usual, score, threshold, normal, name, quantile)
    if page is not None and worst is not None:
        lower.imshow(page, vmin=0, vmax=1, interpolation="nearest")
        bare(lower)
        lower.set_title("The most anomalous samples and their scores")
        height = page.shape[0]
        lower.set_yticks([height / 4, 3 * height / 4], ["sample", "rebuilt"])
        lower.xaxis.tick_top()
        lower.set_xticks(centres, [f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}" for value in worst[2]])
        lower.tick_params(length=0)
    return figure


def histograms(
    axes: Axes,
    usual: np.ndarray,
    score: np.ndarray,
    threshold: float,
    normal: np.ndarray | None,
    name: str,
    quantile: str,
) -> None:
    """Shares of samples by score, one outline per set, with the threshold."""
    every = np.concatenate([usual, score])
    low, high = float(every.min()), max(float(np.quantile(every, SHOWN)), threshold)
    bins = int(np.clip(1.5 * np.sqrt(min(len(usual), len(score))), 5, BINS))
    edges = np.linspace(low, high + 0.02 * (high - low) + 1e-9, bins + 1)
    sets = [("validation", usual, GREY)]
    if normal is None:
        sets.append(("data", score, BLUE))
    else:
        sets += [("normal", score[normal], BLUE), ("not normal", score[~normal], ORANGE)]
    for label, values, colour in sets:
        if len(values):
            weights = np.full(len(values), 1 / len(values))
            clipped = np.minimum(values, edges[-1])
            filled = label == "validation"
            axes.hist(
                clipped,
                edges.tolist(),
                weights=weights,
                histtype="stepfilled" if filled else "step",
                linewidth=2,
                alpha=0.45 if filled else 1,
                color=colour,
                label=f"{label} ({len(values):,})",
            )
    axes.axvline(threshold, color=INK, linestyle="--", linewidth=1.5, label=f"threshold {threshold:.4g}")
    axes.set_title(f"Anomaly scores, threshold at the {quantile} quantile of validation", pad=30)
    beyond = "; the last bin holds all beyond" if every.max() > edges[-1] else ""
    axes.set(xlabel=f"{name}, nats{beyond}", ylabel="share of samples", xlim=(edges[0], edges[-1]))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0.2, columnspacing=1.2, fontsize=11)
