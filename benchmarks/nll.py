"""−log p(x) from 5,000 samples on MNIST, and a training step of IWAE with 50 samples against a bare loop.

python benchmarks/nll.py [--device cuda] [--data FOLDER] [--n 200]

Prints time per picture, the share of it in matrix products, and the memory; then the two steps, taken in turn.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
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

TANH: dict[str, Any] = {"hidden": (200, 200), "activation": nn.Tanh}
PRODUCTS = ("aten::addmm", "aten::mm", "aten::bmm", "aten::linear")
LATENTS, BATCH = 50, 20


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("LIT_AE_DATA", "data"), help="folder with MNIST")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--n", type=int, default=200, help="pictures to estimate")
    parser.add_argument("--samples", type=int, default=5000, help="samples per picture")
    parser.add_argument("--memory", type=float, default=256.0, help="budget in MiB")
    parser.add_argument("--k", type=int, default=50, help="samples of the training step")
    parser.add_argument("--steps", type=int, default=50, help="steps per round, of 7 rounds")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    given = arguments()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("nll: torch sees no CUDA device: leave --device out.")
    stop_driver_search()
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
    print(f"{torch.get_num_threads()} CPU threads" if device.type == "cpu" else torch.cuda.get_device_name())
    estimate(model, x[: given.n], given)
    steps(model, x[:BATCH], given)


def estimate(model: IWAE, x: Tensor, given: argparse.Namespace) -> None:
    """Time the estimator, then profile a part of the pictures."""
    run = partial(nll, model, samples=given.samples, memory_mib=given.memory)
    run(Batch(x[:4]))
    before = resident(x.device)
    seconds = timed(lambda: run(Batch(x)), x.device)
    print(f"nll: {len(x)} pictures, {given.samples} samples, {seconds:.2f} s, {1000 * seconds / len(x):.2f} ms each")
    print(f"nll: memory grew by {resident(x.device) - before:.0f} MiB at its peak, budget {given.memory:.0f} MiB")
    kinds = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * (x.device.type == "cuda")]
    with profile(activities=kinds) as profiler:
        run(Batch(x[: max(1, len(x) // 10)]))
    field = "self_cpu_time_total" if x.device.type == "cpu" else "self_device_time_total"
    events = [(event.key, getattr(event, field)) for event in profiler.key_averages()]
    if x.device.type == "cuda":  # kernels have names of their own, and operators repeat their time
        events = [(name, value) for name, value in events if name.startswith("aten::")]
    spent = sum(value for _, value in events)
    share = sum(value for name, value in events if name in PRODUCTS) / spent
    print(f"nll: {share:.0%} of the time in matrix products")
    for name, value in sorted(events, key=lambda event: -event[1])[:6]:
        print(f"     {value / spent:4.0%} {name}")


def steps(model: IWAE, x: Tensor, given: argparse.Namespace) -> None:
    """Time training steps of both, round after round."""
    batch, optimizer = Batch(x), model.build_optimizer()

    def ours() -> None:
        optimizer.zero_grad()
        model.weigh(model.loss(batch, model(batch), model.coefficients), model.coefficients).backward()
        optimizer.step()

    bare, times = bare_step(x, given.k), []
    for _ in range(8):
        times.append([timed(lambda step=step: [step() for _ in range(given.steps)], x.device) for step in (ours, bare)])
    one, other = (1000 * median(column) / given.steps for column in zip(*times[1:], strict=True))
    print(f"step, k = {given.k}, batch {len(x)}: IWAE {one:.2f} ms, bare {other:.2f} ms, {one / other:.2f}x (bar 1.3x)")


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


def resident(device: torch.device) -> float:
    """Peak memory in MiB: of the allocator on a GPU, of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    main()
