"""A share of the torture: trackers out of reach."""

from __future__ import annotations

import pytest

from torture_for_tests import held

pytestmark = pytest.mark.slow


def test_wandb_that_never_answers() -> None:
    held("tracker", "W&B", first=1)


@pytest.mark.parametrize("number", [0, 3])
def test_another_tracker_that_refuses_or_dies(number: int) -> None:
    held("tracker", "another tracker", first=number)
