"""A damaged or odd picture among good ones: named and left out, or the run stops; what can be converted is."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from datamodules import ImageFolder
from lit_ae.errors import DataError
from reliability import consoles
from reliability.drawn import FORMATS, Drawn, bomb, checksum, cut, no_file, passed_by, text, unprivileged
from reliability.modes import odd
from reliability.row import Row

SIZE = (12, 10)  # height and width of the samples
MEMORY = 64 * 2**20  # what a damaged picture may cost
REAL = 10  # every so many trials the console script is run


class Trial(NamedTuple):
    """A folder with good pictures and one of another kind.

    Args:
        root: The folder, laid out for ImageFolder.
        path: The picture of another kind.
        drawn: What it is.
        values: Grey value of each good training picture, by its path below `train`.
        channels: Of the samples.
        skip: Whether damaged pictures are to be left out.
        held: Whether decoded pictures stay in memory.
    """

    root: Path
    path: Path
    drawn: Drawn
    values: dict[str, int]
    channels: int
    skip: bool
    held: bool

    def data(self, **kwargs: object) -> ImageFolder:
        """A new datamodule."""
        settings = {"size": SIZE, "channels": self.channels, "batch_size": 4, "num_workers": 0}
        settings |= {"on_error": "skip" if self.skip else "raise", "memory_mib": 64 if self.held else 0}
        return ImageFolder(root=str(self.root), **(settings | kwargs))  # type: ignore[arg-type]


def floats(draw: random.Random, path: Path) -> Drawn:
    """A TIFF of floating-point numbers."""
    pixels = np.random.default_rng(draw.randrange(2**32)).random(SIZE, dtype=np.float32)
    Image.fromarray(pixels * draw.choice([1, 255])).save(path := path.with_suffix(".tif"))
    return Drawn(path)


def empty(draw: random.Random, path: Path) -> Drawn:
    """No bytes."""
    path = path.with_suffix(f".{draw.choice(list(FORMATS))}")
    path.touch()
    return Drawn(path)


KINDS: dict[str, tuple[int, Callable[[random.Random, Path], Drawn]]] = {
    "cut": (100, lambda draw, path: cut(draw, path, SIZE)),
    "empty": (20, empty),
    "text": (40, text),
    "wrong mode": (60, lambda draw, path: odd(draw, path, SIZE, "mode")),
    "16-bit": (60, lambda draw, path: odd(draw, path, SIZE, "deep")),
    "CMYK": (40, lambda draw, path: odd(draw, path, SIZE, "cmyk")),
    "decompression bomb": (50, bomb),
    "bad checksum": (50, lambda draw, path: checksum(draw, path, SIZE)),
    "floating point": (20, floats),
    "no file": (40, no_file),
    "breaks after it was checked": (20, lambda draw, path: Drawn(path)),
}


def scene(form: str, number: int, folder: Path) -> Trial:
    """Draw good pictures and another one among them."""
    draw = random.Random(f"{form} {number}")
    root, names, values = folder / "pictures", [], {}
    for part, count in (("train", draw.randint(8, 14)), ("test", 2)):
        for i in range(count):
            name = f"{'ab'[i % 2]}/{i:02d}.png"
            (root / part / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", SIZE[::-1], 10 * i + 5).save(root / part / name)
            if part == "train":
                names.append(name)
                values[name] = 10 * i + 5
    place = root / "train" / draw.choice("ab") / f"{draw.randrange(15):02d}x"
    if form == "breaks after it was checked":
        name = draw.choice(names)
        del values[name]
        place = root / "train" / name
    drawn = KINDS[form][1](draw, place)
    channels, skip, held = draw.choice([1, 3]), bool(number % 2), bool(number // 2 % 2)
    return Trial(root, drawn.path, drawn, values, channels, skip, held)


def peak(reset: bool = False) -> int:
    """Bytes of memory that this process took at most since the last reset, or that it takes now."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmRSS" if reset else "VmHWM"].split()[0]) * 1024


def epoch(data: ImageFolder, split: str, shard: tuple[int, int] = (0, 1)) -> list[tuple[int, int]]:
    """Grey value and label of each sample of an epoch, in order."""
    found = []
    for batch in data.loader(split, training=split == "train", shuffle=split == "train", shard=shard):  # type: ignore[arg-type]
        if batch.weight:
            means = (batch.x.mean((1, 2, 3)) * 255).round().int().tolist()
            found += list(zip(means, batch.y.tolist(), strict=True))
    return found


def stopped(asked: Trial) -> str | None:
    """What was seen where the run had to stop."""
    try:
        data = asked.data()
        for split in ("train", "val"):
            epoch(data, split)
    except DataError as error:
        said = str(error)
        if str(asked.path) not in said or "--data.on_error skip" not in said or "\n" in said:
            return f"it said {said!r}"
        return None
    return "it did not stop"


def skipped(asked: Trial) -> str | None:
    """What was seen where it had to be left out, the same on every process and in every epoch."""
    total = len(asked.values) + 1
    good = sorted((value, "ab".index(name[0])) for name, value in asked.values.items())
    seen = []
    for rank in (0, 1, None):  # None: one process alone
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            data = asked.data()
            spec = data.spec
        said = [str(warning.message) for warning in caught]
        if not any(f"1 of {total} train pictures" in line for line in said):
            return f"not counted: {said}"
        if sum(str(asked.path) in line for line in said) != 1 or len(said) > 2:
            return f"not named once: {said}"
        if rank is None:
            whole = epoch(data, "train")
            if sorted(whole + epoch(data, "val")) != good or len(whole) != spec.num_train or spec.num_classes != 2:
                return f"{len(whole)} samples with their labels are others than the good ones"
            if sorted(seen) != sorted(whole) or epoch(data, "train") != whole:
                return "processes or epochs see other samples"
        else:
            seen += epoch(data, "train", (rank, 2))
    return None


def converted(asked: Trial) -> str | None:
    """What was seen where the picture had to be decoded as numpy says."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = asked.data(val_fraction=0.2)
        source, index = data.split("train")
        files = data.files("train")
    assert files is not None
    if len(index) + len(data.split("val")[1]) != len(asked.values) + 1 or any("left out" in str(w) for w in caught):
        return f"{asked.drawn.what} was left out"
    position = torch.tensor([list(files.paths).index(asked.path)])
    x = next(iter(source.fetch([position]))).x[0].numpy().astype(float)
    assert asked.drawn.pixels is not None
    expected = np.moveaxis(asked.drawn.pixels, -1, 0)
    if asked.channels == 1 and len(expected) == 3:
        expected = np.tensordot([[0.299, 0.587, 0.114]], expected, 1)
    error = np.abs(x - expected).max()
    return None if error <= asked.drawn.tolerance else f"{asked.drawn.what} is off by {error:.1f} of 255"


def broken(asked: Trial) -> str | None:
    """What was seen where a good file broke after it had been checked; it is read anew in every epoch."""
    data = asked._replace(held=False).data()
    _ = data.spec
    for split in ("train", "val"):
        epoch(data, split)
    asked.path.write_bytes(asked.path.read_bytes()[:40])
    try:
        for split in ("train", "val"):
            epoch(data, split)
    except DataError as error:
        return None if str(asked.path) in str(error) and "\n" not in str(error) else f"it said {error}"
    return "it went on"


def real(asked: Trial, folder: Path) -> str | None:
    """What the console script made of it."""
    fit = "fit --config ae --data ImageFolder --data.num_workers 0 --data.batch_size 4 --trainer.callbacks=[]"
    fit += f" --data.size [{SIZE[0]},{SIZE[1]}] --trainer.max_epochs 1 --trainer.accelerator cpu"
    fit += " --trainer.enable_progress_bar false --trainer.enable_checkpointing false --trainer.logger false"
    fit += " --model.encoder.hidden=[4] --model.decoder.hidden=[4]"
    fit += f" --data.on_error {'skip' if asked.skip else 'raise'} --data.memory_mib {64 if asked.held else 0}"
    console = consoles.finish([*fit.split(), "--data.root", str(asked.root)], folder)
    status, said = console.status(), console.said()
    lines = [line for line in said.splitlines() if str(asked.path) in line]
    if "Traceback" in said or status != (0 if asked.skip else 3) or len(lines) != 1:
        return f"status {status}: {said[-300:]}"
    if asked.skip and f"lit_ae: 1 of {len(asked.values) + 1} train pictures" not in said:
        return f"not counted: {said[-300:]}"
    return None


def trial(form: str, number: int, folder: Path) -> str | None:
    """One trial."""
    asked = scene(form, number, folder)
    if form == "breaks after it was checked":
        return broken(asked)
    if asked.drawn.pixels is not None:
        return converted(asked)
    with unprivileged(asked.drawn.private), passed_by(asked.path):
        before = peak(reset=True)
        wrong = skipped(asked) if asked.skip else stopped(asked)
        grown = peak() - before
        if wrong or grown > MEMORY:
            return f"{asked.drawn.what}: {wrong or f'{grown / 2**20:.0f} MiB were taken'}"
        return real(asked, folder) if number % REAL < 2 and not asked.drawn.private else None


ROW = Row(
    "pictures",
    "corrupt pictures (cut, empty, text, wrong mode, 16-bit, CMYK, decompression bomb, bad checksum, no file at all)",
    "named; skipped and counted, or stop, as asked; converted where that can be done",
    {form: count for form, (count, _) in KINDS.items()},
    trial,
    workers=1,
)
