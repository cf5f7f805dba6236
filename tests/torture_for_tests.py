"""A small seeded share of the torture, as the tests run it."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

BENCHMARKS = str(Path(__file__).parents[1] / "benchmarks")
if BENCHMARKS not in sys.path:
    sys.path.append(BENCHMARKS)

from reliability.torture import share  # noqa: E402 (the path above)


def held(row: str, form: str, trials: int = 1, first: int = 0) -> None:
    """Run some trials of a form of a row, and fail with what was seen where the promise did not hold."""
    done = share(import_module(f"reliability.rows.{row}").ROW, form, first, trials)
    assert not done.failed, f"{row}, {form}: {done.failed}"
    assert done.held == done.trials == trials
