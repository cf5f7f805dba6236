"""A share of the torture: one of two processes dies."""

from __future__ import annotations

import pytest

from torture_for_tests import held


@pytest.mark.slow
@pytest.mark.parametrize("form", ["kill -9 of the first", "exception in one"])
def test_no_process_is_left_and_the_run_goes_on(form: str) -> None:
    held("death", form)
