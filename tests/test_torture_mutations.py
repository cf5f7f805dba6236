"""A share of the mutated configs and command lines, and that the judge of them is none too mild."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from unittest.mock import patch

import pytest

from torture_for_tests import held

mutations, drawn = import_module("reliability.rows.mutations"), import_module("reliability.mutants").drawn
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("form", mutations.KINDS)
def test_a_mutant_gets_one_sentence(form: str) -> None:
    held("mutations", form, trials=8, first=100_000)


def test_a_mutant_in_a_real_process() -> None:
    held("mutations", "real processes", first=1)


def test_counts_are_those_of_the_promise() -> None:
    below = sum(mutations.FORMS[form] for form in ("below model", "below data", "below trainer"))
    inside = sum(mutations.FORMS[form] for form in mutations.KINDS)
    assert (inside, mutations.FORMS["real processes"]) == (9900, 100)
    assert below >= inside / 2


def test_a_number_draws_the_same_mutant_twice() -> None:
    for form in mutations.KINDS:
        assert drawn(form, 7) == drawn(form, 7)
    assert drawn("below model", 7) != drawn("below model", 8)


@pytest.mark.parametrize(
    ("status", "text", "seconds", "seen"),
    [
        (1, "lit_ae: this is a bug of ours", 0.1, "status 1"),
        (4, "lit_ae: no run", 0.1, "status 4"),
        (None, "", 0.1, "status None"),
        (2, "Traceback (most recent call last)", 0.1, "a traceback"),
        (2, "x" * 5000, 0.1, "5000 characters"),
        (2, "", 0.1, "without a word"),
        (0, "", 1.5, "1.50 s of the processor"),
    ],
)
def test_the_judge_sees(status: int | None, text: str, seconds: float, seen: str) -> None:
    assert seen in str(mutations.judged(status, text, seconds))


def test_the_judge_sees_who_waits() -> None:
    assert mutations.judged(0, "", 0.1, 10.0) is None
    assert "30 s" in str(mutations.judged(0, "", 0.1, 30.0))


def test_what_is_missing_is_seen_in_process() -> None:
    status, _, said, *_ = mutations.parsed(["fit", "--data=Arrays"])  # the parser prints a config without its path
    assert (status, said) == (2, "lit_ae: data: path must be given, it has no default.\n")


def test_a_broken_walker_fails_the_trial(tmp_path: Path) -> None:
    with patch("lit_ae.lightning_cli.diagnose", side_effect=KeyError("init_args")):
        seen = [mutations.trial("below model", number, tmp_path) for number in range(8)]
    assert any("status 1" in str(what) for what in seen)
