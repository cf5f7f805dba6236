"""What `lit_ae sample` draws, and the files that it writes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from lit_ae.batch import key
from lit_ae.callbacks.figures import png
from lit_ae.callbacks.figures import write as write_bytes
from lit_ae.errors import ConfigError
from lit_ae.jobs.kept import Kept, class_of, kept, serving
from lit_ae.jobs.measured import several
from lit_ae.jobs.opening import Opened, opened
from lit_ae.jobs.poured import TABLES, Drawn, Page, check_pictures, named, save, singles
from lit_ae.jobs.tracking import track
from lit_ae.models.generative import Generative
from lit_ae.models.randomness import reseed
from lit_ae.samplers.base import Sampler
from lit_ae.samplers.codes import CodeSampler

CHUNK = 256  # samples drawn at once, so that memory does not grow with their number


def sample(asked: Namespace, flags: Sequence[str]) -> list[str]:
    """Draw and write what a command line asks for, and say in lines what was written.

    Raises:
        ConfigError: The run has nothing to draw from, or not what is asked for.
        RunError: The run or its sampler cannot be opened.
    """
    run = opened(asked.run, flags, device=asked.device)
    if asked.out:
        check_pictures(run.model.input_shape)
    if asked.save and Path(asked.save).suffix.lower() in TABLES:
        named(Drawn(torch.zeros(1, *run.model.input_shape)), run)  # refuses what is no table before anything is drawn
    source = chosen(run, asked.sampler)
    settings = {name: getattr(asked, name) for name in ("temperature", "top_k", "top_p")}
    drawn = generated(run, source, asked.n, asked.seed, asked.label, settings)
    page = Page(run.model.spec.value_range)
    parts = page.watch(track(drawn, -(-asked.n // CHUNK), "samples"))
    if asked.out:
        parts = singles(parts, Path(asked.out), asked.n, page)
    if asked.save:
        save(parts, Path(asked.save), asked.n, run)
    else:
        for _ in parts:
            pass
    name = f"samples_{source.kind if source else 'prior'}" + ("" if asked.label is None else f"_class{asked.label}")
    what = f"Samples of {run.name}, {source.kind if source else 'prior'}"
    path = run.run.figures / f"{name}.png"
    write_bytes(path, png(page.figure(what if asked.label is None else f"{what}, class {asked.label}")))
    lines = [f"picture  {path}"]
    lines += [f"samples  {asked.save}"] if asked.save else []
    lines += [f"pictures {asked.out}"] if asked.out else []
    return lines


def generated(
    run: Opened,
    source: Kept | None,
    n: int,
    seed: int,
    label: int | None = None,
    settings: Mapping[str, float | None] | None = None,
) -> Iterator[Drawn]:
    """n samples on the CPU by chunks.

    Args:
        run: The run.
        source: A sampler of it, or None for the prior.
        n: Number of samples.
        seed: Of all that is drawn.
        label: The class that they are to be; without it, conditions are those of test samples.
        settings: Temperature, top_k and top_p; None or 1 is left out.

    Raises:
        ConfigError: There are no classes, or a setting does not fit the sampler.
        RunError: The sampler cannot be opened.
    """
    sampler = source.open(run).to(run.device) if source else None
    used = {name: value for name, value in (settings or {}).items() if value not in (None, 1.0)}
    c = conditions(run, sampler, n, label)
    if used.keys() - {"temperature"} and not isinstance(sampler, CodeSampler):
        raise ConfigError("--top_k and --top_p are for samplers of codes: leave them out.")

    def chunk(n: int, c: Tensor | None) -> Drawn:
        given = None if run.model.spec.condition_shape is None else c
        if sampler is None:
            assert isinstance(run.model, Generative)
            return Drawn(run.model.sample(n, given, temperature=used.get("temperature", 1.0)), c)
        values = sampler.sample(n, c, **used)
        return Drawn(sampler.decode(run.model, values, given), c, values)

    return chunks(chunk, n, c, seed, run.device)


@torch.no_grad()
def chunks(
    draw: Callable[[int, Tensor | None], Drawn], n: int, c: Tensor | None, seed: int, device: torch.device
) -> Iterator[Drawn]:
    """n samples on the CPU, drawn chunk by chunk, each with a key of its own."""
    for number, start in enumerate(range(0, n, CHUNK)):
        reseed(key(seed, number), device)
        size = min(CHUNK, n - start)
        found = draw(size, None if c is None else c[start : start + size].to(device))
        parts = Drawn(*(None if part is None else part.cpu() for part in found))  # type: ignore[arg-type]
        yield parts._replace(x=parts.x.float())


def chosen(run: Opened, kind: str | None) -> Kept | None:
    """The sampler to draw from; None is the model's own prior.

    Raises:
        ConfigError: There is no such sampler, or neither a sampler nor a prior.
    """
    fitted, able = kept(run.run), serving(run.model)
    fit = f"lit_ae fit-sampler {run.run.folder} --kind"
    if kind not in (None, "prior"):
        if match := [each for each in fitted if each.kind == kind]:
            return match[0]
        assert kind is not None
        if not isinstance(run.model, class_of(kind).needs):
            raise ConfigError(f"A sampler of the kind {kind} does not fit {run.variant}, of which {run.run.folder} is.")
        raise ConfigError(f"{run.run.folder} has no sampler of the kind {kind}: fit it first: {fit} {kind}")
    if fitted and kind is None:
        return fitted[0]
    if isinstance(run.model, Generative):
        return None
    if able:
        raise ConfigError(
            f"{run.variant} has no prior of its own to sample from: "
            + ("leave out --sampler prior." if fitted else f"fit a sampler first: {fit} {able[0]}")
        )
    raise ConfigError(
        f"{run.variant} has no prior to sample from, and no kind of sampler fits it: name a run of a variant that has "
        "one, such as VAE, or codes, such as VQVAE."
    )


def conditions(run: Opened, sampler: Sampler | None, n: int, label: int | None) -> Tensor | None:
    """What n samples are asked to be, (n, *C): one class, or as the first test samples are; None without a condition.

    Raises:
        ConfigError: A class is asked for where there is none, or none of that number.
    """
    spec = run.model.spec
    of_model, of_labels = spec.condition_shape is not None, sampler is not None and sampler.conditional
    if label is not None:
        if not (of_model or of_labels) or spec.condition_shape:
            mend = (
                "fit one with lit_ae fit-sampler --condition label"
                if sampler
                else "train it with --data.condition label"
            )
            raise ConfigError(f"--class is {label}, but {source_name(run, sampler)} knows no classes: {mend}.")
        if label >= spec.num_classes:
            raise ConfigError(f"--class is {label}: the classes are 0 to {spec.num_classes - 1}.")
        return torch.full((n,), label)
    if not (of_model or of_labels):
        return None
    parts: list[Tensor] = []
    for batch in run.batches():  # conditions alone: n samples beside them could fill the memory
        given = batch.c if of_model else batch.y
        assert given is not None
        parts.append(given)
        if sum(map(len, parts)) >= n:
            break
    return several(torch.cat(parts), n)


def source_name(run: Opened, sampler: Sampler | None) -> str:
    """What is drawn from, in words."""
    return f"the sampler of {run.run.folder}" if sampler else f"{run.variant} of {run.run.folder}"
