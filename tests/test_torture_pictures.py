"""A seeded share of what damaged and odd pictures do to training."""

from __future__ import annotations

import pytest

from torture_for_tests import held

SHARES = {
    "cut": 8, "empty": 4, "text": 4, "wrong mode": 10, "16-bit": 8, "CMYK": 4, "decompression bomb": 8,
    "bad checksum": 8, "floating point": 4, "no file": 8, "breaks after it was checked": 4,
}  # fmt: skip


@pytest.mark.parametrize("form", SHARES)
def test_a_picture_that_is_not_like_the_others(form: str) -> None:
    held("pictures", form, SHARES[form], first=2)  # the first two start the console script, too


@pytest.mark.slow
def test_the_console_script_names_it_and_stops_or_goes_on() -> None:
    held("pictures", "cut", 2, first=0)
