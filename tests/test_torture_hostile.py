"""A share of the torture: checkpoints made to harm whoever opens them."""

from __future__ import annotations

import pytest

from torture_for_tests import held

FORMS = ("os.system", "an encoder of a foreign module", "a huge layer", "overlapping records")
FORMS += ("other keys in loops", "a path outside the run", "s3")


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_nothing_of_a_hostile_checkpoint_runs(form: str) -> None:
    held("hostile", form)
