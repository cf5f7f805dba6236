"""YAML read with limits: no bombs, no keys that are there twice, no fetching. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from lit_ae.errors import ConfigError

LARGEST = 1_000_000  # characters of a file or a value
DEEPEST = 50  # levels of nesting
MOST = 100_000  # values with every alias written out
LONGEST = 300  # digits of a whole number: text of more takes quadratic time
REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

FAST: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, ten times as fast
# defaults of Lightning's callbacks, such as Timer's interval, may be members of an enumeration
yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, member: dumper.represent_data(member.value))
TIMESTAMP = "tag:yaml.org,2002:timestamp"


class Excess(ConfigError):
    """More than the limits allow, or a key twice."""


class Loader(FAST):
    """Plain values as the parser reads them: dates stay text."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != TIMESTAMP]
    for first, found in FAST.yaml_implicit_resolvers.items()
}


class Frame:
    """A collection that is being read: how many values it holds, and its keys where it has any."""

    def __init__(self, mapping: bool, anchor: str | None, line: int) -> None:
        self.mapping, self.anchor, self.line = mapping, anchor, line
        self.size, self.children = 1, 0
        self.keys: set[Hashable] = set()

    def add(self, size: int, scalar: str | None, line: int, where: str) -> None:
        """Count one more value, a key or an item."""
        if self.mapping and self.children % 2 == 0 and scalar is not None and scalar != "<<":
            if scalar in self.keys:
                raise Excess(f"{where} line {line + 1}: the key {scalar[:100]!r} is there twice: keep one of them.")
            self.keys.add(scalar)
        self.children += 1
        self.size += size


def parse(text: str, source: Path | str) -> Any:
    """A YAML or JSON text as plain values.

    Args:
        text: It.
        source: What it is called in messages: a file, or a flag.

    Raises:
        ConfigError: It is not YAML, too large or too deep, or an alias would make it so, or a key is there twice.
    """
    try:
        inspect(text, f"{source}:")
        return yaml.load(text, Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = " ".join(str(error.problem or error.context).split())[:200]
        raise ConfigError(f"{source} is not valid YAML{where}: {problem}.") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{source} is not a text file with YAML in it: name a config such as vae.yaml.") from error
    except (
        ValueError,
        TypeError,
        ArithmeticError,
        LookupError,
        AttributeError,
    ) as error:  # a tag on what is not its kind
        if isinstance(error, ConfigError):
            raise
        said = " ".join(str(error).split())[:200]
        raise ConfigError(f"{source} is not valid YAML: {said}.") from error


def value(text: str, source: Path | str) -> Any:
    """A value of the command line as the parser reads it: what is not YAML is text.

    Raises:
        ConfigError: It is beyond the limits.
    """
    try:
        return parse(text, source)
    except Excess:
        raise
    except ConfigError:
        return text


def guarded(load: Callable[[str], Any]) -> Callable[[str], Any]:
    """A loader of the parser's that refuses what is beyond the limits, and fails on bad YAML in one way."""

    def loader(text: str) -> Any:
        if len(text) > LONGEST or any(sign in text for sign in "&[{\n"):
            inspect(text, "A value of the configuration:")
        try:
            return load(text)
        except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:  # see parse
            raise yaml.YAMLError(str(error)[:LONGEST]) from error

    return loader


def inspect(text: str, where: str) -> None:
    """Count what a text would become, without building it.

    Raises:
        ConfigError: Too much, too deep, or a key twice.
    """
    if len(text) > LARGEST:
        raise Excess(f"{where} {len(text):,} characters are too many for a config: give at most {LARGEST:,}.")
    stack: list[Frame] = []
    sizes: dict[str, int] = {}
    for event in yaml.parse(text, Loader):
        line = event.start_mark.line
        if isinstance(event, yaml.CollectionStartEvent):
            stack.append(Frame(isinstance(event, yaml.MappingStartEvent), event.anchor, line))
            if len(stack) > DEEPEST:
                raise Excess(f"{where} line {line + 1} is nested deeper than {DEEPEST} levels: make it flatter.")
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            frame = stack.pop()
            size, anchor, scalar = frame.size, frame.anchor, None
        elif isinstance(event, yaml.ScalarEvent):
            size, anchor, scalar = 1, event.anchor, event.value
            if len(scalar) > LONGEST and scalar.replace("_", "").lstrip("+-").isdigit() and event.implicit[0]:
                raise Excess(f"{where} line {line + 1} holds a number of {len(scalar)} digits: give a smaller one.")
        elif isinstance(event, yaml.AliasEvent):
            if any(frame.anchor == event.anchor for frame in stack):
                raise Excess(f"{where} line {line + 1}: the alias *{event.anchor[:50]} holds itself: write it out.")
            size, anchor, scalar = sizes.get(event.anchor, 1), None, None
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        if stack:
            stack[-1].add(size, scalar, line, where)
        if size > MOST or (stack and stack[-1].size > MOST):
            raise Excess(f"{where} line {line + 1} makes more than {MOST:,} values: write fewer, without aliases.")


def read(path: Path) -> Any:
    """A config file as plain values.

    Raises:
        ConfigError: It is too large, or not YAML within the limits.
    """
    if path.stat().st_size > 4 * LARGEST:
        raise ConfigError(f"{path} has {path.stat().st_size:,} bytes, too many for a config: name another file.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file with YAML in it: name a config such as vae.yaml.") from error
    return parse(text, path)


def local(value: str, flag: str) -> str:
    """A path on this disk.

    Raises:
        ConfigError: It is a URL.
    """
    if REMOTE.match(value):
        raise ConfigError(f"{flag} is {value[:200]!r}, and nothing is fetched: download it, and name the file.")
    return value
