"""What a comparison knows of each run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite, log
from typing import Any

import torch
from torch import Tensor

from lit_ae.arguments import stored
from lit_ae.batch import Batch, key
from lit_ae.jobs.kept import kept
from lit_ae.jobs.measured import inputs
from lit_ae.jobs.opening import Opened, Split
from lit_ae.jobs.sampled import chosen, generated
from lit_ae.jobs.testing import SUBJECTS
from lit_ae.jobs.tracking import track
from lit_ae.models.generative import Generative, Variational
from lit_ae.models.randomness import reseed
from lit_ae.runs import Run

BLOCK = 128  # samples at once, always: the noise of a block is keyed by its number
SHOWN, MAPPED, DRAWN = 10, 1000, 16  # samples rebuilt, on a latent map, and newly drawn
APART = ("seed_everything", "runs", "name", "ckpt_path")  # keys of a config that tell no two models apart
TAKEN = {name for names in SUBJECTS.values() for name in names} - {"mse_mean", "mse_sampled"}  # of metrics.json


@dataclass(frozen=True)
class Entry:
    """One run, measured.

    Args:
        run: Its folder.
        name: What it is called.
        config: Its configuration, but what only tells runs apart that were trained alike.
        likelihood: Class of p(x|z).
        features: Network and number of samples that FID and the like were measured with.
        data: What tells its samples from others.
        count: Number of samples measured.
        values: What was measured, by name.
        x: First samples, (n, *E).
        x_hat: What it makes of them, (n, *E).
        z: Modes of q(z|x), (N, D).
        y: Labels of these samples.
        drawn: New samples, None where it has neither a prior nor a sampler.
        source: What these are drawn from, the kind of a sampler or the prior.
        class_names: Names of the classes.
        span: Values shown as black and white.
    """

    run: Run
    name: str
    config: dict[str, Any]
    likelihood: str
    features: str
    data: str
    count: int
    values: dict[str, float]
    x: Tensor
    x_hat: Tensor
    z: Tensor
    y: Tensor | None
    drawn: Tensor | None
    source: str
    class_names: list[str] | None
    span: tuple[float, float] | None

    def scale(self, name: str) -> str:
        """What a measure of another run must share for the two to be compared: likelihood, or features."""
        if name in SUBJECTS["likelihood"]:
            return self.likelihood
        return self.features if name in SUBJECTS["generation"] else ""


@torch.no_grad()
def entry(run: Opened, split: Split, seed: int) -> Entry:
    """Measure a run in one pass over a split."""
    model, data = run.model, sha256()
    sums: dict[str, float] = {}
    held: list[tuple[Batch, Tensor]] = []
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
            held.append((batch, z))
        count += len(batch.x)
    values = {name: value / count for name, value in sums.items()}
    if "rate" in values:
        values = {"elbo": -values["distortion"] - values["rate"], **values}
        if levels is not None:
            values["bits_per_dim"] = -values["elbo"] / held[0][0].x[0].numel() / log(2)
    report = tested(run) if split == "test" else {}
    values = {name: float(value) for name, value in report.items() if name in TAKEN and is_number(value)} | values
    values["parameters"] = float(sum(p.numel() for p in model.parameters()))
    if minutes := trained_for(run.run):
        values["train_minutes"] = minutes
    batch = held[0][0]
    given = [None if part is None else part[:SHOWN] for part in inputs(batch)]
    labels = [each.y for each, _ in held]
    drawn, source = samples(run, seed)
    config = {name: part for name, part in stored(run.run).items() if name not in APART}
    return Entry(
        run=run.run,
        name=run.name,
        config=config,
        likelihood=family,
        features=f"{report.get('features')}, {report.get('n')} samples",
        data=data.hexdigest(),
        count=count,
        values=values,
        x=batch.x[:SHOWN].cpu(),
        x_hat=model.reconstruct(*given).cpu(),  # type: ignore[arg-type]
        z=torch.cat([z.flatten(1).float().cpu() for _, z in held])[:MAPPED],
        y=None if any(y is None for y in labels) else torch.cat(labels).cpu()[:MAPPED],  # type: ignore[arg-type]
        drawn=drawn,
        source=source,
        class_names=run.class_names,
        span=model.spec.value_range,
    )


def samples(run: Opened, seed: int) -> tuple[Tensor | None, str]:
    """New samples of a run, as `lit_ae sample` draws them, and what they are drawn from."""
    if not (isinstance(run.model, Generative) or kept(run.run)):
        return None, ""
    source = chosen(run, None)
    drawn = torch.cat([part.x for part in generated(run, source, DRAWN, seed)])
    return drawn, source.kind if source else "prior"


def tested(run: Opened) -> dict[str, Any]:
    """What `lit_ae test` found for the same checkpoint, left in the folder of the run."""
    path = run.run.folder / "metrics.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        return {}
    same = isinstance(found, dict) and run.run.folder / str(found.get("checkpoint")) == run.checkpoint
    return found if same else {}


def is_number(value: object) -> bool:
    """Whether a value of a JSON file is a finite number."""
    return isinstance(value, int | float) and isfinite(value)


def trained_for(run: Run) -> float | None:
    """Minutes from the start of training to its last checkpoint, as the files' times say."""
    last = run.checkpoints / "last.ckpt"
    minutes = (last.stat().st_mtime - run.config.stat().st_mtime) / 60 if last.is_file() else 0.0
    return minutes if minutes > 0 else None
