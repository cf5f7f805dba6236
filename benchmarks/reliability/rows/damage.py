"""Checkpoints that are cut or whose bits flip: each is detected, and training goes on from the newest sound one."""

from __future__ import annotations

import atexit
import io
import os
import shutil
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from random import Random

import torch

from lit_ae.arguments import resolve
from lit_ae.checked import steps
from lit_ae.cli import main
from lit_ae.errors import RunError
from lit_ae.sealed import COMMENT
from lit_ae.storage import load
from reliability.row import Row

SHORT = ["--trainer.callbacks=[]", "--trainer.limit_train_batches=3", "--trainer.limit_val_batches=1"]
SHORT += ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
SHORT += ["--model.encoder.hidden=[16]", "--model.decoder.hidden=[16]"]
END = 98  # bytes of the archive's last three headers
WHOLE = 50  # one trial of so many trains to the end
SCENES = ("best is newer", "previous is newer", "the newer is damaged")  # of the two beside last.ckpt


@cache
def run() -> Path:
    """The folder of a run with last.ckpt, previous.ckpt and best.ckpt."""
    root = Path(tempfile.mkdtemp(prefix="lit_ae-damage-run-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    for more in (["--config=vae", *SHORT, "--trainer.max_epochs=2"], ["--ckpt_path=last", "--trainer.max_epochs=4"]):
        status, said = call(["fit", *more, f"--runs={root}"])
        assert status == 0, said
    folder = root / "vae" / "0"
    names = {path.name for path in (folder / "checkpoints").glob("*")}
    assert names == {"last.ckpt", "previous.ckpt", "best.ckpt"}, names
    assert behind(folder, "previous.ckpt") < behind(folder, "best.ckpt"), "they are no two moments of training"
    return folder


@cache
def behind(folder: Path, name: str) -> int:
    """Steps behind a checkpoint of the run."""
    found = steps(folder / "checkpoints" / name)
    assert found is not None
    return found


def staged(checkpoints: Path, scene: str) -> tuple[Path, int]:
    """Set the scene in a copy of the run: the checkpoint to go on from, and the steps behind it."""
    best, previous = (checkpoints / name for name in ("best.ckpt", "previous.ckpt"))
    if scene == "the newer is damaged":
        best.write_bytes(best.read_bytes()[:-1])
        return previous, behind(run(), previous.name)
    if scene == "previous is newer":
        for path, other in ((best, previous), (previous, best)):
            path.write_bytes((run() / "checkpoints" / other.name).read_bytes())
        return previous, behind(run(), best.name)
    return best, behind(run(), best.name)


def call(argv: list[str]) -> tuple[int, str]:
    """Run a command in this process: its status, and what it wrote on stderr."""
    os.environ.pop("LIT_AE_RUN", None)
    err = io.StringIO()
    with redirect_stderr(err), redirect_stdout(io.StringIO()):
        status = main(argv)
    return status, err.getvalue()


def damaged(form: str, number: int, content: bytes) -> bytes:
    """A checkpoint that is not what was saved; one trial of four aims at the digest, one at the directory."""
    random, size = Random(f"{form} {number}"), len(content)
    first = [size - COMMENT, size - COMMENT - END, 0, 0][number % 4]
    last = [size, size - COMMENT, size, size][number % 4]
    if form == "truncated":
        return content[: random.randrange(first, last)]
    changed = bytearray(content)
    for bit in random.sample(range(8 * first, 8 * last), random.choice([1, 1, 1, 2, 8])):
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def unsealed(number: int, content: bytes) -> bytes:
    """A checkpoint without a digest; in every second trial one byte of its weights is another one."""
    plain = bytearray(content[:-COMMENT])
    plain[-2:] = b"\0\0"
    if number % 2:
        with torch.serialization._open_zipfile_reader(io.BytesIO(content)) as archive:
            at = archive.get_record_offset("data/2")
            plain[at + Random(number).randrange(len(archive.get_record("data/2")))] ^= 1
    return bytes(plain)


def weights(path: Path) -> dict[str, torch.Tensor]:
    """Parameters in a checkpoint."""
    found: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return found


def trial(form: str, number: int, folder: Path) -> str | None:
    """Damage last.ckpt of a copy of the run; open it by name, then go on with the run."""
    copy = folder / "runs" / "vae" / "0"
    shutil.copytree(run(), copy)
    last = copy / "checkpoints" / "last.ckpt"
    content = last.read_bytes()
    scene = SCENES[number // 4 % len(SCENES)]
    newest, step = staged(copy / "checkpoints", scene)
    sound = form == "without a digest" and number % 2 == 0
    last.write_bytes(unsealed(number, content) if form == "without a digest" else damaged(form, number, content))
    if sound:
        status, said = call(["validate", str(last)])
        named = said.count(f"{last} has no digest")
        return None if (status, named) == (0, 1) else f"status {status}, named {named} times: {said}"
    status, said = call(["validate", str(last)])
    lines = said.splitlines()
    if status != 4 or len(lines) != 1 or "is no checkpoint, or is damaged (" not in said:
        return f"status {status}, {len(lines)} lines: {said}"
    if f"name {newest if scene == SCENES[2] else newest.with_name('best.ckpt')}, which is sound." not in said:
        return f"names no sound one: {said}"
    try:
        load(last)
        return "it was loaded"
    except RunError:
        pass
    argv = ["fit", "--ckpt_path=last", f"--runs={folder / 'runs'}"]
    err = io.StringIO()
    with redirect_stderr(err):
        taken = resolve(argv).checkpoint
    if taken != newest or f"{last} is damaged" not in (told := err.getvalue()) or f"{newest}, step {step}." not in told:
        return f"{scene}: goes on from {taken}: {err.getvalue()}"
    if steps(last) is None:
        return "last.ckpt is still damaged"
    if number % WHOLE == 0:
        last.with_name("last.ckpt.damaged").replace(last)
        status, said = call(argv)
        if status != 0 or f"going on from {taken}" not in said:
            return f"status {status} of the resumed run: {said}"
        before, after = weights(run() / "checkpoints" / "last.ckpt"), weights(last)
        if any(not torch.equal(before[name], after[name]) for name in before):
            return "the resumed run ends with other weights"
        if (copy / "metrics.csv").read_text() != (run() / "metrics.csv").read_text():
            return "the resumed run has another table of metrics"
    return None


ROW = Row(
    "damage",
    "A checkpoint is truncated, or bits of it flip (those of its digest, too)",
    "Detected: one line, status 4; `last` falls back to the newest sound one and says so; one without digest is named",
    {"truncated": 1000, "bits flipped": 1000, "without a digest": 20},
    trial,
    workers=1,
)
