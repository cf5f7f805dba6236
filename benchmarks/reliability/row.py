"""What a row of the torture is: things that happen, what must follow, and how often it is tried."""

from __future__ import annotations

import csv
import os
import platform
import subprocess
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import date
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "reliability"


@dataclass(frozen=True)
class Row:
    """One promise.

    Args:
        name: What `make torture ROW=` takes.
        happens: What happens, as the table in docs/reliability.md says it.
        follows: What must follow.
        forms: Every form in which it happens, and the full count of trials of each.
        trial: Runs trial `number` of a form in an empty folder, everything random drawn from that number; returns None
            where the promise held, or else one line that says what was seen.
        workers: Trials that may run side by side; 1 where processes or memory are watched.
    """

    name: str
    happens: str
    follows: str
    forms: dict[str, int]
    trial: Callable[[str, int, Path], str | None]
    workers: int = 2


@dataclass(frozen=True)
class Sitting:
    """Consecutive trials of one form: a line of results/reliability/<row>.csv.

    Args:
        form: What happened.
        first: Number of the first trial.
        trials: How many were run.
        held: In how many the promise held.
        failed: Numbers of the others, and what was seen first.
        seconds: How long they took together.
    """

    form: str
    first: int
    trials: int
    held: int
    failed: str
    seconds: float
    commit: str
    torch: str
    lightning: str
    machine: str
    date: str


def sitting(form: str, first: int, seen: list[str | None], seconds: float) -> Sitting:
    """Sum trials up."""
    failures = {first + number: what for number, what in enumerate(seen) if what is not None}
    said = " ".join(next(iter(failures.values()), "").split())[:200]
    failed = f"{' '.join(map(str, failures))}: {said}" if failures else ""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True, check=False
    ).stdout.strip()
    machine = f"{os.cpu_count()} x {platform.machine()}, {platform.system()}"
    versions = version("torch"), version("lightning")
    held = len(seen) - len(failures)
    return Sitting(
        form, first, len(seen), held, failed, round(seconds, 1), commit, *versions, machine, date.today().isoformat()
    )


def attempt(row: Row, form: str, number: int, folder: Path) -> str | None:
    """Run one trial; an exception of the trial itself is a failure, not an end."""
    folder.mkdir(parents=True)
    try:
        return row.trial(form, number, folder)
    except Exception as error:  # the torture goes on, and says so
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}: {error}"


def sittings(row: Row, results: Path = RESULTS) -> list[Sitting]:
    """What was run so far, oldest first."""
    path = results / f"{row.name}.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        kinds = {"first": int, "trials": int, "held": int, "seconds": float}
        return [Sitting(**{k: kinds.get(k, str)(v) for k, v in line.items()}) for line in csv.DictReader(file)]


def append(row: Row, done: Sitting, results: Path = RESULTS) -> None:
    """Add a line to the row's results."""
    write(row, [*sittings(row, results), done], results)


def replace(row: Row, old: Sitting, new: Sitting, results: Path = RESULTS) -> None:
    """Put what the same trials gave after a mend in place of what they had given."""
    write(row, [new if each == old else each for each in sittings(row, results)], results)


def write(row: Row, lines: list[Sitting], results: Path) -> None:
    """Write the row's results, whole or not at all."""
    results.mkdir(parents=True, exist_ok=True)
    partial = results / f"{row.name}.partial"
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Sitting)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(line) for line in lines)
    partial.replace(results / f"{row.name}.csv")
