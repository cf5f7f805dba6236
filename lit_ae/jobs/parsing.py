"""Arguments of the commands that open finished runs. Imports no torch."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import Any, NoReturn

from lit_ae.errors import ConfigError


class Parser(argparse.ArgumentParser):
    """Says mistakes in one sentence, as all commands do."""

    def error(self, message: str) -> NoReturn:
        """Refuse.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"{self.prog}: {message}; see {self.prog} --help.")


def common(parser: Parser, *names: str) -> None:
    """Add arguments that several commands share, so that they are called and explained alike.

    Args:
        parser: The command's.
        names: Those that it has, of `run`, `runs`, `data`, `split`, `device`, `batch_size`, `seed`, `overwrite`.
    """
    for name in names:
        flags, settings = SHARED[name]
        parser.add_argument(*flags, **settings)


def vacant(path: str | Path, overwrite: bool) -> Path:
    """The path, where nothing is yet.

    Raises:
        ConfigError: Something is there, and --overwrite was not given.
    """
    if Path(path).exists() and not overwrite:
        raise ConfigError(f"{path} is there already: add --overwrite to write it anew, or name another.")
    return Path(path)


def vacant_folder(path: str | Path, overwrite: bool) -> Path:
    """The path of a folder, where nothing is yet, or a folder that may be written over.

    Raises:
        ConfigError: Something is there, and --overwrite was not given, or it is a file.
    """
    if vacant(path, overwrite).is_file():
        raise ConfigError(f"{path} is a file: name a folder.")
    return Path(path)


def ending(path: str, flag: str, known: Sequence[str]) -> Path:
    """The path of a file, in a format that is known by its suffix.

    Raises:
        ConfigError: There is no such format.
    """
    if Path(path).suffix.lower() not in known:
        raise ConfigError(f"{flag} is {path}: name a file that ends in {', '.join(known)}.")
    return Path(path)


def split(argv: Sequence[str], *prefixes: str) -> tuple[list[str], list[str]]:
    """Arguments without the flags that begin with one of the prefixes, and these flags with their values.

    Raises:
        ConfigError: Such a flag has no value.
    """
    rest, taken, items = [], [], iter(argv)
    for item in items:
        if not item.startswith(prefixes):
            rest.append(item)
        elif "=" in item:
            taken.append(item)
        else:
            value = next(items, "--")
            if value.startswith("--"):
                raise ConfigError(f"{item} needs a value.")
            taken.append(f"{item}={value}")
    return rest, taken


def above(least: float, kind: type[int] | type[float] = float, included: bool = False) -> Callable[[str], float]:
    """A type of argument: a number above the least one, or that one itself where it is included."""

    def number(text: str) -> float:
        value = kind(text)
        if not (value > least or (included and value == least)):
            raise argparse.ArgumentTypeError(
                f"{text} is too small: give {'at least' if included else 'more than'} {least:g}"
            )
        if value == inf:
            raise argparse.ArgumentTypeError(f"{text} is too large: give a finite number")
        return value

    number.__name__ = kind.__name__  # which argparse names where the text is no number at all
    return number


SHARED: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "run": (("run",), {"metavar": "RUN", "help": "folder of a run, whose best checkpoint is taken, or a checkpoint"}),
    "runs": (("runs",), {"metavar": "RUN", "nargs": "+", "help": "folders of runs, or checkpoints"}),
    "data": (("--data",), {"metavar": "PATH", "help": "samples from elsewhere: a folder of pictures, or a file"}),
    "split": (
        ("--split",),
        {"choices": ("train", "val", "test"), "default": "test", "help": "which of the run's own samples (test)"},
    ),
    "device": (("--device",), {"default": "auto", "help": "cpu, cuda, cuda:1 (auto: an accelerator if there is one)"}),
    "batch_size": (
        ("--batch_size",),
        {"type": above(1, int, True), "metavar": "B", "help": "samples at once (those of the run)"},
    ),
    "seed": (("--seed",), {"type": above(0, int, True), "default": 0, "metavar": "S", "help": "of what is drawn (0)"}),
    "overwrite": (("--overwrite",), {"action": "store_true", "help": "write over what is there"}),
}
