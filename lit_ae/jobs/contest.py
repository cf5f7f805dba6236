"""What a comparison knows of each run, and how runs that differ by their seed alone become one row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor

from lit_ae.arguments import stored
from lit_ae.batch import Batch, key
from lit_ae.jobs.measured import inputs
from lit_ae.jobs.opening import Opened, Split
from lit_ae.jobs.tracking import track
from lit_ae.models.generative import Generative, Variational
from lit_ae.models.randomness import reseed
from lit_ae.runs import Run

BLOCK = 128  # samples at once, always: the noise of a block is keyed by its number
SHOWN, MAPPED, DRAWN = 10, 1000, 16  # samples rebuilt, on a latent map, and drawn from the prior
APART = ("seed_everything", "runs", "name", "ckpt_path")  # keys of a config that tell no two models apart
NATS = ("elbo", "distortion", "bits_per_dim", "nll", "log_px")  # what only runs of one likelihood share
BETTER: dict[str, int] = {  # 1: more is better, -1: less is
    "elbo": 1, "log_px": 1, "distortion": -1, "bits_per_dim": -1, "nll": -1, "mse": -1, "psnr": 1, "ssim": 1,
    "fid": -1, "kid": -1, "precision": 1, "recall": 1, "density": 1, "coverage": 1, "knn_accuracy": 1,
    "linear_probe_accuracy": 1, "mig": 1, "sap": 1, "dci_disentanglement": 1, "dci_completeness": 1,
    "dci_informativeness": 1, "factor_vae_score": 1, "beta_vae_score": 1, "modularity": 1,
}  # fmt: skip
NEUTRAL = ("active_units", "mutual_information", "codes_used", "codes_perplexity")  # neither more nor less is better


@dataclass(frozen=True)
class Entry:
    """One run, measured.

    Args:
        run: Its folder.
        name: What it is called.
        config: Its configuration, but what only tells runs apart that were trained alike.
        likelihood: Class of p(x|z).
        data: What tells its samples from others.
        count: Number of samples measured.
        values: What was measured, by name.
        x: First samples, (n, *E).
        x_hat: What it makes of them, (n, *E).
        z: Modes of q(z|x), (N, D).
        y: Labels of these samples.
        drawn: Samples of its prior, None where it has none.
        class_names: Names of the classes.
        span: Values shown as black and white.
    """

    run: Run
    name: str
    config: dict[str, Any]
    likelihood: str
    data: str
    count: int
    values: dict[str, float]
    x: Tensor
    x_hat: Tensor
    z: Tensor
    y: Tensor | None
    drawn: Tensor | None
    class_names: list[str] | None
    span: tuple[float, float] | None


@dataclass(frozen=True)
class Group:
    """Runs that differ by their seed alone.

    Args:
        label: What tells them from others.
        entries: These runs.
    """

    label: str
    entries: Sequence[Entry]

    def values(self, name: str) -> list[float]:
        """A measure of all runs."""
        return [entry.values[name] for entry in self.entries if name in entry.values]

    def summary(self, name: str) -> tuple[float, float] | None:
        """Mean and standard deviation (0 for one run) of a measure, None where a run lacks it."""
        values = self.values(name)
        if len(values) < len(self.entries):
            return None
        return mean(values), stdev(values) if len(values) > 1 else 0.0


@torch.no_grad()
def entry(run: Opened, split: Split, seed: int) -> Entry:
    """Measure a run in one pass over a split."""
    model, data = run.model, sha256()
    sums: dict[str, float] = {}
    kept: list[tuple[Batch, Tensor]] = []
    count, levels, family = 0, None, ""
    total = run.count(split)
    for number, batch in enumerate(track(run.ordered(split, BLOCK), total and -(-total // BLOCK), run.name)):
        data.update(str(batch.x.shape).encode() + batch.x.cpu().contiguous().numpy().tobytes())
        z = model.embed(*inputs(batch))
        p = model.decode(z, batch.c, batch.mask)
        levels, family = p.levels, type(p.base).__name__.removesuffix("Elements")
        parts = {"mse": p.squared_error(batch.x), "distortion": -p.log_prob(batch.x)}
        if isinstance(model, Variational):
            reseed(key(seed, number), batch.x.device)
            out = model(batch)
            parts |= {"distortion": -out.p.log_prob(batch.x).mean(0), "rate": model.rate(out)}
        for name, part in parts.items():
            sums[name] = sums.get(name, 0.0) + float(part.double().sum())
        if count < MAPPED:
            kept.append((batch, z))
        count += len(batch.x)
    values = {name: value / count for name, value in sums.items()}
    if "rate" in values:
        values = {"elbo": -values["distortion"] - values["rate"], **values}
        if levels is not None:
            values["bits_per_dim"] = -values["elbo"] / kept[0][0].x[0].numel() / 0.6931471805599453
    values = {name: value for name, value in tested(run.run).items() if name not in values} | values
    values["parameters"] = float(sum(p.numel() for p in model.parameters()))
    if minutes := trained_for(run.run):
        values["train_minutes"] = minutes
    batch = kept[0][0]
    given = [None if part is None else part[:SHOWN] for part in inputs(batch)]
    labels = [each.y for each, _ in kept]
    first = {name: values[name] for name in ORDER if name in values}
    config = {name: part for name, part in stored(run.run).items() if name not in APART}
    return Entry(
        run=run.run,
        name=run.name,
        config=config,
        likelihood=family,
        data=data.hexdigest(),
        count=count,
        values=first | values,
        x=batch.x[:SHOWN].cpu(),
        x_hat=model.reconstruct(*given).cpu(),  # type: ignore[arg-type]
        z=torch.cat([z.flatten(1).float().cpu() for _, z in kept])[:MAPPED],
        y=None if any(y is None for y in labels) else torch.cat(labels).cpu()[:MAPPED],  # type: ignore[arg-type]
        drawn=samples(run, batch, seed),
        class_names=run.class_names,
        span=model.spec.value_range,
    )


ORDER = ("elbo", "distortion", "rate", "bits_per_dim", "mse", "nll", "log_px")  # first columns


def samples(run: Opened, batch: Batch, seed: int) -> Tensor | None:
    """Samples of the prior, conditioned as the first samples are where there is a condition."""
    if not isinstance(run.model, Generative):
        return None
    reseed(key(seed), run.device)
    n = min(DRAWN, len(batch.x))
    return run.model.sample(n, None if batch.c is None else batch.c[:n]).cpu()


def tested(run: Run) -> dict[str, float]:
    """Numbers that `lit_ae test` left in the folder of a run."""
    path = run.folder / "metrics.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        return {}
    numbers = found.items() if isinstance(found, dict) else []
    return {
        name: float(value)
        for name, value in numbers
        if name in (*BETTER, *NEUTRAL) and isinstance(value, (int, float)) and isfinite(value)
    }


def trained_for(run: Run) -> float | None:
    """Minutes from the start of training to its last checkpoint, as the files' times say."""
    last = run.checkpoints / "last.ckpt"
    minutes = (last.stat().st_mtime - run.config.stat().st_mtime) / 60 if last.is_file() else 0.0
    return minutes if minutes > 0 else None


def groups(entries: Iterable[Entry]) -> list[Group]:
    """Runs by their configuration without the seed, in the order in which they came."""
    found: dict[str, list[Entry]] = {}
    for each in entries:
        found.setdefault(json.dumps([each.name, each.config], sort_keys=True, default=str), []).append(each)
    return [Group(label, members) for label, members in zip(labels(list(found.values())), found.values(), strict=True)]


def labels(members: Sequence[Sequence[Entry]]) -> list[str]:
    """What tells groups apart: their names, or what their configurations differ in, or else folders."""
    names = [group[0].name for group in members]
    found = []
    for group, name in zip(members, names, strict=True):
        if names.count(name) == 1:
            found.append(name)
            continue
        alike = [flat(other[0].config) for other, own in zip(members, names, strict=True) if own == name]
        mine = flat(group[0].config)
        differing = [
            k for k in mine if len({str(other.get(k)) for other in alike}) > 1 and not isinstance(mine[k], list)
        ]
        told = ", ".join(f"{k.rsplit('.', 1)[-1]} {mine[k]}" for k in differing[:3])
        found.append(f"{name} ({told})" if told else name)
    unique = [
        label if found.count(label) == 1 else str(group[0].run.folder)
        for label, group in zip(found, members, strict=True)
    ]
    return unique


def flat(config: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """A configuration with one key per value."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value
    return found


def columns(found: Sequence[Group]) -> list[str]:
    """Measures that at least two groups have, or the only one, in the order of the first that has them."""
    least = min(2, len(found))
    every = list(dict.fromkeys(name for group in found for each in group.entries for name in each.values))
    kept = [name for name in every if sum(group.summary(name) is not None for group in found) >= least]
    last = [name for name in ("parameters", "train_minutes") if name in kept]
    return [name for name in kept if name not in last] + last


def best(found: Sequence[Group], name: str) -> list[bool]:
    """Which groups have the best mean of a measure, among two or more that have it and can be compared by it."""
    sign = BETTER.get(name, 0)
    means = [group.summary(name) for group in found]
    there = [value[0] for value in means if value is not None]
    mixed = len({group.entries[0].likelihood for group, value in zip(found, means, strict=True) if value}) > 1
    if not sign or len(there) < 2 or (name in NATS and mixed):
        return [False] * len(found)
    top = max(sign * value for value in there)
    return [value is not None and sign * value[0] == top for value in means]


def table(found: Sequence[Group]) -> list[list[Any]]:
    """All numbers as rows: mean and standard deviation of each measure, by group."""
    names = columns(found)
    head = ["name", "runs", "likelihood"] + [part for name in names for part in (name, f"{name}_std")]
    rows: list[list[Any]] = [head]
    for group in found:
        cells = [group.summary(name) or ("", "") for name in names]
        few = len(group.entries) < 2
        spread = [part for value, deviation in cells for part in (value, "" if few else deviation)]
        rows.append([group.label, len(group.entries), group.entries[0].likelihood, *spread])
    return rows
