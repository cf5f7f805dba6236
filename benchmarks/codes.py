"""VQ and FSQ on CIFAR-10 at an equal number of codes: error, usage and perplexity over the whole test split.

python benchmarks/codes.py [--data FOLDER] [--runs FOLDER] [--out FOLDER] [--picture FILE]

Trains both recipes where FOLDER of --runs does not hold them yet; writes codes-cifar10.csv, and a picture of both.
"""

# ruff: noqa: RUF001 (a minus sign in a formula)
from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from lit_ae.callbacks.figures import png, write
from lit_ae.errors import LitAEError
from lit_ae.jobs.opening import Opened, opened
from lit_ae.models.vq_vae import VQVAE, code_use
from lit_ae.plots.concepts import rebuilt
from report import installed, machine

HERE = Path(__file__).resolve().parent
RECIPES = ("vq_cifar10", "fsq_cifar10")
SHOWN = 10


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("LIT_AE_DATA", "data")
    parser.add_argument("--data", type=Path, default=Path(data, "cifar10-images"), help="folder with train/ and test/")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of finished runs, or where they go")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder for the CSV")
    parser.add_argument("--picture", type=Path, default=None, help="where the picture goes; none by default")
    return parser.parse_args()


def main() -> None:
    """Train what is missing, measure, write."""
    given = arguments()
    flags = ["--data.root", str(given.data)]
    for name in RECIPES:
        if not (given.runs / name / "0" / "checkpoints" / "last.ckpt").is_file():
            command = [sys.executable, "-m", "lit_ae", "fit", "--config", f"recipes/{name}", "--runs", str(given.runs)]
            subprocess.run([*command, "--seed_everything", "0", *flags], check=True)
    try:
        runs = [opened(given.runs / name / "0" / "checkpoints" / "last.ckpt", flags) for name in RECIPES]
        rows = [{"recipe": name, **measured(run)} for name, run in zip(RECIPES, runs, strict=True)]
    except LitAEError as error:
        sys.exit(f"codes: {str(error).splitlines()[0]}")
    given.out.mkdir(parents=True, exist_ok=True)
    with (given.out / "codes-cifar10.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for key in rows[0]:
        print(f"{key:20}", *(f"{row[key]!s:>24}" for row in rows))
    if given.picture:
        picture(runs, rows, given.picture)


def measured(run: Opened) -> dict[str, Any]:
    """What one run reaches on the whole test split, and what it took."""
    assert isinstance(run.model, VQVAE)
    errors, codes = [], []
    with torch.no_grad():
        for batch in run.batches("test"):
            q = run.model.encode(batch.x, batch.c, batch.mask)
            errors.append(run.model.decode(q.mode, batch.c).squared_error(batch.x))
            codes.append(q.codes)
    error, quantizer, every = torch.cat(errors).double(), run.model.quantizer, torch.cat(codes)
    usage, perplexity = code_use(every, quantizer.num_codes, quantizer.depth)
    config = yaml.safe_load(run.run.config.read_text(encoding="utf-8"))
    held = torch.load(run.checkpoint, map_location="cpu", weights_only=True)
    return {
        "quantizer": type(quantizer).__name__,
        "codes": quantizer.num_codes,
        "codes_per_picture": every[0].numel(),
        "test_pictures": len(error),
        "error_per_picture": f"{error.mean():.3f}",
        "error_standard_error": f"{error.std() / len(error) ** 0.5:.3f}",
        "error_per_value": f"{error.mean() / run.model.decode(q.mode).event_shape.numel():.6f}",
        "codes_used": f"{usage:.4f}",
        "perplexity": f"{perplexity:.1f}",
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "codebook_values": sum(buffer.numel() for name, buffer in quantizer.named_buffers() if name == "codebook"),
        "steps": held["global_step"],
        "batch": config["data"]["init_args"]["batch_size"],
        "seed": config["seed_everything"],
        "minutes": f"{(run.checkpoint.stat().st_mtime - run.run.config.stat().st_mtime) / 60:.1f}",
        "machine": machine(torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "torch": installed("torch"),
        "lightning": installed("lightning"),
    }


def picture(runs: list[Opened], rows: list[dict[str, Any]], path: Path) -> None:
    """The first test pictures of as many classes, and what both make of them."""
    x = of_each_class(runs[0])
    shown = [(label(row), run.model.reconstruct(x)) for row, run in zip(rows, runs, strict=True)]
    write(path, png(rebuilt(x, shown, f"CIFAR-10 test pictures from {rows[0]['codes_per_picture']} codes each")))


def label(row: dict[str, Any]) -> str:
    """Name of a row of pictures."""
    name = "VQ" if row["codebook_values"] else "FSQ"
    return f"{name}\n‖x̂ − x‖² = {float(row['error_per_picture']):.1f}"


def of_each_class(run: Opened) -> Tensor:
    """The first picture of each class, (SHOWN, C, H, W)."""
    found: dict[int, Tensor] = {}
    for batch in run.batches("test"):
        assert batch.y is not None
        for x, y in zip(batch.x, batch.y.tolist(), strict=True):
            found.setdefault(y, x)
    return torch.stack([found[y] for y in sorted(found)][:SHOWN])


if __name__ == "__main__":
    main()
