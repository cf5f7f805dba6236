"""What `lit_ae sample` draws, and the files that it writes."""

from __future__ import annotations

import io
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from lit_ae.batch import Batch, key
from lit_ae.callbacks.figures import png
from lit_ae.callbacks.figures import write as write_bytes
from lit_ae.errors import ConfigError
from lit_ae.jobs.kept import Kept, class_of, kept, serving
from lit_ae.jobs.measured import several
from lit_ae.jobs.opening import Opened, opened
from lit_ae.models.generative import Generative
from lit_ae.models.randomness import reseed
from lit_ae.plots.samples import samples as draw
from lit_ae.plots.style import array
from lit_ae.plots.tiles import is_picture, limits
from lit_ae.samplers.base import Sampler
from lit_ae.samplers.codes import CodeSampler
from lit_ae.storage import write

CHUNK = 256  # samples drawn at once, so that memory does not grow with their number


class Drawn(NamedTuple):
    """New samples.

    Args:
        x: Samples, (n, *E).
        c: What they were asked to be, (n, *C), where there is a condition.
        values: Codes, or latents, of a sampler, (n, *S).
    """

    x: Tensor
    c: Tensor | None = None
    values: Tensor | None = None


def sample(asked: Namespace, flags: Sequence[str]) -> list[str]:
    """Draw and write what a command line asks for, and say in lines what was written.

    Raises:
        ConfigError: The run has nothing to draw from, or not what is asked for.
        RunError: The run or its sampler cannot be opened.
    """
    run = opened(asked.run, flags)
    source = chosen(run, asked.sampler)
    sampler = source.open(run) if source else None
    settings = {name: getattr(asked, name) for name in ("temperature", "top_k", "top_p")}
    settings = {name: value for name, value in settings.items() if value not in (None, 1.0)}
    c = conditions(run, sampler, asked.n, asked.label)
    if settings.keys() - {"temperature"} and not isinstance(sampler, CodeSampler):
        raise ConfigError("--top_k and --top_p are for samplers of codes: leave them out.")

    def chunk(n: int, c: Tensor | None) -> Drawn:
        given = None if run.model.spec.condition_shape is None else c
        if sampler is None:
            assert isinstance(run.model, Generative)
            return Drawn(run.model.sample(n, given, temperature=asked.temperature), c)
        values = sampler.sample(n, c, **settings)
        return Drawn(sampler.decode(run.model, values, given), c, values)

    found = joined(chunk, asked.n, c, asked.seed)
    name = f"samples_{source.kind if source else 'prior'}" + ("" if asked.label is None else f"_class{asked.label}")
    what = f"Samples of {run.name}, {source.kind if source else 'prior'}"
    span = run.model.spec.value_range or limits(array(found.x))
    path = run.run.figures / f"{name}.png"
    write_bytes(path, png(picture(found.x, what if asked.label is None else f"{what}, class {asked.label}", span)))
    lines = [f"picture  {path}"]
    if asked.save:
        save(found, Path(asked.save))
        lines.append(f"samples  {asked.save}")
    if asked.out:
        lines.append(f"pictures {singles(found.x, Path(asked.out), span)}")
    return lines


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
    of_model, of_labels = spec.condition_shape is not None, sampler is not None and sampler.condition is not None
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
    first: Batch = run.first(n)
    return several(first.c if of_model else first.y, n)


def source_name(run: Opened, sampler: Sampler | None) -> str:
    """What is drawn from, in words."""
    return f"the sampler of {run.run.folder}" if sampler else f"{run.variant} of {run.run.folder}"


@torch.no_grad()
def joined(chunk: Callable[[int, Tensor | None], Drawn], n: int, c: Tensor | None, seed: int) -> Drawn:
    """n samples, drawn by chunks, each with a key of its own."""
    parts = []
    for number, start in enumerate(range(0, n, CHUNK)):
        reseed(key(seed, number), torch.device("cpu"))
        size = min(CHUNK, n - start)
        parts.append(chunk(size, None if c is None else c[start : start + size]))
    columns = [None if column[0] is None else torch.cat(column) for column in zip(*parts, strict=True)]
    return Drawn(*columns)._replace(x=columns[0].float())  # type: ignore[arg-type, union-attr]


def picture(x: Tensor, title: str, span: tuple[float, float]) -> Figure:
    """All samples on one page; where they do not fill its last row, white tiles do."""
    columns = across(len(x))
    if is_picture(x.shape[1:]):
        x = torch.cat([x, torch.full((-len(x) % columns, *x.shape[1:]), span[1])])
    return draw(x, span, title, columns)


def across(n: int) -> int:
    """Columns of a page of n pictures, somewhat wider than high, with the fewest places left empty."""
    choices = range(max(1, round(n**0.5)), int(2 * n**0.5) + 1)
    return min(choices, key=lambda columns: (-n % columns, abs(columns - (1.6 * n) ** 0.5)))


def save(found: Drawn, path: Path) -> None:
    """Write samples as `x`, conditions as `c`, codes or latents as `values`, those that there are."""
    arrays = {name: value for name, value in found._asdict().items() if value is not None}
    if path.suffix == ".pt":
        write(path, lambda sink: torch.save(arrays, sink))
    else:
        write(path, lambda sink: np.savez(sink, **{name: value.numpy() for name, value in arrays.items()}))


def singles(x: Tensor, folder: Path, span: tuple[float, float]) -> Path:
    """Write each sample, (n, C, H, W), as a PNG of its own size into a folder, which is returned.

    Raises:
        ConfigError: The samples are no grey or coloured pictures.
    """
    if not is_picture(x.shape[1:]) or x.shape[1] not in (1, 3):
        raise ConfigError(f"--out writes pictures, but the samples have the shape {tuple(x.shape[1:])}: use --save.")
    scaled = ((x - span[0]) / (span[1] - span[0])).clamp(0, 1).mul(255).round().byte().movedim(1, -1).numpy()
    for number, pixels in enumerate(scaled):
        buffer = io.BytesIO()
        Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, format="png")
        write_bytes(folder / f"{number:0{len(str(len(x) - 1))}d}.png", buffer.getvalue())
    return folder
