"""Measured runs as rows: those that differ by their seed alone are one, and the best of each column is known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from lit_ae.jobs.contest import Entry
from lit_ae.jobs.testing import SUBJECTS

ORDER = ("elbo", "distortion", "rate", "bits_per_dim", "mse", *(name for names in SUBJECTS.values() for name in names))
LAST = ("parameters", "train_minutes")
NEUTRAL = ("rate", "active_units", "mutual_information", "codes_used", "codes_perplexity", *LAST)  # best is neither end
LESS = ("distortion", "bits_per_dim", "mse", "fid", "kid")  # of all others, more is better


@dataclass(frozen=True)
class Group:
    """Runs that differ by their seed alone.

    Args:
        label: What tells them from others.
        entries: These runs.
    """

    label: str
    entries: Sequence[Entry]

    def values(self, name: str) -> list[float]:
        """A measure of all runs."""
        return [entry.values[name] for entry in self.entries if name in entry.values]

    def summary(self, name: str) -> tuple[float, float] | None:
        """Mean and standard deviation (0 for one run) of a measure, None where a run lacks it."""
        values = self.values(name)
        if len(values) < len(self.entries):
            return None
        return mean(values), stdev(values) if len(values) > 1 else 0.0


def groups(entries: Iterable[Entry]) -> list[Group]:
    """Runs by their configuration without the seed, in the order in which they came."""
    found: dict[str, list[Entry]] = {}
    for each in entries:
        found.setdefault(json.dumps([each.name, each.config], sort_keys=True, default=str), []).append(each)
    return [Group(label, members) for label, members in zip(labels(list(found.values())), found.values(), strict=True)]


def labels(members: Sequence[Sequence[Entry]]) -> list[str]:
    """What tells groups apart: their names, or what their configurations differ in, or else folders."""
    names = [group[0].name for group in members]
    found = []
    for group, name in zip(members, names, strict=True):
        if names.count(name) == 1:
            found.append(name)
            continue
        alike = [flat(other[0].config) for other, own in zip(members, names, strict=True) if own == name]
        mine = flat(group[0].config)
        differing = [
            k for k in mine if len({str(other.get(k)) for other in alike}) > 1 and not isinstance(mine[k], list)
        ]
        told = ", ".join(f"{k.rsplit('.', 1)[-1]} {mine[k]}" for k in differing[:3])
        found.append(f"{name} ({told})" if told else name)
    unique = [
        label if found.count(label) == 1 else str(group[0].run.folder)
        for label, group in zip(found, members, strict=True)
    ]
    return unique


def flat(config: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """A configuration with one key per value."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value
    return found


def columns(found: Sequence[Group]) -> list[str]:
    """Measures that at least two groups have, or the only one, in the order of `lit_ae test`, facts last."""
    least = min(2, len(found))
    every = dict.fromkeys((*ORDER, *LAST))
    return [name for name in every if sum(group.summary(name) is not None for group in found) >= least]


def direction(name: str) -> int:
    """Whether more of a measure is better, 1, or less, -1, or neither, 0."""
    return 0 if name in NEUTRAL else -1 if name in LESS else 1


def best(found: Sequence[Group], name: str) -> list[bool]:
    """Which groups have the best mean of a measure, among two or more that have it and can be compared by it."""
    sign = direction(name)
    means = [group.summary(name) for group in found]
    there = [value[0] for value in means if value is not None]
    scales = {each.scale(name) for group, value in zip(found, means, strict=True) if value for each in group.entries}
    if not sign or len(there) < 2 or len(scales) > 1:
        return [False] * len(found)
    top = max(sign * value for value in there)
    return [value is not None and sign * value[0] == top for value in means]


def table(found: Sequence[Group]) -> list[list[Any]]:
    """All numbers as rows: mean and standard deviation of each measure, by group."""
    names = columns(found)
    head = ["name", "runs", "likelihood"] + [part for name in names for part in (name, f"{name}_std")]
    rows: list[list[Any]] = [head]
    for group in found:
        cells = [group.summary(name) or ("", "") for name in names]
        few = len(group.entries) < 2
        spread = [part for value, deviation in cells for part in (value, "" if few else deviation)]
        rows.append([group.label, len(group.entries), group.entries[0].likelihood, *spread])
    return rows
