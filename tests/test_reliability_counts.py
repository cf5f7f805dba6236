"""Every row of the torture is tried as often as was asked, and its results hold each trial once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import torture_for_tests  # noqa: F401 (puts the torture on the path)
from reliability.row import RESULTS, Row, append, sitting, sittings
from reliability.torture import rows
from variants import VARIANTS

EVERY = len(VARIANTS)
# trials of forms whose names begin so, none for all of them
ASKED = {
    "damage": {"truncated": 1000, "bits flipped": 1000, "without a digest": 1},
    "death": {"": 40, "kill -9": 2, "exception in one": 1},
    "disk": {"disk full": 20, "no room": 30, "read-only folder": 5},
    "hostile": {"": 50},
    "kill": {"": 200, "in a checkpoint write": 50},
    "mutations": {"below": 4950, "real processes": 100, "": 10_000},
    "non_finite": {"": 2 * EVERY},
    "pictures": {"": 500},
    "resume": {"": 3 * EVERY},
    "seeds": {"same seed twice": 3 * EVERY, "one process against two": 3 * EVERY},
    "signals": {"SIGTERM": 50, "SIGUSR1": 50, "Ctrl-C": 50},
    "tracker": {"": 20},
}


def gaps(row: Row, results: Path = RESULTS) -> list[str]:
    """Where the results of a row do not hold each trial of its forms once, in order and up to its count."""
    found = []
    for form, count in row.forms.items():
        end = 0
        for each in (each for each in sittings(row, results) if each.form == form):
            if each.first != end:
                found.append(f"{form}: {each.first} follows {end - 1}")
            end = each.first + each.trials
        if end < count:
            found.append(f"{form}: {end} of {count}")
    return found


@pytest.mark.parametrize("name", rows())
def test_a_row_is_to_be_tried_as_often_as_was_asked(name: str) -> None:
    for start, count in ASKED[name].items():
        planned = sum(each for form, each in rows()[name].forms.items() if form.startswith(start))
        assert planned >= count, f"{name}: {planned} of {count} trials {start}"


@pytest.mark.parametrize("name", ["non_finite", "resume"])
def test_a_row_knows_every_variant(name: str) -> None:
    forms = {*rows()[name].forms}
    wanted = {f"{variant}, {kind}" for variant in VARIANTS for kind in ("fp32", "bf16")}
    assert forms == (wanted if name == "non_finite" else {*VARIANTS})


@pytest.mark.parametrize("name", rows())
def test_the_results_hold_each_trial_once(name: str) -> None:
    if not sittings(rows()[name]):
        pytest.skip(f"results/reliability/{name}.csv is not there yet: make torture ROW={name}")
    assert gaps(rows()[name]) == []


def test_a_gap_and_an_overlap_are_seen(tmp_path: Path) -> None:
    row = Row("toy", "it rains", "nobody is wet", {"rain": 4}, lambda form, number, folder: None)
    append(row, sitting("rain", 0, [None, None], 1.0), tmp_path)
    assert gaps(row, tmp_path) == ["rain: 2 of 4"]
    append(row, sitting("rain", 2, [None, None], 1.0), tmp_path)
    assert gaps(row, tmp_path) == []
    append(row, sitting("rain", 3, [None, None], 1.0), tmp_path)
    assert gaps(row, tmp_path) == ["rain: 3 follows 3"]
    other = replace(row, name="other")
    append(other, sitting("rain", 1, [None, None, None], 1.0), tmp_path)
    assert gaps(other, tmp_path) == ["rain: 1 follows -1"]
