"""A share of the torture: every moment, one variant of each kind of state."""

from __future__ import annotations

import pytest

from torture_for_tests import held


@pytest.mark.parametrize("number", [0, 1, 2], ids=["epoch boundary", "mid-epoch", "under accumulation"])
@pytest.mark.parametrize("variant", ["VAE", "AdversarialAE-every", "VQVAE"])
def test_a_stopped_run_ends_as_an_unbroken_one(variant: str, number: int) -> None:
    held("resume", variant, 1, first=number)
