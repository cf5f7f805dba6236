"""Densities that are fitted after the model, one kind per file; nothing is registered here. Imports no torch."""

from __future__ import annotations

from difflib import get_close_matches

from lit_ae import catalog, shipped
from lit_ae.errors import ConfigError


def kinds() -> dict[str, catalog.Entry]:
    """Every kind of sampler by its name, that of its module: `transformer`, `pixelcnn`."""
    entries = catalog.subclasses(shipped.HERE / "samplers", "Sampler")
    return {entry.path.stem: entry for entry in entries}


def known(kind: str) -> str:
    """The name of a kind that exists.

    Raises:
        ConfigError: There is no such kind.
    """
    if kind not in kinds():
        near = get_close_matches(kind, kinds(), n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(kinds())}."
        raise ConfigError(f"There is no sampler of the kind {kind!r}: {hint}")
    return kind
