"""What `lit_ae detect` measures, and the files that it writes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.base import DataModule
from datamodules.tables import read
from lit_ae.batch import Batch, key
from lit_ae.callbacks.figures import png
from lit_ae.callbacks.figures import write as write_bytes
from lit_ae.errors import ConfigError, DataError
from lit_ae.jobs.measured import inputs
from lit_ae.jobs.opening import Opened, Split, opened
from lit_ae.jobs.parsing import vacant
from lit_ae.jobs.rows import write_rows
from lit_ae.jobs.tracking import track
from lit_ae.metrics import nll
from lit_ae.models.base import Autoencoder
from lit_ae.models.generative import Variational
from lit_ae.models.randomness import reseed
from lit_ae.plots.anomalies import anomalies
from lit_ae.plots.style import array
from lit_ae.plots.tiles import is_picture, limits

BLOCK = 128  # samples at once, always: the noise of a block is keyed by its number
AT_ONCE = 8  # samples of q(z|x) decoded at once
WORST = 10  # samples in the picture
NORMAL = ("normal", "good", "ok", "nominal", "inlier")
SAMPLES = {"elbo": 16, "log_px": 100}
Score = Callable[[Batch, int], Tensor]  # of a block and its number: (B,)


class Scored(NamedTuple):
    """Scores of a split, with its samples of highest score.

    Args:
        score: Nats, (N,), the higher the more anomalous.
        y: Labels, (N,), where there are classes.
        worst: Positions of the most anomalous samples, the worst first, (W,).
        x: These samples, (W, *E).
        x_hat: Their reconstructions, (W, *E).
    """

    score: np.ndarray
    y: np.ndarray | None
    worst: np.ndarray
    x: Tensor
    x_hat: Tensor


def detect(asked: Namespace, flags: Sequence[str]) -> list[str]:
    """Score and write what a command line asks for, and say in lines what was written and found.

    Raises:
        ConfigError: The run cannot serve the score, or there are no such classes.
        DataError: The data are missing, or do not fit.
        RunError: The run cannot be opened.
    """
    run = opened(asked.run, flags, asked.data, asked.device)
    path = vacant(asked.out or run.run.folder / "anomalies.csv", asked.overwrite)
    split: Split = "test" if asked.data else asked.split
    name = asked.score or ("elbo" if isinstance(run.model, Variational) else "reconstruction")
    measure = score(run, name, asked.samples, asked.seed)
    found = scored(run, split, measure)
    names = file_names(run, split)
    known = None if asked.labels else run.class_names
    if asked.labels:
        labels: np.ndarray | None = labels_in(Path(asked.labels), len(found.score))
    else:
        labels = classes(found.y, known, names)
    normal = is_normal(labels, asked.normal, known)
    usual = scored(run, "val", measure, keep=0).score
    threshold = float(np.quantile(usual, asked.quantile))
    anomalous = found.score > threshold
    columns = {"index": np.arange(len(anomalous)), "name": names, "score": found.score, "anomalous": anomalous}
    columns |= {"label": labels}
    write_rows(path, [{name: values for name, values in columns.items() if values is not None}])
    figure = anomalies(
        usual, found.score, threshold, normal, f"\N{MINUS SIGN}{TITLES[name]}", f"{asked.quantile:.4g}",
        (found.x, found.x_hat, found.score[found.worst]) if is_picture(run.model.input_shape) else None,
        run.model.spec.value_range or limits(array(found.x)),
    )  # fmt: skip
    picture = run.run.figures / "anomalies.png"
    write_bytes(picture, png(figure))
    lines = [
        f"scores    {path}",
        f"picture   {picture}",
        f"threshold {threshold:.2f} nats, the {asked.quantile:.4g} quantile of {len(usual):,} validation samples",
        f"anomalous {anomalous.sum():,} of {len(anomalous):,} samples ({anomalous.mean():.1%})",
    ]
    return lines if normal is None else [*lines, *agreement(found.score, anomalous, normal)]


TITLES = {"reconstruction": "log p(x|ẑ)", "elbo": "ELBO", "log_px": "log p(x)"}


def score(run: Opened, name: str, samples: int | None, seed: int) -> Score:
    """The score of a name, for a run.

    Raises:
        ConfigError: The run has none.
    """
    model = run.model
    if name == "reconstruction":
        return lambda batch, _: reconstruction(model, batch)
    if not isinstance(model, Variational):
        raise ConfigError(
            f"--score {name} needs a rate, which {run.variant} of {run.run.folder} has not: use --score reconstruction."
        )
    count, variational = samples or SAMPLES[name], model
    if name == "log_px":
        return lambda batch, number: nll(variational, batch, count, seed=key(seed, number)).nats
    return lambda batch, number: negative_elbo(variational, batch, count, key(seed, number))


def reconstruction(model: Autoencoder, batch: Batch) -> Tensor:
    """−log p(x|ẑ) in nats, (B,), ẑ the mode of q(z|x); missing cells do not count."""
    return -model.decode(model.embed(*inputs(batch)), batch.c, batch.mask).log_prob(batch.x)


def negative_elbo(model: Variational, batch: Batch, samples: int, seed: int) -> Tensor:
    """−ELBO in nats, (B,), averaged over samples of q(z|x)."""
    total = torch.zeros(len(batch.x), device=batch.x.device)
    for start in range(0, samples, AT_ONCE):
        reseed(key(seed, start), batch.x.device)
        count = min(AT_ONCE, samples - start)
        out = model(batch, count)
        total += count * (model.rate(out) - out.p.log_prob(batch.x).mean(0))
    return total / samples


@torch.no_grad()
def scored(run: Opened, split: Split, measure: Score, keep: int = WORST) -> Scored:
    """Score a split block by block; memory holds a block, and the samples of highest score.

    Raises:
        DataError: A score is no number.
    """
    parts: list[Tensor] = []
    labels: list[Tensor | None] = []
    kept: Kept | None = None
    start = 0
    count = run.count(split)
    blocks = track(run.ordered(split, BLOCK), None if count is None else -(-count // BLOCK), split)
    for number, batch in enumerate(blocks):
        part = measure(batch, number).double().cpu()
        if part.isnan().any():
            place = start + int(part.isnan().nonzero()[0])
            raise DataError(f"The score of sample {place} of the {split} data is no number: look for nan in it.")
        parts.append(part)
        labels.append(None if batch.y is None or batch.y.ndim > 1 or batch.y.is_floating_point() else batch.y.cpu())
        kept = worst(kept, part, torch.arange(start, start + len(part)), batch, run.model, keep)
        start += len(part)
    y = None if any(part is None for part in labels) else torch.cat(labels).numpy()  # type: ignore[arg-type]
    assert kept is not None  # no split is empty
    return Scored(torch.cat(parts).numpy(), y, kept[1].numpy(), *kept[2:])


Kept = tuple[Tensor, Tensor, Tensor, Tensor]  # score, position, x, x̂


def worst(kept: Kept | None, score: Tensor, place: Tensor, batch: Batch, model: Autoencoder, keep: int) -> Kept:
    """The samples of highest score among those kept and a block's."""
    order = score.argsort(descending=True, stable=True)[:keep]
    picked = order.to(batch.x.device)
    x, c, mask = (None if part is None else part[picked] for part in inputs(batch))
    assert x is not None
    x_hat = model.reconstruct(x, c, mask) if len(x) else x
    new = (score[order], place[order], x.cpu(), x_hat.cpu())
    if kept is None:
        return new
    both = [torch.cat(pair) for pair in zip(kept, new, strict=True)]
    best = both[0].argsort(descending=True, stable=True)[:keep]
    return tuple(part[best] for part in both)  # type: ignore[return-value]


def file_names(run: Opened, split: Split) -> np.ndarray | None:
    """Names of the samples, (N,), where they come from files."""
    if not isinstance(run.data, DataModule):
        return None
    source, index = run.data.split(split)
    return None if source.names is None else np.array([str(source.names[place]) for place in index.tolist()])


def labels_in(path: Path, count: int) -> np.ndarray:
    """Labels of samples, as text, (N,), from a column `y` or `label` of a file, or from its only one.

    Raises:
        DataError: There is none, or it is of another length.
    """
    arrays = read(path).arrays
    name = next((name for name in ("y", "label", *arrays) if name in arrays), "")
    if len(arrays) > 1 and name not in ("y", "label"):
        raise DataError(f"{path} has no column y or label but {', '.join(arrays)[:200]}: call the labels y.")
    values = arrays[name]
    if values.shape != (count,):
        raise DataError(f"{path} has {name} of shape {values.shape}, for {count:,} samples: give a label for each.")
    whole = values.dtype.kind == "b" or (values.dtype.kind == "f" and bool((values == values.round()).all()))
    return (values.astype(np.int64) if whole else values).astype(str)


def classes(y: np.ndarray | None, known: Sequence[str] | None, names: np.ndarray | None) -> np.ndarray | None:
    """The class of each sample in words, (N,): its label's name or number, or its file's folder; None without any."""
    if y is not None:
        return np.array([str(label) if known is None else known[label] for label in y.tolist()])
    if names is None:
        return None
    folders = [PurePath(name).parent.parts[:1] for name in names.tolist()]
    return np.array([folder[0] for folder in folders]) if all(folders) else None


def is_normal(labels: np.ndarray | None, asked: Sequence[str] | None, known: Sequence[str] | None) -> np.ndarray | None:
    """Which samples are of a normal class, (N,); None where nothing says so.

    Raises:
        ConfigError: There are no classes, or none of that name.
    """
    if labels is None:
        if asked:
            raise ConfigError(
                "--normal names classes, but the data have no labels: give --labels FILE, or leave it out."
            )
        return None
    there = sorted(set(labels.tolist()))
    if asked is None:
        wanted = [name for name in there if name.lower() in NORMAL]
        return np.isin(labels, wanted) if wanted else None
    wanted = [known[int(name)] if known and name not in known and number_of(name, known) else name for name in asked]
    if strange := [name for name in wanted if name not in there and name not in (known or ())]:
        raise ConfigError(f"--normal names the class {strange[0]!r}, but there are {', '.join(there)}.")
    return np.isin(labels, wanted)


def number_of(name: str, known: Sequence[str]) -> bool:
    """Whether a name is the number of a class."""
    return name.isdigit() and int(name) < len(known)


def agreement(score: np.ndarray, anomalous: np.ndarray, normal: np.ndarray) -> Iterable[str]:
    """How well scores tell what is normal from what is not, in lines."""
    if normal.all() or not normal.any():
        return [f"auroc     none, since {'every' if normal.all() else 'no'} sample is of a normal class"]
    from sklearn.metrics import roc_auc_score  # here, since its import costs a second that the others need not pay

    caught, false = anomalous[~normal].mean(), anomalous[normal].mean()
    return [
        f"auroc     {roc_auc_score(~normal, score):.4f}, with {normal.sum():,} normal samples and {(~normal).sum():,} "
        f"others; the threshold catches {caught:.1%} of these and {false:.1%} of the normal ones"
    ]
