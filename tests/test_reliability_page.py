"""What docs/reliability.md says is so: its tables are those of the results, every row is tried in the tests."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

import torture_for_tests  # noqa: F401 (puts the torture on the path)
from reliability.row import Row, append, replace, sitting, sittings
from reliability.torture import rows

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
SCRIPT = runpy.run_path(str(ROOT / "docs" / "reliability.py"))


def test_its_tables_are_those_of_the_results() -> None:
    assert SCRIPT["written"](PAGE) == PAGE, "run: make reliability"
    assert set(re.findall(r"<!-- table (\w+) -->", PAGE)) == set(SCRIPT["TABLES"])


@pytest.mark.parametrize("name", rows())
def test_a_share_of_every_row_runs_in_the_tests(name: str) -> None:
    assert f'"{name}"' in (ROOT / "tests" / f"test_torture_{name}.py").read_text(encoding="utf-8")


def test_a_broken_promise_is_counted_and_told(tmp_path: Path) -> None:
    row = Row("toy", "it rains", "nobody is wet", {"rain": 3}, lambda form, number, folder: None)
    append(row, sitting("rain", 0, [None, "wet\nthrough", None], 1.0), tmp_path)
    append(row, sitting("rain", 3, [None], 1.0), tmp_path)
    first, second = sittings(row, tmp_path)
    assert (first.trials, first.held, first.failed) == (3, 2, "1: wet through")
    assert (second.first, second.held, second.failed) == (3, 1, "")
    assert SCRIPT["line"](row, tmp_path)[2:5] == ["3", "4", "3"]
    replace(row, first, sitting("rain", 0, [None, None, None], 1.0), tmp_path)
    assert SCRIPT["line"](row, tmp_path)[2:5] == ["3", "4", "4"]
    assert sittings(row, tmp_path)[1] == second
