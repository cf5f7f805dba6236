"""A share of the torture: signals."""

from __future__ import annotations

import pytest

from torture_for_tests import held


@pytest.mark.slow
@pytest.mark.parametrize("form", ["SIGTERM", "SIGUSR1", "Ctrl-C"])
def test_a_signal_saves_and_the_run_goes_on(form: str) -> None:
    held("signals", form)
