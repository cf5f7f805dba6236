"""One short file per variant; `from lit_ae.models import VAE` finds it by name, so nothing is registered here."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from lit_ae import catalog


def __getattr__(name: str) -> Any:
    """Import the variant of that name."""
    for entry in catalog.variants():
        if entry.name == name:
            return getattr(import_module(f"{__name__}.{entry.path.stem}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
