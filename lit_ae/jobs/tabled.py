"""Measured values as rows of one table, and as the entries of metrics.json. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10
from typing import Any


@dataclass(frozen=True)
class Row:
    """One measured value.

    Args:
        key: Its name in metrics.json.
        name: Its name for people.
        value: The value; a share where the unit is %.
        unit: nats, bits, dB, %, or nothing.
        error: Its standard error, where there is one.
        source: The samples that it was computed from, in words: rows of one subject mostly share it. What follows a
            semicolon goes to a line of its own.
        note: What else it was computed from.
        extra: Further entries of metrics.json, by what follows the key.
        kind: What the error is, as metrics.json calls it.
    """

    key: str
    name: str
    value: float
    unit: str = ""
    error: float | None = None
    source: str = ""
    note: str = ""
    extra: tuple[tuple[str, float], ...] = ()
    kind: str = "standard_error"

    def entries(self) -> dict[str, float | None]:
        """What metrics.json holds of it: null where a value is not finite, which JSON does not know."""
        found = {self.key: self.value}
        if self.error is not None:
            found[f"{self.key}_{self.kind}"] = self.error
        found |= {f"{self.key}_{name}": value for name, value in self.extra}
        return {name: value if isfinite(value) else None for name, value in found.items()}

    def number(self) -> tuple[str, str]:
        """Value and error as texts: two digits of the error and the value as far, or four digits of the value alone."""
        if isinstance(self.value, int):
            return f"{self.value:,}", ""
        scale = 100 if self.unit == "%" else 1
        value, error = scale * self.value, scale * (self.error or 0.0)
        if not (isfinite(error) and error > 0):
            return f"{value:,.{digits(value, 4)}f}", ""
        places = digits(error, 2)
        return f"{value:,.{places}f}", f"± {error:,.{places}f}"


def digits(value: float, significant: int) -> int:
    """Places behind the point that show so many digits of a value, six at most."""
    if not isfinite(value) or value == 0:
        return significant - 1
    size = floor(log10(float(f"{abs(value):.{significant - 1}e}")))  # 0.0996 is rounded up to 0.10 first
    return min(max(0, significant - 1 - size), 6)


def table(subjects: Mapping[str, Sequence[Row]]) -> list[str]:
    """All rows, grouped by subject, with the points of the numbers below each other."""
    cells = {title: cells_of(rows) for title, rows in subjects.items() if rows}
    every = [row for rows in cells.values() for row in rows]
    widths = [max((len(row[place]) for row in every), default=0) for place in range(5)]
    lines: list[str] = []
    for title, rows in cells.items():
        source, *more = shared(subjects[title]).split("; ")
        lines += ["", f"{title}: {source}", *(f"  {line}" for line in more)]
        for name, whole, rest, error, unit, note in rows:
            number = f"{whole:>{widths[1]}}{rest:<{widths[2]}}  {error:<{widths[3]}}"
            lines.append(f"  {name:<{widths[0]}}  {number}  {unit:<{widths[4]}}  {note}".rstrip())
    return lines[1:]


def shared(rows: Sequence[Row]) -> str:
    """What most rows of a subject were computed from."""
    return Counter(row.source for row in rows).most_common(1)[0][0]


def cells_of(rows: Sequence[Row]) -> list[tuple[str, str, str, str, str, str]]:
    """Name, number before and from the point on, error, unit and notes of each row."""
    found, usual = [], shared(rows)
    for row in rows:
        value, error = row.number()
        whole, point, rest = value.partition(".")
        notes = (row.source if row.source != usual else "", row.note)
        found.append((row.name, whole, point + rest, error, row.unit, ", ".join(note for note in notes if note)))
    return found


def entries(subjects: Mapping[str, Sequence[Row]], facts: Mapping[str, Any]) -> dict[str, Any]:
    """All that metrics.json holds: facts first."""
    found = dict(facts)
    for rows in subjects.values():
        for row in rows:
            found |= row.entries()
    return found
