"""A progress bar on stderr for commands that take a while."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")


def track(items: Iterable[T], total: int | None, what: str) -> Iterator[T]:
    """Items one by one, with a bar where stderr is a terminal.

    Args:
        items: What is worked on, batches say.
        total: How many there are, None where nobody knows.
        what: What is being done, in one word.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(items, total=total)
