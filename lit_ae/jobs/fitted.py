"""Fits a sampler to a finished run, so that nothing is lost when it is interrupted."""

from __future__ import annotations

import json
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from math import log
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import yaml
from jsonargparse import ArgumentError, ArgumentParser
from torch import Tensor

from lit_ae import loops
from lit_ae.arguments import read
from lit_ae.batch import Shape, key
from lit_ae.callbacks.progress import Progress
from lit_ae.diagnose import diagnose
from lit_ae.errors import ConfigError, NonFiniteError
from lit_ae.jobs.kept import Kept, class_of, need, step_of, told
from lit_ae.jobs.opening import Opened, Split, opened
from lit_ae.jobs.tracking import track
from lit_ae.loggers import MetricsCSV
from lit_ae.models.randomness import reseed
from lit_ae.profiling import Unprofiled
from lit_ae.recording import checkpoints
from lit_ae.runs import Run
from lit_ae.samplers.base import Estimator, Sampler
from lit_ae.samplers.codes import CodeSampler
from lit_ae.samplers.fitting import Fitting
from lit_ae.samplers.latents import LatentSampler
from lit_ae.stopping import Stopped
from lit_ae.storage import AtomicCheckpointIO, load, save, write

EPOCHS, LR = 40, 1e-3


def fit(asked: Namespace, flags: Sequence[str]) -> list[str]:
    """Fit the sampler that a command line asks for, and say in lines what came of it.

    Raises:
        ConfigError: A setting does not fit, the run cannot serve the kind, or there is such a sampler already.
        RunError: The run cannot be opened.
    """
    settings = chosen(asked.kind, [flag for flag in flags if flag.startswith("--sampler.")])
    run = opened(asked.run, [flag for flag in flags if flag.startswith("--data.")], device=asked.device)
    device = run.device  # the trainer moves the model
    need(asked.kind, run)
    sampler = Kept(run.run, asked.kind)
    if sampler.folder.exists() and not asked.overwrite:
        raise ConfigError(f"{sampler.folder} is there already: add --overwrite to fit another in its place.")
    cls = class_of(asked.kind)
    shape = condition(run, asked.condition)
    facts = cls.facts(run.model) | {"condition_shape": None if shape is None else list(shape)}
    arguments = {**facts, "num_classes": run.model.spec.num_classes if shape == () else 0, **settings}
    effort = training(asked, cls)
    document = {"kind": asked.kind, "step": step_of(run), **effort, "seed": asked.seed}
    document |= {"data": [flag for flag in flags if flag.startswith("--data.")], "sampler": arguments}
    reseed(key(asked.seed), torch.device("cpu"))
    lr = effort.get("lr", LR)
    fitting = Fitting(cls(**arguments), run.model, lr, asked.seed)  # refuses settings before anything is written
    fitting.to(device)
    values: Tensor | None = None
    with unfinished(sampler.partial):
        if isinstance(fitting.sampler, Estimator):
            values = estimate(fitting, run)
            prepare(sampler.partial, document, asked.overwrite)
            state = {"state_dict": fitting.state_dict(), "global_step": 0}
            save(sampler.partial.checkpoints / "best.ckpt", state)
        else:
            last = prepare(sampler.partial, document, asked.overwrite)
            if isinstance(fitting.sampler, LatentSampler) and last is None:
                fitting.sampler.standardise(values for values, _ in seen(fitting, run, "train"))
            train(fitting, run, sampler, effort["epochs"], last)
        return finish(fitting.to(device), run, sampler, values)


@contextmanager
def unfinished(partial: Run) -> Iterator[None]:
    """Leave nothing behind where a fit ends before there is a checkpoint to go on from."""
    try:
        yield
    except BaseException:
        if not (partial.checkpoints / "last.ckpt").is_file():
            shutil.rmtree(partial.folder, ignore_errors=True)
            with suppress(OSError):  # other samplers are there
                partial.folder.parent.rmdir()
        raise


def training(asked: Namespace, cls: type[Sampler]) -> dict[str, Any]:
    """Epochs and learning rate of a kind that is trained; nothing for one that is not.

    Raises:
        ConfigError: They are given for a kind that is not trained.
    """
    if not issubclass(cls, Estimator):
        return {"epochs": asked.epochs or EPOCHS, "lr": asked.lr or LR}
    for name in ("epochs", "lr"):
        if getattr(asked, name) is not None:
            raise ConfigError(f"The kind {asked.kind} is found at once, without training: leave out --{name}.")
    return {}


def options(kind: str) -> ArgumentParser:
    """The settings of a kind, as flags."""
    usage = f"lit_ae fit-sampler RUN --kind {kind} [--sampler.* ...] [...]"
    parser = ArgumentParser("lit_ae fit-sampler", exit_on_error=False, allow_abbrev=False, usage=usage)
    parser.add_class_arguments(class_of(kind), "sampler", skip=told(class_of(kind)))
    return parser


def chosen(kind: str, flags: Sequence[str]) -> dict[str, Any]:
    """The settings of a kind, defaults included.

    Raises:
        ConfigError: A flag does not fit.
    """
    parser = options(kind)
    try:
        return dict(vars(parser.parse_args([*flags]).sampler))
    except ArgumentError as error:
        keys = [action.dest for action in parser._actions if action.dest.startswith("sampler.")]
        said = diagnose(str(error), keys, {})
        raise ConfigError(f"{said} See lit_ae fit-sampler --kind {kind} --help.") from error


def condition(run: Opened, asked: str | None) -> Shape | None:
    """Shape of what the sampler is conditioned on: the model's own condition, else the label where it is asked for.

    Raises:
        ConfigError: It is asked for, and there is none.
    """
    spec = run.model.spec
    if spec.condition_shape is None and asked and not spec.num_classes:
        raise ConfigError(f"--condition is label, but the data of {run.run.folder} have no classes: leave it out.")
    return () if spec.condition_shape is None and asked else spec.condition_shape


def prepare(partial: Run, document: dict[str, Any], overwrite: bool) -> Path | None:
    """Write config.yaml; the checkpoint to go on from where an interrupted fit left one.

    Raises:
        ConfigError: An interrupted fit had other settings.
    """
    last = partial.checkpoints / "last.ckpt"
    if last.is_file() and partial.config.is_file():
        if {**read(partial.config), "epochs": None} == {**document, "epochs": None}:
            print(f"It goes on where {partial.folder} was interrupted.", file=sys.stderr)
            return last
        if not overwrite:
            raise ConfigError(
                f"{partial.folder} holds an interrupted fit with other settings: give those of its config.yaml to go "
                "on with it, or add --overwrite to start anew."
            )
    shutil.rmtree(partial.folder, ignore_errors=True)
    text = yaml.safe_dump(document, sort_keys=False)
    write(partial.config, lambda sink: sink.write(text.encode()))
    return None


def train(fitting: Fitting, run: Opened, sampler: Kept, epochs: int, last: Path | None) -> None:
    """Train, and leave with the status of a process that was told to stop."""
    torch.set_flush_denormal(True)
    partial, device = sampler.partial, fitting.device
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator=device.type,
        devices=[device.index or 0] if device.type == "cuda" else 1,
        logger=MetricsCSV(partial.folder),
        callbacks=[*checkpoints(partial, True), Progress()],
        plugins=[AtomicCheckpointIO()],
        gradient_clip_val=1.0,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        profiler=Unprofiled(),
        default_root_dir=partial.folder,
    )
    loops.leave_signals_alone(trainer)
    try:
        trainer.fit(fitting, datamodule=run.data, ckpt_path=last, weights_only=True)
    except Stopped as stop:
        print(f"Stopped: give the same command again to go on ({partial.folder}).", file=sys.stderr)
        sys.exit(stop.code)


def seen(fitting: Fitting, run: Opened, split: Split) -> Iterator[tuple[Tensor, Tensor | None]]:
    """What a sampler is a density of, (B, *S), and its conditions, batch by batch in the order of the data."""
    for number, batch in enumerate(track(run.ordered(split), None, "encode")):
        yield fitting.values(batch, number)


def gathered(fitting: Fitting, run: Opened, split: Split) -> tuple[Tensor, Tensor | None]:
    """The same of a whole split."""
    values, c = zip(*seen(fitting, run, split), strict=True)
    return torch.cat(values), None if c[0] is None else torch.cat(c)


@torch.no_grad()
def estimate(fitting: Fitting, run: Opened) -> Tensor:
    """Find a density from all training samples at once, and return what it is a density of, (N, *S).

    Raises:
        NonFiniteError: The model makes nothing finite of its data.
    """
    assert isinstance(fitting.sampler, Estimator)
    values, c = gathered(fitting, run, "train")
    if not values.isfinite().all():
        raise NonFiniteError(f"Some latents of {run.run.folder} are not finite: name a checkpoint whose are.")
    fitting.sampler.estimate(values, c, key(fitting.seed))
    return values


@torch.no_grad()
def finish(fitting: Fitting, run: Opened, sampler: Kept, values: Tensor | None = None) -> list[str]:
    """Measure the best epoch, give the folder its final name, and say what is there; `values` are those of training."""
    partial, folder = sampler.partial, sampler.folder
    fitting.load_state_dict(load(partial.checkpoint("best", "last"))["state_dict"])
    fitting.eval()
    found = [*seen(fitting, run, "val")]
    reseed(key(fitting.seed), fitting.device)
    nats = -torch.cat([fitting.sampler.log_prob(*each) for each in found]).cpu().double().mean().item()
    new = torch.cat([each for each, _ in found]).cpu()
    metrics = {"val_nats": nats}
    said = f"val      {nats:.2f} nats per sample"
    if isinstance(fitting.sampler, CodeSampler):
        codes, length = fitting.sampler.num_codes, fitting.sampler.length
        apart = independent(gathered(fitting, run, "train")[0].cpu(), new, codes)
        metrics |= {"val_nats_per_code": nats / length, "independent": apart, "uniform": length * log(codes)}
        said += (
            f", {nats / length:.2f} per code; independent places {apart:.2f}, uniform codes {length * log(codes):.2f}"
        )
    elif isinstance(fitting.sampler, LatentSampler):
        batches = (each for each, _ in seen(fitting, run, "train")) if values is None else values.split(4096)
        metrics["gaussian"] = single = gaussian((each.cpu() for each in batches), new)
        said += f"; one Gaussian {single:.2f}"
    text = json.dumps(metrics, indent=2)
    write(partial.folder / "metrics.json", lambda sink: sink.write(text.encode()))
    if folder.exists():
        old = folder.with_name(f"{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        partial.folder.rename(folder)
        shutil.rmtree(old)
    else:
        partial.folder.rename(folder)
    return [f"sampler  {folder}", said]


def gaussian(seen: Iterable[Tensor], new: Tensor) -> float:
    """Nats per sample of latents, (N, D), under the Gaussian with mean and covariance of others, (B, D) a batch."""
    count, first, second = 0, torch.zeros(()), torch.zeros(())
    for batch in seen:
        gaps = batch.double() - new[0].double()  # from a place amid them, for the sake of digits
        count, first, second = count + len(gaps), first + gaps.sum(0), second + gaps.T @ gaps
    mean = first / count
    covariance = second / count - mean.outer(mean)
    covariance.diagonal().add_(1e-6 * covariance.diagonal().mean())  # latents that never move
    p = torch.distributions.MultivariateNormal(mean, covariance, validate_args=False)
    return -p.log_prob(new.double() - new[0].double()).mean().item()


def independent(seen: Tensor, codes: Tensor, num_codes: int) -> float:
    """Nats per sample of codes, (N, *S), were they independent: by counts of other codes at the same place, plus 1."""
    pairs = zip(seen.flatten(1).T, codes.flatten(1).T, strict=True)
    counts = [(old.bincount(minlength=num_codes) + 1, new) for old, new in pairs]
    return float(sum(-(count / count.sum()).log()[new].double().mean() for count, new in counts))
