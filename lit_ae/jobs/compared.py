"""What `lit_ae compare` measures, draws and writes."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from lit_ae.callbacks.figures import png
from lit_ae.callbacks.figures import write as write_bytes
from lit_ae.errors import ConfigError
from lit_ae.jobs.comparison import CAPTIONS, as_csv, markdown, page, plain
from lit_ae.jobs.contest import entry
from lit_ae.jobs.opening import opened
from lit_ae.jobs.ranking import Group, groups, table
from lit_ae.plots.compare import maps, rate_distortion, side_by_side
from lit_ae.plots.concepts import rebuilt
from lit_ae.plots.style import array
from lit_ae.plots.tiles import is_picture, limits


def compare(asked: Namespace, folders: Sequence[str], flags: Sequence[str]) -> list[str]:
    """Measure runs and write all that a comparison holds, and say in lines what was written.

    Raises:
        ConfigError: The runs are of different data.
        RunError: A run cannot be opened.
        DataError: The data are missing.
    """
    entries = []
    for folder in dict.fromkeys(folders):
        entries.append(entry(opened(folder, flags, device=asked.device), asked.split, asked.seed))
        if entries[-1].data != entries[0].data:
            raise ConfigError(
                f"{entries[0].run.folder} and {entries[-1].run.folder} have different {asked.split} samples: compare "
                "runs on the same data, with the same transforms."
            )
    found, out = groups(entries), Path(asked.out)
    pictures = drawn(found)
    for name in CAPTIONS:
        (out / f"{name}.png").unlink(missing_ok=True)  # of an earlier comparison
    for name, content in pictures.items():
        write_bytes(out / f"{name}.png", content)
    kind = str(entries[0].config["data"].get("class_path", "")).rsplit(".", 1)[-1]
    about = f"{entries[0].count:,} {asked.split} samples of {kind}"
    texts = {"csv": as_csv(table(found)), "md": markdown(found, about, pictures), "html": page(found, about, pictures)}
    for suffix, text in texts.items():
        write_bytes(out / f"comparison.{suffix}", text.encode())
    return [
        *plain(found),
        "",
        *(f"table    {out / f'comparison.{suffix}'}" for suffix in ("csv", "md")),
        f"page     {out / 'comparison.html'}",
        *(f"picture  {out / f'{name}.png'}" for name in pictures),
    ]


def drawn(found: Sequence[Group]) -> dict[str, bytes]:
    """The pictures that these runs allow, by name."""
    torch.manual_seed(0)
    firsts = [group.entries[0] for group in found]
    labels = [group.label for group in found]
    span = firsts[0].span or limits(array(firsts[0].x))
    pictures = {}
    common = Counter(each.likelihood for each in firsts if "rate" in each.values).most_common(1)
    rated = [group for group in found if "rate" in group.entries[0].values]
    rated = [group for group in rated if group.entries[0].likelihood == common[0][0]]
    if rated:
        points = [list(zip(group.values("rate"), group.values("distortion"), strict=True)) for group in rated]
        pictures["rate_distortion"] = png(rate_distortion([group.label for group in rated], points))
    mapped = [each.z for each in firsts]
    pictures["latent_maps"] = png(maps(labels, mapped, [each.y for each in firsts], firsts[0].class_names))
    if is_picture(firsts[0].x.shape[1:]):
        rows = [(label, each.x_hat) for label, each in zip(labels, firsts, strict=True)]
        pictures["reconstructions"] = png(rebuilt(firsts[0].x, rows))
    drawn = [(label, each.source, each.drawn) for label, each in zip(labels, firsts, strict=True)]
    new = {f"{label} ({source})": x for label, source, x in drawn if x is not None}
    if new:
        pictures["samples"] = png(side_by_side(list(new), list(new.values()), span))
    return pictures
