"""Which classes a configuration may name: ours, torch's and Lightning's, and what the user named. Imports no torch."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from lit_ae import documents
from lit_ae.errors import ConfigError, LitAEError, RunError

PLUGINS = "lit_ae.plugins"  # entry points: packages whose classes get short names
FLAG = "--trust-import"
SUFFIXES = (".yaml", ".yml", ".json")
PLACES = ("ckpt_path", "runs", "name")  # keys whose values are parts of paths
TORCH = ("distributed.fsdp", "distributed.algorithms.ddp_comm_hooks", "distributions", "nn", "optim", "profiler")
LIGHTNING = ("accelerators", "callbacks", "loggers", "plugins", "profilers", "strategies")
ADMITTED = (
    "lit_ae",
    "datamodules",
    *(f"torch.{name}" for name in TORCH),
    *(f"lightning.pytorch.{name}" for name in LIGHTNING),
    "lightning.pytorch.cli.ReduceLROnPlateau",
    *("lightning.Callback", "lightning.pytorch.Callback"),  # the base classes, as the parser calls them
    *("lightning.LightningDataModule", "lightning.pytorch.LightningDataModule"),
    "lightning.pytorch.core.datamodule.LightningDataModule",
    "lightning.fabric.accelerators",
    "lightning.fabric.plugins",
    "torchmetrics",
)
# the first run commands, the others fetch models that somebody else named
REFUSED = (
    *("lit_ae.cli", "lit_ae.jobs", "lit_ae.launch"),
    *(f"torchmetrics.{name}" for name in ("functional", "multimodal", "text", "utilities")),
)
NEVER = frozenset({*sys.stdlib_module_names, "jsonargparse"})  # of these a foreign file may name nothing
SHARED = NEVER | {
    "lit_ae",
    "datamodules",
    "torch",
    "lightning",
    "lightning_fabric",
    "pytorch_lightning",
    "torchmetrics",
}
trusted: ContextVar[tuple[str, ...]] = ContextVar("trusted", default=())  # what this call of the command line admits


def admit(class_path: str, whence: Path | str, trust: Sequence[str] = ()) -> None:
    """Let a class be named by a file that somebody else may have written.

    Args:
        class_path: What the file names; a short name is resolved among the classes that are imported already.
        whence: The file.
        trust: Packages and classes that the user admits beside those of --trust-import.

    Raises:
        RunError: The class is not on the list.
    """
    if "." not in class_path or listed(class_path, [*ADMITTED, *trusted.get(), *trust]):
        return
    if not listed(class_path, plugins()):
        raise refusal(class_path, f"{whence} names")


def refusal(class_path: str, whence: str, kind: type[LitAEError] = RunError) -> LitAEError:
    """One sentence about a class that is not on the list, with the flag that would admit it."""
    shown, package = class_path[:200], class_path.split(".")[0]
    if not dotted(class_path) or package in NEVER:
        return kind(f"{whence} {shown!r}, of which no model and no data are made: do not use that file.")
    return kind(
        f"{whence} {shown}, which is not on the list of classes: where you trust it, add {FLAG} {wide(class_path)}."
    )


def refused(message: str, whence: str, kind: type[LitAEError] = RunError) -> LitAEError | None:
    """What the parser said, where it refused to import a class; None where it said anything else."""
    found = re.search(r"Importing '([^']+)' is not allowed", message)
    return refusal(found[1], whence, kind) if found else None


def listed(path: str, allowed: Iterable[str]) -> bool:
    """Whether a list admits a path: the longest entry that holds it decides."""
    parts, allowed = path.split("."), set(allowed)
    for count in range(len(parts), 0, -1):
        entry = ".".join(parts[:count])
        if entry in allowed:
            return True
        if entry in REFUSED:
            return False
    return False


def wide(path: str) -> str:
    """What a named class admits: its whole package, but of the standard library and of torch only itself."""
    package = path.split(".")[0]
    return path if package in SHARED else package


def points() -> Iterable[EntryPoint]:
    """Entry points of packages that declare classes with short names."""
    return entry_points(group=PLUGINS)


def plugins() -> list[str]:
    """Packages that declare classes with short names."""
    return [point.value.split(":")[0].split(".")[0] for point in points()]


@contextmanager
def asked(argv: Sequence[str]) -> Iterator[list[str]]:
    """Take --trust-import out of a command line; it holds for this call alone.

    Raises:
        ConfigError: It has no value, or one that is no package.
    """
    rest, packages, items = [], [], iter(argv)
    for item in items:
        flag, equals, value = item.partition("=")
        if flag == FLAG:
            packages.append(value if equals else next(items, ""))
        else:
            rest.append(item)
    token = trusted.set(checked(packages))
    try:
        yield rest
    finally:
        trusted.reset(token)


def flags() -> list[str]:
    """What tells a process that this one starts whom to trust."""
    return [f"{FLAG}={name}" for name in trusted.get()]


def checked(packages: Iterable[str]) -> tuple[str, ...]:
    """Packages that the user trusts.

    Raises:
        ConfigError: It is no name of a package, or one that would admit everything.
    """
    packages = tuple(packages)
    for name in packages:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ConfigError(f"{FLAG} is {name[:100]!r}: give the name of a package, such as my_pkg.")
        if name in SHARED or name.split(".")[0] == "jsonargparse":
            raise ConfigError(f"{FLAG} is {name}, which could run anything: name the class that you mean, in full.")
    return packages


def strings(value: Any) -> Iterator[str]:
    """Every string of a document that is no key."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings(item)


def names(value: Any) -> Iterator[str]:
    """Every string of a document that may be the path of a class."""
    return (text for text in strings(value) if dotted(text) and not text.endswith(SUFFIXES))


def dotted(text: str) -> bool:
    """Whether a text could be the path of a class."""
    return "." in text and all(part.isidentifier() for part in text.split("."))


def class_paths(value: Any) -> Iterator[str]:
    """Every class that a document names as one."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "class_path" and isinstance(item, str):
                yield item
            else:
                yield from class_paths(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from class_paths(item)


def widened(*values: Any) -> tuple[str, ...]:
    """What the user admits by naming it; a file of that name is none."""
    return tuple(sorted({wide(name) for name in names(values) if not os.path.exists(name)}))


def typed(argv: Sequence[str], configs: Iterable[Path] = ()) -> tuple[str, ...]:
    """What a user admits by a command line and by configs of their own, those that they name in turn included.

    The name of a file or a folder admits nothing: `evil.ckpt` is no class, though it could be one.

    Raises:
        ConfigError: A value or a file is beyond the limits, or no YAML.
    """
    found: list[Any] = []
    before = ""
    for item in argv:
        flag, equals, value = item.partition("=")
        text = value if equals and flag.startswith("-") else item
        place = (flag if equals else before) in {f"--{key}" for key in PLACES}
        if text and not (text.startswith("--") and not equals):
            held = documents.value(text, flag if equals else "The argument")
            found += [] if place else [held]
        before = item
    seen = {path.resolve(): None for path in configs}
    found += [placeless(documents.read(path)) for path in configs]
    for value in found:  # grows as it is read
        for text in strings(value):
            if text.endswith(SUFFIXES) and len(text) < 500 and "\0" not in text and os.path.isfile(text):
                path = Path(text).resolve()
                if path not in seen:
                    seen[path] = None
                    found.append(placeless(documents.read(path)))
    return widened(found)


def placeless(document: Any) -> Any:
    """A config without the keys that name files and folders."""
    return {k: v for k, v in document.items() if k not in PLACES} if isinstance(document, dict) else document


def screen(document: Any, whence: Path | str, trust: Sequence[str] = ()) -> None:
    """Let a document that somebody else may have written name its classes, before anything is imported.

    Raises:
        RunError: A class is not on the list.
    """
    for path in class_paths(document):
        admit(path, whence, trust)


@contextmanager
def importing(trust: Iterable[str] = ()) -> Iterator[None]:
    """Let the parser import what the list admits, and no more; afterwards its settings are as they were.

    Args:
        trust: Packages and classes that are admitted beside those of --trust-import.
    """
    from jsonargparse import _loaders_dumpers, set_parsing_settings
    from jsonargparse._common import parsing_settings  # the public function only adds to the list

    loaders = _loaders_dumpers.loaders
    before, load, leaf = dict(parsing_settings), loaders["yaml"], _loaders_dumpers.yaml_load
    allowed = {name for name in (*ADMITTED, *plugins(), *trusted.get(), *trust) if name.split(".")[0] != "jsonargparse"}
    try:
        set_parsing_settings(
            import_path_denylist=["*", *REFUSED],
            import_path_allowlist=sorted(allowed),
            config_read_mode_urls_enabled=False,
            config_read_mode_fsspec_enabled=False,  # which Lightning switches on: a config may come from this disk only
        )
        loaders["yaml"] = documents.guarded(load)
        _loaders_dumpers.yaml_load = documents.guarded(leaf)  # for text where a number is wanted
        yield
    finally:
        loaders["yaml"], _loaders_dumpers.yaml_load = load, leaf
        parsing_settings.clear()
        parsing_settings.update(before)
