"""A share of the torture: checkpoints that are cut, or whose bits flip."""

from __future__ import annotations

import pytest

from torture_for_tests import held

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("form", ["truncated", "bits flipped"])
def test_damage_is_detected_and_training_goes_on(form: str) -> None:
    held("damage", form, trials=10)


def test_a_file_without_a_digest_is_named() -> None:
    held("damage", "without a digest", trials=2)
