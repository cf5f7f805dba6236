"""Training speed on MNIST, in one run: a bare loop, pythae, lit_ae, lit_ae's fast config; a conv VAE; the loader.

python benchmarks/throughput.py [--device cuda] [--data FOLDER] [--quick]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from contenders import Bare, Contender, LitAE, Loader, Plan, Pythae, mnist
from lit_ae.errors import LitAEError
from lit_ae.nn import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from processes import Worker
from report import Row, compare, draw, machine, slug, text, write_csv

RESULTS = Path(__file__).resolve().parent / "results"
CONV_ARGUMENTS = ("--model.encoder", "ConvEncoder", "--model.decoder", "ConvDecoder")
MLP, CONV, LOADER = "VAE 784-512-16", "Conv VAE 32-64", "No training"


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("LIT_AE_DATA"), help="folder with MNIST/raw")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=7, help="rounds that count, after one that compiles")
    parser.add_argument("--steps", type=int, default=500, help="timed steps per round, after 40 untimed ones")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the CSV and the picture")
    parser.add_argument("--quick", action="store_true", help="1 round of 50 steps: shows that everything runs")
    return parser.parse_args()


def main() -> None:
    """Measure, write the CSV and the picture, print the table."""
    given = arguments()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("throughput: torch sees no CUDA device: leave --device out.")
    with TemporaryDirectory(prefix="lit_ae-bench-") as scratch:
        folder = given.data or (generate(Path(scratch)) if given.quick else Path("data"))
        if given.data and not (folder / "MNIST" / "raw").is_dir():
            sys.exit(f"throughput: {folder} holds no MNIST/raw: name a folder that does, or none, to download MNIST.")
        rounds, steps, warmup = (1, 50, 10) if given.quick else (given.rounds, given.steps, 40)
        plan = Plan(folder, Path(scratch), torch.device(given.device), not given.data, rounds, steps, warmup)
        try:
            rows, resident = measure(plan)
        except LitAEError as error:
            sys.exit(f"throughput: {str(error).splitlines()[0]}")
    compare(rows)
    name, threads = machine(plan.device), torch.get_num_threads()
    where = f"{name}, {threads} CPU thread{'s' * (threads > 1)}"
    target = given.out / f"throughput-{slug(where)}.csv"
    constants = {"steps": plan.steps, "device": given.device, "machine": name, "threads": threads}
    write_csv(rows, target, constants | resident)
    title = f"Training speed on MNIST, batch {plan.batch}"
    subtitle = f"Images per second on {where}, median of {plan.rounds} rounds. Black: to reach."
    draw(rows, title, subtitle).savefig(target.with_suffix(".png"), dpi=100)
    print(f"\n{title}, {where}\n\n{text(rows)}\n")
    print(", ".join(f"{key} {value}" for key, value in resident.items()), target, sep="\n")


def measure(plan: Plan) -> tuple[list[Row], dict[str, float]]:
    """Run all rounds, one contender after the other in each."""
    pictures = mnist(plan).spec.num_train
    if plan.total * plan.batch > pictures:
        sys.exit(f"throughput: a round of {plan.total} steps is more than an epoch of {pictures:,}: lower --steps.")
    builders: dict[Row, Callable[[], Contender]] = {
        Row(MLP, "bare", plan.batch): partial(Bare, plan, MLPEncoder, MLPDecoder),
        Row(MLP, "pythae", plan.batch): partial(Pythae, plan),
        Row(MLP, "lit_ae", plan.batch, max_time=1.2, min_speed=1.2): partial(LitAE, plan),
        Row(MLP, "lit_ae fast", plan.batch, min_speed=2.0): partial(LitAE, plan, "--config", "trainer/fast"),
        Row(CONV, "bare", plan.batch): partial(Bare, plan, ConvEncoder, ConvDecoder),
        Row(CONV, "lit_ae", plan.batch, max_time=1.08): partial(LitAE, plan, *CONV_ARGUMENTS),
        Row(LOADER, "loader", plan.batch, min_rate=1e6): partial(Loader, plan),
    }
    workers: dict[Row, Worker] = {}
    try:
        for row, build in builders.items():
            if row.name == "pythae" and find_spec("pythae") is None:
                row.note = 'skipped: pythae is not installed, pip install -e ".[bench]"'
            else:
                workers[row] = Worker(f"{row.family}, {row.name}", build)
        for number in range(plan.rounds + 1):
            for row, worker in workers.items():
                row.ms.append(worker.measure())
            said = ", ".join(f"{row.name} {row.ms[-1]:.3g}" for row in workers)
            print(f"round {number} of {plan.rounds}, ms/step: {said}" + " (not counted)" * (number == 0), flush=True)
    finally:
        for worker in workers.values():
            worker.stop()
    for row in workers:
        del row.ms[0]
    return list(builders), {key: fact for worker in workers.values() for key, fact in worker.facts.items()}


def generate(folder: Path) -> Path:
    """Write noise in MNIST's format, enough for a quick run."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    noise = np.random.default_rng(0)
    for part, n in (("train", 7000), ("t10k", 100)):
        for kind, shape, top in (("images-idx3", (n, 28, 28), 256), ("labels-idx1", (n,), 10)):
            header = np.array([0x0800 + len(shape), *shape], dtype=">u4").tobytes()
            values = noise.integers(0, top, shape, dtype=np.uint8)
            (raw / f"{part}-{kind}-ubyte").write_bytes(header + values.tobytes())
    return folder


if __name__ == "__main__":
    main()
