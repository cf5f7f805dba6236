"""A share of the torture: nan and infinity."""

from __future__ import annotations

import pytest

from torture_for_tests import held

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("form", ["AE-conv, fp32", "VQVAE, bf16", "VQGAN, fp32", "TargetProp, bf16", "VAE, fp32"])
def test_nan_and_infinity(form: str) -> None:
    held("non_finite", form, trials=12)
