"""Equal seeds give equal weights, and two processes the numbers of one, for every variant."""

from __future__ import annotations

import atexit
import csv
import hashlib
import logging
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import cache, partial
from math import isclose
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.optim import SGD

from datamodules import Digits
from lit_ae.batch import Batch
from lit_ae.loggers import MetricsCSV
from lit_ae.models.base import Autoencoder, Coefficients
from lit_ae.models.output import Output
from reliability.row import Row

TESTS = str(Path(__file__).resolve().parents[3] / "tests")
if TESTS not in sys.path:
    sys.path.append(TESTS)

from variants import SPEC, VARIANTS  # noqa: E402 (the path above)

SEEDS, STEPS = 3, 10
SIZE, EVALUATED = 64, 32  # the global batch in training; a batch in evaluation, whose noise belongs to it
BARE = {
    "accelerator": "cpu", "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}  # fmt: skip
Given = dict[str, Any]


def parts(name: str, seed: int, size: int, **more: Any) -> tuple[Autoencoder, Digits]:
    """A small model of a variant and its data, both drawn with a seed."""
    cls, arguments = VARIANTS[name]
    seed_everything(seed, verbose=False)
    condition = "label" if "spec" in arguments else None
    data = Digits(batch_size=size, eval_batch_size=EVALUATED, condition=condition, seed=seed)  # type: ignore[arg-type]
    return cls(**{"spec": SPEC, **arguments, **more}), data


# ---- the same seed twice


def weights(name: str, seed: int, folder: str) -> str:
    """Train, after drawing numbers that must not matter; the digest of all weights and buffers, and of the loss."""
    warnings.simplefilter("ignore")
    model, data = parts(name, seed, 16)
    torch.rand(random.SystemRandom().randrange(1, 50))
    settings = {**BARE, "max_epochs": 2, "limit_train_batches": 3, "limit_val_batches": 2, "logger": False}
    trainer = Trainer(**settings, default_root_dir=folder)  # type: ignore[arg-type]
    trainer.fit(model, data)
    digest = hashlib.sha256(repr(trainer.callback_metrics["val/loss"].item()).encode())
    for value in model.state_dict().values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def quieten() -> None:
    """Let a process of ours say errors alone."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


@cache
def elsewhere() -> ProcessPoolExecutor:
    """Another process, whose hashes of strings are others."""
    os.environ["PYTHONHASHSEED"] = "1"
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), quieten)


def twice(name: str, seed: int, folder: Path) -> str | None:
    """Train here and in another process."""
    other = elsewhere().submit(weights, name, seed, str(folder))
    here = weights(name, seed, str(folder))
    there = other.result(300)
    return None if here == there else f"{name}, seed {seed}: weights {here[:12]} here, {there[:12]} in another process"


# ---- one process against two


def numbers(name: str, seed: int, world: int, folder: str, given: Given | None = None, noise: int = 0) -> Given:
    """What one of `world` processes measures: `val/loss`, ten training losses, and batch-level terms at a given z."""
    warnings.simplefilter("ignore")
    common: dict[str, Any] = {**BARE, "devices": world, "default_root_dir": folder}
    model, data = parts(name, seed, SIZE // world, optimizer=partial(SGD, lr=1e-4))
    (found,) = Trainer(**common, strategy=strategy(world), logger=False).validate(model, data, verbose=False)

    model, data = parts(name, seed, SIZE // world, optimizer=partial(SGD, lr=1e-4))
    model._seed += noise
    seen: Given = {}
    watch(model, world, given, seen)
    Path(folder).mkdir(parents=True, exist_ok=True)
    table = MetricsCSV(Path(folder) / f"{world}-{noise}")
    settings = {**common, "limit_val_batches": 0, "max_steps": STEPS, "log_every_n_steps": 1}
    Trainer(**settings, strategy=strategy(world), logger=table).fit(model, data)
    losses: list[float] = []
    if table.path.is_file():
        with table.path.open(newline="") as file:
            losses = [float(row["train/loss"]) for row in csv.DictReader(file)][:STEPS]
    return {"val": found["val/loss"], "losses": losses, **seen}


def strategy(world: int) -> Any:
    """A fresh one: a strategy belongs to one trainer."""
    return DDPStrategy(process_group_backend="gloo") if world > 1 else "auto"


def watch(model: Autoencoder, world: int, given: Given | None, seen: Given) -> None:
    """Note the latents and the batch-level terms of the first training batch; the latter at given latents."""
    loss = model.loss

    def noted(batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        if seen or not model.trainer.training:
            return loss(batch, out, coef)
        seen["z"] = out.z.detach() if isinstance(out.z, Tensor) else tuple(z.detach() for z in out.z)
        seen["aux"] = {name: value.detach() for name, value in out.aux.items() if len(value) == len(batch.x)}
        seen["terms"] = {}
        terms = loss(batch, out, coef)
        if given is None:
            seen["terms"] = {name: term.item() for name, term in terms.items() if not term.ndim}
        elif given["terms"]:  # on every process or on none
            rank, size = model.trainer.global_rank, SIZE // world
            mine = slice(rank * size, (rank + 1) * size)
            latent = given["z"]
            z = latent[:, mine] if isinstance(latent, Tensor) else tuple(part[:, mine] for part in latent)
            aux = {**out.aux, **{name: value[mine] for name, value in given["aux"].items()}}
            same = replace(out, z=z, p=model.decode(z, batch.c, batch.mask), aux=aux)
            seen["terms"] = {name: term.item() for name, term in loss(batch, same, coef).items() if not term.ndim}
        return terms

    model.loss = noted  # type: ignore[method-assign]


def serve(rank: int, folder: str, line: Connection) -> None:
    """One of two processes that measure what they are asked for."""
    os.environ |= {"LOCAL_RANK": str(rank), "RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    quieten()
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=90))
    while (job := line.recv()) is not None:
        try:
            line.send(numbers(*job))
        except Exception as error:  # told to the one who asked
            line.send(f"{type(error).__name__}: {error}")
            return


@cache
def pair() -> list[Connection]:
    """Two processes that stay, as starting them takes longer than a trial."""
    context, folder = multiprocessing.get_context("spawn"), tempfile.mkdtemp(prefix="lit_ae-pair-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    lines = []
    for rank in range(2):
        ours, theirs = context.Pipe()
        context.Process(target=serve, args=(rank, folder, theirs), daemon=True).start()
        lines.append(ours)
    return lines


def answer(line: Connection) -> Given | str:
    """What one of the two measured, or what went wrong."""
    try:
        return line.recv() if line.poll(240) else "no answer in 240 s"
    except EOFError:
        return "the process ended"


@cache
def noise_free(name: str) -> bool:
    """Whether a variant's training draws nothing: other noise gives the very same losses."""
    with tempfile.TemporaryDirectory() as folder:
        one, other = (numbers(name, 0, 1, folder, noise=noise)["losses"] for noise in (0, 1))
    return bool(one == other)


def against(name: str, seed: int, folder: Path) -> str | None:
    """Measure on one process and on two."""
    one = numbers(name, seed, 1, str(folder))
    for line in pair():
        line.send((name, seed, 2, str(folder), {key: one[key] for key in ("z", "aux", "terms")}))
    answers = [answer(line) for line in pair()]
    if wrong := [each for each in answers if isinstance(each, str)]:
        pair.cache_clear()
        return f"{name}: {wrong[0]}"
    first, second = answers
    if not isclose(one["val"], first["val"], rel_tol=1e-5) or first["val"] != second["val"]:
        return f"{name}: val/loss {one['val']!r} on one process, {first['val']!r} and {second['val']!r} on two"
    for term, value in one["terms"].items():
        for each in answers:
            if not isclose(value, each["terms"][term], rel_tol=1e-4, abs_tol=1e-6):
                return f"{name}: {term} is {value!r} on one process, {each['terms'][term]!r} on two"
    if noise_free(name):
        losses = [*zip(one["losses"], first["losses"], strict=True)]
        if len(losses) != STEPS:
            return f"{name}: {len(losses)} steps instead of {STEPS}"
        for step, (ours, theirs) in enumerate(losses):
            if not isclose(ours, theirs, rel_tol=1e-5):
                return f"{name}: train/loss of step {step} is {ours!r} on one process, {theirs!r} on two"
    return None


def trial(form: str, number: int, folder: Path) -> str | None:
    """One variant with one seed."""
    name, seed = [*VARIANTS][number // SEEDS], number % SEEDS
    return (twice if form == "same seed twice" else against)(name, seed, folder)


ROW = Row(
    name="seeds",
    happens="the same seed twice; one process against two at the same global batch, evaluated in equal batches",
    follows="the same weights; the same val/loss, training losses where nothing is drawn, and batch-level terms",
    forms={"same seed twice": SEEDS * len(VARIANTS), "one process against two": SEEDS * len(VARIANTS)},
    trial=trial,
    workers=1,  # generators are those of the process
)
