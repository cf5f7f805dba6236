"""A share of the torture: equal seeds, and one process against two."""

from __future__ import annotations

import pytest

from torture_for_tests import held
from variants import VARIANTS

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
NUMBERS = {name: 3 * number for number, name in enumerate(VARIANTS)}


@pytest.mark.parametrize("name", ["VAE", "AdversarialAE", "VQVAE"])
def test_the_same_seed_twice(name: str) -> None:
    held("seeds", "same seed twice", first=NUMBERS[name] + 1)


@pytest.mark.parametrize("name", ["AE", "SparseAE", "VQVAE-LFQ", "AutoencoderKL", "VAE"])
def test_one_process_against_two(name: str) -> None:
    held("seeds", "one process against two", first=NUMBERS[name] + 2)
