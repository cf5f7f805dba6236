"""Write the tables of docs/reliability.md from benchmarks/results/reliability: `make reliability`."""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent / "benchmarks"))  # before this folder, whose script has the name of the package

from reliability.row import RESULTS, Row, sittings  # noqa: E402 (the path above)
from reliability.torture import rows  # noqa: E402

PAGE = DOCS / "reliability.md"
TABLE = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def line(row: Row, results: Path = RESULTS) -> list[str]:
    """A row of the table: what was run is summed over its sittings, of the forms that it still has."""
    known = [sitting for sitting in sittings(row, results) if sitting.form in row.forms]
    run, held = sum(sitting.trials for sitting in known), sum(sitting.held for sitting in known)
    said = [text[:1].upper() + text[1:] for text in (row.happens, row.follows)]
    return [*said, f"{sum(row.forms.values()):,}", f"{run:,}", f"{held:,}", f"`{row.name}`"]


def promises(results: Path = RESULTS) -> str:
    """Every row of the torture."""
    heads = ["What happens", "What follows", "Asked", "Run", "Held", "`ROW=`"]
    return markdown(
        [heads, ["---", "---", "--:", "--:", "--:", "---"], *(line(row, results) for row in rows().values())]
    )


def machines(results: Path = RESULTS) -> str:
    """Where and when the trials ran."""
    found: dict[tuple[str, ...], int] = {}
    for row in rows().values():
        for s in sittings(row, results):
            where = (s.machine, s.torch, s.lightning, s.date)
            found[where] = found.get(where, 0) + s.trials
    heads = [["Machine", "torch", "lightning", "Date", "Trials"], ["---", "---", "---", "---", "--:"]]
    return markdown(
        [*heads, *([*where, f"{count:,}"] for where, count in sorted(found.items(), key=lambda x: x[0][-1]))]
    )


def saving(results: Path = RESULTS) -> str:
    """What saving costs."""
    with (results / "saving.csv").open(encoding="utf-8", newline="") as lines:
        measured = list(csv.DictReader(lines))
    return markdown([list(measured[0]), ["---"] * len(measured[0]), *(list(each.values()) for each in measured)])


TABLES = {"promises": promises, "machines": machines, "saving": saving}


def markdown(lines: list[list[str]]) -> str:
    """Cells as a table."""
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def written(text: str) -> str:
    """The page with its tables as they should be."""
    return TABLE.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", text)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
