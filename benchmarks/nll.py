"""−log p(x) from 5,000 samples on MNIST, and a training step of IWAE with 50 samples against a bare loop.

python benchmarks/nll.py [--device cuda] [--data FOLDER] [--n 200] [--threads 1] [--csv]

Prints time per picture, the share of it in matrix products, and the memory; then the two steps, taken in turn.
With --csv the numbers go to a file in results/, one for each machine and number of threads.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from datamodules import MNIST
from lit_ae.batch import Batch
from lit_ae.likelihoods import Bernoulli
from lit_ae.metrics import nll
from lit_ae.models.iwae import IWAE
from lit_ae.nn import MLPDecoder, MLPEncoder
from lit_ae.optim import FusedAdam, stop_driver_search
from report import installed, machine, slug

TANH: dict[str, Any] = {"hidden": (200, 200), "activation": nn.Tanh}
PRODUCTS = ("aten::addmm", "aten::mm", "aten::bmm", "aten::linear")
LATENTS, BATCH, MNIST_TEST = 50, 20, 10_000
RESULTS = Path(__file__).resolve().parent / "results"


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("LIT_AE_DATA", "data"), help="folder with MNIST")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--n", type=int, default=200, help="pictures to estimate")
    parser.add_argument("--samples", type=int, default=5000, help="samples per picture")
    parser.add_argument("--memory", type=float, default=256.0, help="budget in MiB")
    parser.add_argument("--k", type=int, default=50, help="samples of the training step")
    parser.add_argument("--steps", type=int, default=50, help="steps per round")
    parser.add_argument("--rounds", type=int, default=7, help="rounds that count, after one to warm up")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; by default what torch takes")
    parser.add_argument("--csv", action="store_true", help="write the numbers to --out")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the CSV")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    given = arguments()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("nll: torch sees no CUDA device: leave --device out.")
    stop_driver_search()
    if given.threads:
        torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    data = MNIST(root=str(given.data))
    source, index = data.split("test")
    samples = next(iter(source.fetch([index[: max(given.n, BATCH)]])))
    x = (samples.x.float() / 255).bernoulli().to(device)
    torch.manual_seed(0)
    encoder, decoder = partial(MLPEncoder, **TANH), partial(MLPDecoder, **TANH)
    model = IWAE(
        spec=data.spec, latent_dim=LATENTS, encoder=encoder, decoder=decoder, likelihood=Bernoulli, samples=given.k
    ).to(device)
    name, threads = machine(device), torch.get_num_threads()
    print(f"{name}, {threads} CPU threads")
    row = {**estimate(model, x[: given.n], given), **steps(model, x[:BATCH], given)}
    if given.csv:
        row |= {"device": given.device, "machine": name, "threads": threads, "torch": installed("torch")}
        row |= {"python": platform.python_version(), "date": date.today().isoformat()}
        given.out.mkdir(parents=True, exist_ok=True)
        path = given.out / f"nll-{slug(name)}-{threads}-cpu-threads.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerow(row)


def estimate(model: IWAE, x: Tensor, given: argparse.Namespace) -> dict[str, object]:
    """Time the estimator, then profile a part of the pictures."""
    run = partial(nll, model, samples=given.samples, memory_mib=given.memory)
    few = Batch(x[: max(1, len(x) // 10)])
    run(Batch(x[:2]))
    ms = 1000 * timed(lambda: run(Batch(x)), x.device) / len(x)
    hours = ms * MNIST_TEST / 3.6e6
    memory = peak(lambda: run(Batch(x[:2])), x.device)
    print(f"nll: {len(x)} pictures, {given.samples} samples, {ms:.2f} ms each: {hours:.2f} h for {MNIST_TEST:,}")
    print(f"nll: {memory:.1f} MiB at its peak, budget {given.memory:.0f} MiB")
    kinds = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * (x.device.type == "cuda")]
    with profile(activities=kinds) as profiler:
        run(few)
    own, whole = "self_cpu_time_total", "cpu_time_total"
    if x.device.type == "cuda":
        own, whole = ("self_device_time_total", "device_time_total")
    events = [(event.key, getattr(event, own), getattr(event, whole)) for event in profiler.key_averages()]
    if x.device.type == "cuda":  # kernels have names of their own, and operators repeat their time
        events = [event for event in events if event[0].startswith("aten::")]
    spent = sum(value for _, value, _ in events)
    products = sum(value for name, value, _ in events if name in PRODUCTS) / spent
    layers = sum(value for name, _, value in events if name == "aten::linear") / spent
    print(f"nll: {products:.0%} of the time in matrix products, {layers:.0%} with their biases")
    for name, value, _ in sorted(events, key=lambda event: -event[1])[:6]:
        print(f"     {value / spent:4.0%} {name}")
    row = {"pictures": len(x), "samples": given.samples, "budget_mib": given.memory, "nll_peak_mib": f"{memory:.1f}"}
    row |= {"nll_ms_per_picture": f"{ms:.2f}", "nll_hours_for_10000": f"{hours:.3f}"}
    return row | {"nll_share_of_products": f"{products:.3f}", "nll_share_of_linear_layers": f"{layers:.3f}"}


def steps(model: IWAE, x: Tensor, given: argparse.Namespace) -> dict[str, object]:
    """Time training steps of both, round after round."""
    batch, optimizer = Batch(x), model.build_optimizer()

    def ours() -> None:
        optimizer.zero_grad()
        model.weigh(model.loss(batch, model(batch), model.coefficients), model.coefficients).backward()
        optimizer.step()

    bare, times = bare_step(x, given.k), []
    for _ in range(1 + given.rounds):
        times.append([timed(lambda step=step: [step() for _ in range(given.steps)], x.device) for step in (ours, bare)])
    one, other = (1000 * median(column) / given.steps for column in zip(*times[1:], strict=True))
    ratios = [mine / theirs for mine, theirs in times[1:]]
    ratio, low, high = median(ratios), min(ratios), max(ratios)
    print(f"step, k = {given.k}, batch {len(x)}: IWAE {one:.2f} ms, bare {other:.2f} ms")
    print(f"step: {ratio:.2f}x, {low:.2f} to {high:.2f} over {given.rounds} rounds (bar 1.3x)")
    bounds = {"step_ratio": f"{ratio:.3f}", "step_ratio_min": f"{low:.3f}", "step_ratio_max": f"{high:.3f}"}
    return {"k": given.k, "batch": len(x), "step_ms": f"{one:.3f}", "bare_step_ms": f"{other:.3f}", **bounds}


def bare_step(x: Tensor, k: int) -> Callable[[], None]:
    """A training step of the same networks in plain torch: what nobody could leave out."""
    pixels = x[0].numel()

    def net(n_in: int, n_out: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(n_in, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh(), nn.Linear(200, n_out))

    encoder, decoder = net(pixels, 2 * LATENTS).to(x.device), net(LATENTS, pixels).to(x.device)
    optimizer, flat = FusedAdam([*encoder.parameters(), *decoder.parameters()]), x.flatten(1)

    def step() -> None:
        optimizer.zero_grad()
        loc, log_variance = encoder(flat).chunk(2, 1)
        noise = torch.randn(k, len(x), LATENTS, device=x.device)
        z = loc + (0.5 * log_variance).exp() * noise
        logits = decoder(z)
        log_p = -F.binary_cross_entropy_with_logits(logits, flat.expand_as(logits), reduction="none").sum(2)
        log_ratio = 0.5 * (noise.square() - z.square() + log_variance).sum(2)
        (-(log_p + log_ratio).logsumexp(0).mean()).backward()
        optimizer.step()

    return step


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak(run: Callable[[], object], device: torch.device) -> float:
    """MiB that torch held at most at one time while running, beyond those at the start."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))) / 2**20


if __name__ == "__main__":
    main()
