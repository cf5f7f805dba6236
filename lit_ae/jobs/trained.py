"""Trainings that `lit_ae compare --train` starts, and those that it finds done. Imports no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from lit_ae import shipped, trust
from lit_ae.arguments import read
from lit_ae.errors import LitAEError, RunError
from lit_ae.runs import Run
from lit_ae.storage import write

RECORD = "trained.json"  # in the folder of a run: what it was trained with, once it was to the end


def train(asked: Namespace, flags: Sequence[str]) -> list[str]:
    """Train each config with each seed by `lit_ae fit`, but those done before: the folders of the runs.

    Raises:
        ConfigError: There is no such config.
        LitAEError: A training failed; the status is its own.
    """
    configs = [shipped.find(name) for name in asked.train]
    for config in configs:
        read(config)
    folders = []
    for config in configs:
        for seed in range(asked.seeds):
            record = {"config": str(config), "content": digest(config), "seed": seed, "flags": sorted(flags)}
            folder = done(Path(asked.runs), record)
            if folder is None:
                folder = fit(config, seed, asked.runs, flags)
                text = json.dumps(record, indent=2) + "\n"
                write(folder / RECORD, lambda sink, text=text: sink.write(text.encode()))  # type: ignore[misc]
                print(f"trained  {folder}", flush=True)
            else:
                print(f"found    {folder}", flush=True)
            folders.append(str(folder))
    return folders


def digest(path: Path) -> str:
    """What a file holds, as a short text."""
    return sha256(path.read_bytes()).hexdigest()


def done(root: Path, record: dict[str, Any]) -> Path | None:
    """The folder of the newest run that was trained with the same, None where there is none."""
    found = []
    for path in root.glob(f"*/*/{RECORD}"):
        try:
            same = json.loads(path.read_text(encoding="utf-8")) == record
        except (OSError, ValueError):
            continue  # nothing that we wrote: train again
        if same and any(Run(path.parent).checkpoints.glob("*.ckpt")):
            found.append(path)
    return max(found, key=lambda path: path.stat().st_mtime).parent if found else None


def fit(config: Path, seed: int, runs: str, flags: Sequence[str]) -> Path:
    """Train in a process of its own, whose progress goes to our stderr: the folder of the run.

    Raises:
        LitAEError: It failed.
        RunError: It made no run.
    """
    command = ["fit", "--config", str(config), *flags, *trust.flags(), f"--seed_everything={seed}", f"--runs={runs}"]
    started = subprocess.Popen(
        [sys.executable, "-m", "lit_ae", *command], stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    folder = None
    assert started.stdout is not None
    with started:
        for line in started.stdout:
            if line.startswith("run      "):
                folder = Path(line.removeprefix("run      ").rstrip("\n"))
            print(line, end="", file=sys.stderr, flush=True)
    if started.returncode:
        error = LitAEError(f"lit_ae {' '.join(command)} failed: see above.")
        error.status = started.returncode
        raise error
    if folder is None:
        raise RunError(f"lit_ae {' '.join(command)} kept no run: leave out --trainer.fast_dev_run.")
    return folder
