"""Training speed on MNIST, in one run: a bare loop, pythae, lit_ae, lit_ae's fast config; a conv VAE; the loader.

python benchmarks/throughput.py [--device cuda] [--data FOLDER] [--quick]
"""

from __future__ import annotations

import argparse
import gc
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from contenders import Bare, Contender, LitAE, Loader, Plan, Pythae
from report import Row, compare, draw, machine, slug, text, write_csv

from datamodules import MNIST
from datamodules.samples import Resident
from lit_ae.errors import LitAEError
from lit_ae.nn import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder

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
    logging.disable(logging.INFO)  # pythae's and Lightning's reports of every round
    warnings.filterwarnings("ignore")
    with TemporaryDirectory(prefix="lit_ae-bench-") as scratch:
        folder = given.data or (generate(Path(scratch)) if given.quick else Path("data"))
        if given.data and not (folder / "MNIST" / "raw").is_dir():
            sys.exit(f"throughput: {folder} holds no MNIST/raw: name a folder that does, or none, to download MNIST.")
        size = (1, 50, 10) if given.quick else (given.rounds, given.steps, 40)
        plan = Plan(folder, Path(scratch), torch.device(given.device), *size)
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
    torch.ones(1000).add(1).sum()  # what torch allocates for itself is not the data's
    before = memory()
    data = MNIST(root=str(plan.folder), batch_size=plan.batch, download=True)
    data.setup("fit")
    source, positions = data.split("train")
    assert isinstance(source, Resident)
    resident = {"mnist_uint8_mb": source.samples.x.nbytes / 1e6, "process_growth_mb": round(memory() - before, 1)}
    if plan.total * plan.batch > len(positions):
        sys.exit(
            f"throughput: a round of {plan.total} steps is more than an epoch of {len(positions):,}: lower --steps."
        )
    pictures = source.samples.x[positions]
    builders: dict[Row, Callable[[], Contender]] = {
        Row(MLP, "bare", plan.batch): lambda: Bare(plan, pictures, MLPEncoder, MLPDecoder),
        Row(MLP, "pythae", plan.batch): lambda: Pythae(plan, pictures),
        Row(MLP, "lit_ae", plan.batch, max_time=1.2, min_speed=1.2): lambda: LitAE(plan),
        Row(MLP, "lit_ae fast", plan.batch, min_speed=2.0): lambda: LitAE(plan, "--config", "trainer/fast"),
        Row(CONV, "bare", plan.batch): lambda: Bare(plan, pictures, ConvEncoder, ConvDecoder),
        Row(CONV, "lit_ae", plan.batch, max_time=1.08): lambda: LitAE(plan, *CONV_ARGUMENTS),
        Row(LOADER, "loader", plan.batch, min_rate=1e6): lambda: Loader(plan, data),
    }
    contenders = {}
    for row, build in builders.items():
        if row.name == "pythae" and find_spec("pythae") is None:
            row.note = 'skipped: pythae is not installed, pip install -e ".[bench]"'
            continue
        with aside():
            torch.manual_seed(0)
            contenders[row] = build()
    for number in range(plan.rounds + 1):
        for row, contender in contenders.items():
            gc.collect()
            with aside():
                row.ms.append(contender.measure())
        said = ", ".join(f"{row.name} {row.ms[-1]:.3g}" for row in contenders)
        print(f"round {number} of {plan.rounds}, ms/step: {said}" + " (not counted)" * (number == 0), flush=True)
    for row in contenders:
        del row.ms[0]
    return list(builders), resident


class Terminal(io.TextIOBase):
    """A terminal that nobody looks at: progress bars are drawn as for a user, and cost what they cost."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        return len(text)


TERMINAL = Terminal()  # one for good: loggers keep the stream that they find


@contextmanager
def aside() -> Iterator[None]:
    """Let everything be written to a terminal that nobody looks at."""
    with redirect_stdout(TERMINAL), redirect_stderr(TERMINAL):
        yield


def memory() -> float:
    """Resident memory of this process in MB, nan where the system does not say."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if statm.is_file() else float("nan")


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
