"""`lit_ae embed` on MNIST against a bare batched loop over the encoder: time and peak memory.

python benchmarks/embed.py [--data FOLDER] [--run RUN] [--rounds N] [--out FOLDER]

Every round is a process of its own: the bare loop holds the 60,000 pictures as bytes, encodes batch by batch, and keeps
the means and log variances; the command reads a .npy file of them and writes a .parquet. A last one reads a file ten
times as long. Imports and opening the run are not timed, of anyone. CPU seconds are those that other processes on the
machine do not change. Writes embed-<machine>.csv.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datamodules import MNIST
from lit_ae.errors import LitAEError
from lit_ae.jobs import embedded
from lit_ae.jobs.opening import opened
from lit_ae.models.latent import VectorVariational
from report import installed, machine

HERE = Path(__file__).resolve().parent


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("LIT_AE_DATA", "data")), help="holds MNIST/raw"
    )
    parser.add_argument("--run", type=Path, default=None, help="a finished run of a VAE on MNIST; one step by default")
    parser.add_argument("--rounds", type=int, default=5, help="of which the medians are taken (5)")
    parser.add_argument("--samples", type=int, default=60_000, help="how many pictures (60,000)")
    parser.add_argument("--times", type=int, default=10, help="how many times as long the long file is (10)")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder for the CSV")
    parser.add_argument("--one", nargs=3, metavar=("KIND", "RUN", "FILE"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure in turns, and write."""
    given = arguments()
    if given.one:
        print(json.dumps(one(*given.one)))
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            rows = measured(given, Path(folder))
        except LitAEError as error:
            sys.exit(f"embed: {str(error).splitlines()[0]}")
    given.out.mkdir(parents=True, exist_ok=True)
    name = machine(torch.device("cpu"))
    slug = "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())
    with (given.out / f"embed-{slug}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for key in rows[0]:
        print(f"{key:20}", *(f"{row[key]!s:>22}" for row in rows))


def measured(given: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """A row per contender."""
    x = MNIST(root=str(given.data)).load("train").x[: given.samples].numpy()
    np.save(folder / "x.npy", x)
    large = np.lib.format.open_memmap(folder / "large.npy", "w+", np.uint8, (given.times * len(x), *x.shape[1:]))
    for part in range(given.times):
        large[part * len(x) : (part + 1) * len(x)] = x
    del large
    run = given.run or fitted(given.data, folder)
    found: dict[str, list[dict[str, float]]] = {"bare": [], "lit_ae embed": [], "lit_ae embed, long": []}
    for number in range(given.rounds):
        for kind in found:
            if "long" in kind and number:
                continue
            file = folder / ("large.npy" if "long" in kind else "x.npy")
            command = [sys.executable, __file__, "--one", kind, str(run), str(file)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[kind].append(json.loads(done.stdout.splitlines()[-1]))
    rows = []
    for kind, each in found.items():
        pairs = list(zip(each, found["bare"], strict=False))
        ratios = {
            name: statistics.median(one[name] / base[name] * base["samples"] / one["samples"] for one, base in pairs)
            for name in ("seconds", "cpu")
        }
        rows.append(
            {
                "contender": kind,
                "samples": int(each[0]["samples"]),
                "seconds": f"{statistics.median(one['seconds'] for one in each):.2f}",
                "cpu_seconds": f"{statistics.median(one['cpu'] for one in each):.2f}",
                "time_over_bare": f"{ratios['seconds']:.2f}",
                "cpu_time_over_bare": f"{ratios['cpu']:.2f}",
                "peak_above_model_mb": f"{statistics.median(one['peak'] for one in each):.0f}",
                "rounds": len(each),
                "machine": machine(torch.device("cpu")),
                "threads": torch.get_num_threads(),
                "torch": installed("torch"),
                "pyarrow": installed("pyarrow"),
            }
        )
    return rows


def fitted(data: Path, folder: Path) -> Path:
    """A VAE on MNIST after one step: what its weights are does not matter."""
    few = ["--trainer.max_steps=1", "--trainer.callbacks=[]", "--trainer.limit_val_batches=0", "--trainer.logger=false"]
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--data.transforms=[]"]
    command = [sys.executable, "-m", "lit_ae", "fit", "--config=vae_mnist", f"--data.root={data}", f"--runs={folder}"]
    subprocess.run([*command, *few, *quiet], check=True, capture_output=True)
    return folder / "vae_mnist" / "0"


def one(kind: str, run: str, file: str) -> dict[str, float]:
    """Seconds of one contender, MiB of memory at the peak above those with the model in it, and samples."""
    held = opened(run, given=file)
    warm = next(iter(held.ordered(batch_size=100)))
    with torch.no_grad():
        held.model.encode(warm.x)  # the first call chooses kernels
    import_module("pyarrow.parquet")
    start_memory = peak_memory()
    if kind == "bare":
        x = torch.from_numpy(np.load(file))
        start, cpu = time.perf_counter(), time.process_time()
        bare(held.model, x)
        samples = len(x)
    else:
        embedded.opened = lambda *_: held  # type: ignore[assignment]
        asked = Namespace(run=run, data=file, split="test", out=f"{file}.parquet", batch_size=100, dtype="float32")
        asked.device, asked.seed = "cpu", 0
        start, cpu = time.perf_counter(), time.process_time()
        embedded.embed(asked, [])
        samples = held.count() or 0
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {"seconds": seconds, "cpu": cpu, "peak": peak_memory() - start_memory, "samples": samples}


def peak_memory() -> float:
    """MiB at this process's peak, as Linux counts them: getrusage's maximum starts at that of the parent process."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024


@torch.no_grad()
def bare(model: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Means and log variances of pictures (N, C, H, W) in bytes: the loop that one would write by hand."""
    assert isinstance(model, VectorVariational)
    kept = torch.empty(len(x), model.encoder(x[:1].float()).shape[1])  # many small pieces would fragment the memory
    for into, batch in zip(kept.split(100), x.split(100), strict=True):
        into.copy_(model.encoder(batch.float().div_(255)))
    mean, log_variance = kept.chunk(2, 1)
    return mean, log_variance


if __name__ == "__main__":
    main()
