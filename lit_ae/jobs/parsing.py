"""Arguments of the commands that open finished runs. Imports no torch."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import NoReturn

from lit_ae.errors import ConfigError


class Parser(argparse.ArgumentParser):
    """Says mistakes in one sentence, as all commands do."""

    def error(self, message: str) -> NoReturn:
        """Refuse.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"{self.prog}: {message}; see {self.prog} --help.")


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
        return value

    number.__name__ = kind.__name__  # which argparse names where the text is no number at all
    return number
