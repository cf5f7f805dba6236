"""The disk is full at each kind of write, or the folder read-only: one sentence, status 6, and what was there stays."""

from __future__ import annotations

import atexit
import errno
import random
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

from reliability import consoles, filling
from reliability.disks import ask, files, fill, left_behind, message, mounted, pages
from reliability.row import Row

FULL, READ = "disk full", "read-only folder"
EARLY, AMID = "no room for the first checkpoint, then room", "no room amid training, then room"
RUN = "disk/runs/vae/0"
SHORT = "--trainer.callbacks=[] --trainer.limit_train_batches=3 --trainer.limit_val_batches=1 --trainer.accelerator=cpu"
SHORT += " --trainer.enable_progress_bar=false --model.encoder.hidden=[16] --model.decoder.hidden=[16]"
FIT = f"fit --config vae --runs disk/runs --trainer.max_epochs=1 {SHORT}"
UNSAVED, UNLOGGED = "--trainer.enable_checkpointing=false", "--trainer.logger=false"


class Kind(NamedTuple):
    """A kind of write.

    Args:
        command: What writes, given once on a roomy disk and again on the full one.
        target: Name of the file that is not to find room, a glob pattern under the disk; of several the first one.
        first: Commands that make what it reads.
        again: What is given the second time, where that differs.
        training: Whether it makes a run, which may hold what was written before the disk was full.
        whole: Whether all that it writes goes to a new folder, where nothing is replaced: sizes add up.
        named: What its message calls the target, a glob pattern; the target's name by default.
    """

    command: str
    target: str
    first: tuple[str, ...] = ()
    again: str | None = None
    training: bool = False
    whole: bool = False
    named: str = ""


EMBED = f"embed {RUN} --overwrite --out disk/z"
KINDS = {
    "config.yaml": Kind(FIT, "runs/vae/*/config.yaml", training=True, whole=True),
    "metrics.csv": Kind(f"{FIT} {UNSAVED}", "runs/vae/*/metrics.csv", training=True, whole=True),
    "first checkpoint": Kind(f"{FIT} {UNLOGGED}", "runs/vae/*/checkpoints/*.ckpt", training=True, whole=True),
    "checkpoint of a resumed run": Kind(
        f"fit --ckpt_path {RUN} --trainer.max_epochs=2 --trainer.limit_val_batches=0",  # there is no best.ckpt
        "runs/vae/0/checkpoints/last.ckpt",
        again=f"fit --ckpt_path {RUN} --trainer.max_epochs=3",
        training=True,
    ),
    "best.ckpt of a resumed run": Kind(
        f"fit --ckpt_path {RUN} --trainer.max_epochs=2 --model.optimizer.lr=0.01",
        "runs/vae/0/checkpoints/best.ckpt",
        again=f"fit --ckpt_path {RUN} --trainer.max_epochs=3 --model.optimizer.lr=0.01",
        training=True,
    ),
    "figures in training": Kind(
        f"{FIT} {UNSAVED} {UNLOGGED} --trainer.callbacks=Reconstructions",
        "runs/vae/*/figures/*.png",
        training=True,
        whole=True,
    ),
    "TensorBoard": Kind(
        f"{FIT} {UNSAVED} --config logger/tensorboard",
        "runs/vae/*/tensorboard/events*",
        training=True,
        whole=True,
        named="tensorboard",  # its folder: what the file is called is TensorBoard's own affair
    ),
    "predictions": Kind(f"predict --ckpt_path {RUN}", "runs/vae/0/predictions.npz"),
    "metrics.json of test": Kind(f"test --ckpt_path {RUN} {UNLOGGED}", "runs/vae/0/metrics.json"),
    "sampler, found at once": Kind(
        f"fit-sampler {RUN} --kind gmm --sampler.components=2 --overwrite",
        "runs/vae/0/samplers/gmm/**/*.ckpt",
        whole=True,
    ),
    "sampler, trained": Kind(
        f"fit-sampler {RUN} --kind maf --sampler.width=8 --sampler.transforms=1 --epochs 1 --overwrite",
        "runs/vae/0/samplers/maf/**/*.ckpt",
        whole=True,
    ),
    "page of samples": Kind(f"sample {RUN} -n 16", "runs/vae/0/figures/samples*.png"),
    "samples as a file": Kind(f"sample {RUN} -n 400 --overwrite --save disk/s.npz", "s.npz"),
    "samples as files": Kind(f"sample {RUN} -n 16 --overwrite --out disk/samples", "samples/*.png"),
    "reconstruction errors": Kind(f"reconstruct {RUN} --overwrite", "runs/vae/0/reconstruct.csv"),
    "reconstructions": Kind(f"reconstruct {RUN} --overwrite --out disk/r.npz", "r.npz"),
    "latents as .npy": Kind(f"{EMBED}.npy", "z.npy"),
    "latents as .npz": Kind(f"{EMBED}.npz", "z.npz"),
    "latents as .parquet": Kind(f"{EMBED}.parquet", "z.parquet"),
    "decoded latents": Kind(f"decode {RUN} disk/z.npz --overwrite --out disk/d.npz", "d.npz", first=(f"{EMBED}.npz",)),
    "interpolation": Kind(f"interpolate {RUN}", "runs/vae/0/figures/interpolation.gif"),
    "traversal": Kind(f"traverse {RUN}", "runs/vae/0/figures/traversal.gif"),
    "anomalies": Kind(f"detect {RUN} --overwrite", "runs/vae/0/anomalies.csv"),
    "comparison": Kind(
        f"compare {RUN} --overwrite --out disk/c", "c/comparison.html", first=(f"test --ckpt_path {RUN}",)
    ),
    "export": Kind(f"export {RUN} --format safetensors --overwrite", "runs/vae/0/export/*.safetensors"),
    "diagram": Kind(f"summary {RUN} --overwrite --out disk/a.png", "a.png"),
    "standard output": Kind("--version", "out.txt", named="[Ss]tandard"),
}
READ_ONLY = {
    "a new run": (FIT, "disk/runs"),
    "a resumed run": (f"fit --ckpt_path {RUN} --trainer.max_epochs=3", "config.yaml"),
    "latents": (f"{EMBED}.npz", "z.npz*"),
    "a picture": (f"sample {RUN}", "samples*.png"),
    "a sampler": (f"fit-sampler {RUN} --kind gmm --sampler.components=2 --overwrite", "gmm*/config.yaml"),
}


@cache
def trained() -> Path:
    """A folder with a short run, which every trial copies; it goes when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="lit_ae-disk-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    done = consoles.finish(FIT.split(), folder)
    assert done.status() == 0, done.said()
    return folder / "disk"


def room(sizes: list[int], target: int, whole: bool) -> tuple[int, int]:
    """From how many free pages on what comes before finds room, and from how many on the target does.

    Args:
        sizes: Pages of the files, in the order in which they are made.
        target: Place of the one that is to find no room.
        whole: Whether they all stay: otherwise each takes the place of its old self.
    """
    small = [size for size in sizes if size < sizes[target]]
    stays = sum(size for place, size in enumerate(sizes) if place < target or size < sizes[target]) if whole else 0
    return stays + max(small, default=0), stays + sizes[target]


def full(number: int, folder: Path) -> str | None:
    """One kind of write on a disk that is about to be full."""
    draw = random.Random(number)
    name, kind = list(KINDS.items())[number % len(KINDS)]
    disk = folder / "disk"
    out = "disk/out.txt" if name == "standard output" else None
    with mounted(disk):
        shutil.copytree(trained(), disk, dirs_exist_ok=True)
        for command in kind.first:
            status, said = ask(command, folder)
            assert status == 0, said
        earlier = files(disk)
        status, said = ask(kind.command, folder, out)
        assert status == 0, said
        before = files(disk)
        written = {key: pages(value) for key, value in before.items() if earlier.get(key) != value}
        made = sorted(written, key=lambda key: (disk / key).stat().st_ino)  # a tmpfs numbers its files as they come
        target = next((key for key in made if disk / key in disk.glob(kind.target)), None)
        assert target is not None, f"{kind.target} is not among {written}"
        least, most = room([written[key] for key in made], made.index(target), kind.whole)
        if out:
            (disk / "out.txt").unlink()
            before.pop("out.txt")
        fill(disk, draw.randrange(least, most))
        before |= {"filler": b""}
        status, said = ask(kind.again or kind.command, folder, out)
        after = files(disk) | {"filler": b""}
        if out:
            after.pop("out.txt", None)  # the shell's file, not ours
        named = kind.named or Path(kind.target).name
        wrong = message(status, said, errno.ENOSPC, named) or left_behind(before, after, kind.training)
        return f"{name}: {wrong}" if wrong else None


def read_only(number: int, folder: Path) -> str | None:
    """A command that writes where nothing can be written."""
    name, (command, named) = list(READ_ONLY.items())[number % len(READ_ONLY)]
    disk = folder / "disk"
    with mounted(disk):
        shutil.copytree(trained(), disk, dirs_exist_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        before = files(disk)
        status, said = ask(command, folder)
        wrong = message(status, said, errno.EROFS, named) or (
            None if files(disk) == before else "the disk was not read-only"
        )
        return f"{name}: {wrong}" if wrong else None


def trial(form: str, number: int, folder: Path) -> str | None:
    """One trial."""
    return {FULL: full, EARLY: filling.early, AMID: filling.amid, READ: read_only}[form](number, folder)


ROW = Row(
    "disk",
    "disk full at each kind of write (a size-limited tmpfs); read-only folder (a read-only mount)",
    "one sentence with the way out, status 6; the old checkpoint and the old output intact, nothing half-written left; "
    "with room again the run ends bit-equal to the unbroken one",
    {FULL: len(KINDS), EARLY: 10, AMID: 20, READ: len(READ_ONLY)},
    trial,
    workers=1,
)
