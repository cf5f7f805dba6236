"""How long the page of `lit_ae explore` waits for one decoded picture, measured through HTTP at the real command.

python benchmarks/explore.py runs/vae_mnist/0 [--requests 500]
"""

from __future__ import annotations

import argparse
import csv
import http.client
import json
import random
import subprocess
import sys
from datetime import date
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from urllib.parse import urlsplit

import torch

from report import machine, slug

RESULTS = Path(__file__).resolve().parent / "results"
BAR = 50.0  # milliseconds at the median


def main() -> None:
    """Measure, print, and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a run")
    parser.add_argument("--requests", type=int, default=500, help="decodes that count, after 20 that warm up")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the CSV")
    given = parser.parse_args()
    command = [sys.executable, "-m", "lit_ae", "explore", given.run, "--port", "0", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line.startswith("page"):
            sys.exit("explore: the page did not start.")
        try:
            described, times = measure(line.split()[1], given.requests)
        finally:
            server.terminate()
    name, threads = machine(torch.device("cpu")), torch.get_num_threads()
    row = {
        "date": date.today().isoformat(),
        "machine": name,
        "threads": threads,
        "variant": described["variant"],
        "latents": described["dim"],
        "shape": "x".join(map(str, described["shape"])),
        "requests": len(times),
        "median_ms": f"{median(times):.2f}",
        "p95_ms": f"{quantiles(times, n=20)[-1]:.2f}",
        "bar_ms": f"{BAR:g}",
        "reached": "yes" if median(times) < BAR else "no",
    }
    path = given.out / f"explore-{slug(name)}-{threads}-cpu-threads.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as sink:
        writer = csv.DictWriter(sink, list(row))
        writer.writeheader()
        writer.writerow(row)
    print(f"decode   {row['median_ms']} ms at the median, {row['p95_ms']} ms at 95%, bar {row['bar_ms']} ms")
    print(f"table    {path}")


def measure(address: str, requests: int) -> tuple[dict, list[float]]:
    """What the page says of the run, and milliseconds of each decode, one after another as the page asks."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    connection.request("GET", "/api/map")
    described = json.loads(connection.getresponse().read())
    draw, times = random.Random(0), []
    for _ in range(20 + requests):
        z = [draw.uniform(-2, 2) for _ in range(described["dim"])]
        before = perf_counter()
        connection.request("POST", "/api/decode", json.dumps({"z": z}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        times.append(1000 * (perf_counter() - before))
        assert answer.status == 200, content
    return described, times[20:]


if __name__ == "__main__":
    main()
