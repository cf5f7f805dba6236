"""Who may import whom, and what every module keeps to."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted([*(ROOT / "lit_ae").rglob("*.py"), *(ROOT / "datamodules").rglob("*.py")])
LAYERS = [  # lowest first; a module imports from its own layer and from those below
    {"errors", "batch", "shipped", "catalog", "documents", "trust", "stamps"}
    | {"allowed", "archive", "checked", "dryrun", "sealed"},
    {"bounded", "finite", "functional", "free_energy", "importance", "nn", "optim", "profiling"},
    {"posteriors", "quantized", "likelihoods", "priors"},
    {"models"},
    {"plots"},
    {"event_files", "loggers", "metrics", "callbacks", "samplers"},
    {"runs", "storage", "trackers", "recording", "diagnose", "arguments", "lightning_cli", "launch", "settings"}
    | {"carried", "keeping", "loops", "randomness", "requeue", "restoring", "stopping", "watching"}
    | {"completion", "explore", "jobs", "loading", "cli", "__main__", "__init__"},  # __init__ imports `load` lazily
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> set[str]:
    """Dotted names that a module imports, at the top or later."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            members = {f"lit_ae.{alias.name}" for alias in node.names} if node.module == "lit_ae" else {node.module}
            names |= members
    return names


def layer(path: Path) -> str:
    part = path.relative_to(ROOT / "lit_ae").parts[0]
    return part.removesuffix(".py")


each = pytest.mark.parametrize("path", MODULES, ids=name_of)


@each
def test_imports_go_one_way(path: Path) -> None:
    ours = {name.split(".")[1] for name in imported(path) if name.startswith("lit_ae.")}
    if path.is_relative_to(ROOT / "datamodules"):
        assert ours <= {"batch"}
        return
    own = LEVEL[layer(path)]
    above = {name for name in ours if name in LEVEL and LEVEL[name] > own}
    assert not above, f"{name_of(path)} imports {above} of a higher layer"
    if own < len(LAYERS) - 1:
        assert not [name for name in imported(path) if name.split(".")[0] == "datamodules"]


@each
def test_house_rules(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        assert not (isinstance(node, ast.Name) and node.id == "hasattr")
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None)


def test_every_module_has_a_layer() -> None:
    assert {layer(path) for path in MODULES if path.is_relative_to(ROOT / "lit_ae")} <= LEVEL.keys()
