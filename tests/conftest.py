"""What tests share: where the real pictures are, and how the console script is run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with MNIST/raw and cifar10-images, named by LIT_AE_DATA."""
    folder = os.environ.get("LIT_AE_DATA")
    if not folder:
        pytest.skip("LIT_AE_DATA is not set: no real pictures on this machine")
    return Path(folder)
