"""What `lit_ae interpolate` decodes, and the files that it writes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from lit_ae.callbacks.figures import png, write
from lit_ae.callbacks.gif import gif
from lit_ae.jobs.measured import inputs
from lit_ae.jobs.opening import Split, opened
from lit_ae.jobs.parsing import vacant
from lit_ae.jobs.walks import arc, conditions, decoded, elsewhere, line, name_of, need, pair, samples
from lit_ae.plots.style import array
from lit_ae.plots.tiles import limits
from lit_ae.plots.walks import frames, walks

MOMENTS = 8  # of the animation, one way
WAYS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {"linear": line, "spherical": arc}


def interpolate(asked: Namespace, flags: Sequence[str]) -> list[str]:
    """Walk and write what a command line asks for, and say in lines what was written.

    Raises:
        ConfigError: There are no such samples, or the run's latents are no place to walk in.
        DataError: The data are missing, or do not fit.
        RunError: The run cannot be opened.
    """
    run = opened(asked.run, flags, asked.data or elsewhere(asked.ends), asked.device)
    model = need(run, "lit_ae interpolate")
    paths = files(run.run.figures, asked.out, "interpolation", asked.overwrite)
    split: Split = "test" if asked.data else asked.split
    names = asked.ends or pair(run, split)
    ends = samples(run, names, split)
    x = torch.cat([end.x for end in ends]).cpu()
    start, stop = (model.embed(*inputs(end))[0] for end in ends)
    ways = [asked.path] if asked.path != "both" else list(WAYS)

    def walked(steps: int) -> Tensor:
        given = [None if end.c is None else end.c[0] for end in ends]
        c = conditions(given[0], given[1], steps)
        return torch.stack([decoded(model, WAYS[way](start, stop, steps), c) for way in ways])

    span = model.spec.value_range or limits(array(x))
    title = f"{run.name}: from {name_of(names[0], split)} to {name_of(names[1], split)}"
    shares = torch.linspace(0, 1, asked.steps).tolist()
    labels = [f"{share:.0%}" if asked.steps <= 12 else "" for share in shares]
    still = walks(walked(asked.steps), title, ways, labels, shares, "share of the way", x, span)
    moments = [f"{share:.0%} of the way" for share in torch.linspace(0, 1, MOMENTS).tolist()]
    forth = frames(walked(MOMENTS).movedim(0, 1), title, ways, moments, span)
    return written(paths, png(still), gif(forth + forth[-2::-1], 5, 0.4))


def files(figures: Path, out: str | None, name: str, overwrite: bool) -> list[Path]:
    """Where a picture and an animation go: a run's own are written anew, a folder elsewhere is asked about.

    Raises:
        ConfigError: They are there already.
    """
    paths = [(Path(out) if out else figures) / f"{name}.{suffix}" for suffix in ("png", "gif")]
    return [vacant(path, overwrite) for path in paths] if out else paths


def written(paths: Sequence[Path], *contents: bytes) -> list[str]:
    """Write files, and say in lines where they are."""
    for path, content in zip(paths, contents, strict=True):
        write(path, content)
    return [f"{what:<9} {path}" for what, path in zip(("picture", "animation"), paths, strict=True)]
