"""Does to lit_ae what shared machines do to it, as often as docs/reliability.md says; results are kept as CSV.

python benchmarks/reliability/torture.py                    every row that has not reached its count
python benchmarks/reliability/torture.py kill damage        these rows
python benchmarks/reliability/torture.py kill --minutes 20  goes on where the last sitting stopped
python benchmarks/reliability/torture.py kill --again       after a mend, the sittings that did not hold
python benchmarks/reliability/torture.py kill --form "in a write" --number 17   that trial again, nothing kept
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from reliability.row import RESULTS, Row, Sitting, append, attempt, replace, sitting, sittings  # noqa: E402 (the path above)

CHUNK = 50  # trials per line of the results


def rows() -> dict[str, Row]:
    """All rows, in the order of their names."""
    names = sorted(path.stem for path in (HERE / "rows").glob("[!_]*.py"))
    return {name: import_module(f"reliability.rows.{name}").ROW for name in names}


def share(row: Row, form: str, first: int, trials: int, keep: Path | None = None) -> Sitting:
    """Run some trials of a form, `row.workers` at a time; folders of those that failed stay under `keep`."""
    started = time.monotonic()
    scratch = Path(tempfile.mkdtemp(prefix=f"lit_ae-{row.name}-"))
    numbers = range(first, first + trials)

    def one(number: int) -> str | None:
        folder = scratch / str(number)
        seen = attempt(row, form, number, folder)
        if seen is not None and keep is not None:
            place = keep / f"{row.name}-{form.replace(' ', '_').replace('/', '_')}-{number}"
            shutil.rmtree(place, ignore_errors=True)  # of an earlier sitting
            shutil.move(folder, place)
        shutil.rmtree(folder, ignore_errors=True)
        return seen

    try:
        with ThreadPoolExecutor(row.workers) as pool:
            seen = list(pool.map(one, numbers))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return sitting(form, first, seen, time.monotonic() - started)


def done(row: Row) -> dict[str, int]:
    """The number of the next trial of every form."""
    known = sittings(row)
    return {form: max((s.first + s.trials for s in known if s.form == form), default=0) for form in row.forms}


def torture(row: Row, deadline: float, keep: Path) -> bool:
    """Run a row up to its counts, or to the deadline; whether every promise held."""
    good = True
    for form, count in row.forms.items():
        first = done(row)[form]
        while first < count and time.monotonic() < deadline:
            chunk = share(row, form, first, min(CHUNK, count - first), keep)
            append(row, chunk)
            good &= not chunk.failed
            first += chunk.trials
            print(f"{row.name}: {form}: {first} of {count}, {chunk.failed or 'all held'}", flush=True)
    return good


def again(row: Row, keep: Path) -> bool:
    """Run the sittings anew in which something failed, each with all of its trials; whether every promise held."""
    good = True
    for broken in [each for each in sittings(row) if each.failed and each.form in row.forms]:
        chunk = share(row, broken.form, broken.first, broken.trials, keep)
        replace(row, broken, chunk)
        good &= not chunk.failed
        print(f"{row.name}: {broken.form}: from {broken.first}, {chunk.failed or 'all held'}", flush=True)
    return good


def main() -> int:
    """Run what the arguments name."""
    known = rows()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"by default all: {', '.join(known)}")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no more trials after these")
    parser.add_argument("--form", help="one form only")
    parser.add_argument("--number", type=int, help="one trial only, whose result is printed and not kept")
    parser.add_argument("--again", action="store_true", help="run the sittings anew that did not hold")
    parser.add_argument("--keep", type=Path, default=Path("runs/torture"), help="where failed trials' folders go")
    asked = parser.parse_args()
    if unknown := set(asked.rows) - set(known):
        parser.error(f"no row {sorted(unknown)[0]!r}: there are {', '.join(known)}")
    asked.keep.mkdir(parents=True, exist_ok=True)
    deadline, good = time.monotonic() + 60 * asked.minutes, True
    for name in asked.rows or known:
        row = known[name]
        if asked.number is not None:
            result = share(row, asked.form or next(iter(row.forms)), asked.number, 1, asked.keep)
            print(result.failed or "held")
            good &= not result.failed
            continue
        if asked.form:
            row = Row(**{**vars(row), "forms": {asked.form: row.forms[asked.form]}})
        good &= again(row, asked.keep) if asked.again else torture(row, deadline, asked.keep)
    print(f"results  {RESULTS}")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
