"""The benchmark runs, and writes what it promises; how fast anything was is no matter of tests."""

from __future__ import annotations

import csv
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "throughput.py"
MLP, CONV = "VAE 784-512-16", "Conv VAE 32-64"


@pytest.mark.slow
def test_every_contender_is_measured(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--quick", "--out", tmp_path], capture_output=True, text=True, cwd=SCRIPT.parents[1]
    )
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("throughput-*.csv")
    assert path.with_suffix(".png").stat().st_size < 300_000
    with path.open(encoding="utf-8") as file:
        rows = {(row["trained"], row["contender"]): row for row in csv.DictReader(file)}
    assert list(rows) == [
        *((MLP, name) for name in ("bare", "pythae", "lit_ae", "lit_ae fast")),
        *((CONV, name) for name in ("bare", "lit_ae")),
        ("No training", "loader"),
    ]
    if find_spec("pythae") is None:
        assert "not installed" in rows.pop((MLP, "pythae"))["note"]
    for row in rows.values():
        assert float(row["images_per_s"]) > 0
        assert int(row["rounds"]) == 1
    compared = {key for key, row in rows.items() if row["time_over_bare"]}
    assert compared == {key for key in rows if key[1] in ("pythae", "lit_ae", "lit_ae fast")}


def test_missing_data_end_in_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--data", tmp_path], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"throughput: {tmp_path} holds no MNIST/raw")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_page_is_timed(trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="the page needs it: pip install lit_ae[explore]")
    command = [sys.executable, SCRIPT.with_name("explore.py"), trained, "--requests", "5", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("explore-*.csv")
    with path.open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["variant"], row["requests"], row["shape"]) == ("VAE", "5", "1x8x8")
    assert 0 < float(row["median_ms"]) <= float(row["p95_ms"])
    assert row["median_ms"] in done.stdout
