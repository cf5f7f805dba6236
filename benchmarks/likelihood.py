"""What finished runs reach on the test split, in nats: the ELBO, and −log p(x) from many samples.

python benchmarks/likelihood.py RUN [RUN ...] --table NAME [--samples 5000] [--n 10000] [--data FOLDER]

Each run becomes a row of results/NAME.csv, in the place of an older row of the same recipe, samples and epochs.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml

from lit_ae.errors import LitAEError
from lit_ae.jobs.opening import Opened, opened
from lit_ae.metrics import nll
from lit_ae.models.generative import Variational
from report import installed, machine

HERE = Path(__file__).resolve().parent
KEY = ("recipe", "model", "samples_trained", "epochs")


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of finished runs")
    parser.add_argument("--table", required=True, help="name of the CSV")
    parser.add_argument("--samples", type=int, default=5000, help="samples of q(z|x) per picture")
    parser.add_argument("--minutes", type=float, help="wall time of training, where it was interrupted and resumed")
    parser.add_argument("--n", type=int, default=10_000, help="test pictures")
    parser.add_argument("--memory", type=float, default=256.0, help="budget of the estimate in MiB")
    parser.add_argument("--data", default=os.environ.get("LIT_AE_DATA", "data"), help="folder of the data")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the CSV")
    return parser.parse_args()


def main() -> None:
    """Measure run after run; each row is written at once."""
    given = arguments()
    for path in given.runs:
        try:
            run = opened(path, ["--data.root", str(given.data)])
            row = measured(run, given)
        except LitAEError as error:
            sys.exit(f"likelihood: {str(error).splitlines()[0]}")
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        keep(given.out / f"{given.table}.csv", row)


def measured(run: Opened, given: argparse.Namespace) -> dict[str, Any]:
    """ELBO and −log p(x) of one run, and what it took to train it."""
    if not isinstance(run.model, Variational):
        sys.exit(f"likelihood: {run.name} is no variational model: it has no posterior with a density.")
    torch.manual_seed(0)  # where the data are binarised anew each time, they are here, too
    batch = run.first(given.n)
    start = time.perf_counter()
    found = nll(run.model, batch, given.samples, given.memory)
    minutes = (time.perf_counter() - start) / 60
    # with one sample per picture, the estimate is −log w, whose mean is −ELBO
    elbo = -nll(run.model, batch, samples=1, memory_mib=given.memory).nats
    config = yaml.safe_load(run.run.config.read_text(encoding="utf-8"))
    last = run.run.checkpoints / "last.ckpt"
    held = torch.load(last, map_location="cpu", weights_only=True)
    return {
        "recipe": run.name,
        "model": run.variant,
        "samples_trained": run.model.samples,
        "epochs": held["epoch"] + 1,
        "steps": held["global_step"],
        "batch": config["data"]["init_args"]["batch_size"],
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "seed": config["seed_everything"],
        "train_minutes": f"{given.minutes or (last.stat().st_mtime - run.run.config.stat().st_mtime) / 60:.1f}",
        "elbo": f"{elbo.mean():.2f}",
        "nll": f"{found.nats.mean():.2f}",
        "nll_standard_error": f"{found.nats.std() / len(found.nats) ** 0.5:.2f}",
        "nll_samples": given.samples,
        "pictures": len(found.nats),
        "nll_minutes": f"{minutes:.1f}",
        "machine": machine(torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "torch": installed("torch"),
        "lightning": installed("lightning"),
    }


def keep(path: Path, row: dict[str, Any]) -> None:
    """Put a row into a CSV, in the place of one with the same key."""
    rows: list[dict[str, Any]] = []
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    rows = [old for old in rows if any(str(old[name]) != str(row[name]) for name in KEY)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerows([*rows, row])


if __name__ == "__main__":
    main()
