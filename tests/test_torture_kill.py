"""A share of the torture: `kill -9`, then the same command again."""

from __future__ import annotations

import pytest

from torture_for_tests import held


@pytest.mark.slow
@pytest.mark.parametrize("form", ["at a random moment", "in a checkpoint write"])
def test_a_killed_run_ends_as_an_unbroken_one(form: str) -> None:
    held("kill", form, 2)
