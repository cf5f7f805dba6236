"""Lets a model take no more memory, while it is built, than the file that its weights come from accounts for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from lit_ae.checked import opened
from lit_ae.errors import RunError

ROOM = 24 << 20  # for what is not in the file: buffers, and what initialisation draws on the side
SMALLEST = 8 << 10  # what a tensor takes with its Python objects: a million empty layers are no small model

UNBUILT = ("num_train", "seed")  # numbers that nothing is built from


class Counted(TorchDispatchMode):
    """Adds up what tensors would take, and stops before one is made that does not fit.

    Args:
        room: Bytes.
        source: File that the model is built for.
    """

    def __init__(self, room: int, source: Path) -> None:
        super().__init__()
        self.room, self.source, self.taken = room, source, 0
        self.stopped: RunError | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        returned = func._schema.returns
        if any(each.alias_info is None for each in returned):
            self.taken += sum(map(size_of, tree_leaves(planned(func, args, kwargs))))
            if self.taken > self.room:
                self.stopped = RunError(
                    f"{self.source} describes a model of more than {self.room >> 20} MiB, which its own size does not "
                    "account for: it is not the file of that model, so name another one."
                )
                raise self.stopped
        return func(*args, **kwargs)


def size_of(value: Any) -> int:
    """Bytes of a tensor that is made; nothing else takes any, nor does one that only waits for a storage."""
    if not isinstance(value, Tensor) or value.shape == (0,):
        return 0
    return max(value.numel() * value.element_size(), SMALLEST)


def planned(func: Any, args: Any, kwargs: Any) -> Any:
    """What an operation returns, as tensors without content."""

    def bare(value: Any) -> Any:
        if isinstance(value, Tensor):
            return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
        return torch.device("meta") if isinstance(value, torch.device) else value

    made = tree_map(bare, kwargs)
    if not any(isinstance(value, Tensor) for value in tree_leaves((args, kwargs))):
        made["device"] = torch.device("meta")
    made.pop("generator", None)
    made.pop("pin_memory", None)
    try:
        return func(*tree_map(bare, args), **made)
    except (NotImplementedError, RuntimeError, TypeError):  # no such operation without content: one that reads values
        return None


@contextmanager
def bounded(weights: Path, arguments: Any, sealed: bool = True) -> Iterator[None]:
    """Build a model for a file of weights, which may come from anywhere, as may the arguments.

    Args:
        weights: The file.
        arguments: What the model is built from: plain values.
        sealed: It is a checkpoint, which is looked at first: one that is cut would be too small for its model.

    Raises:
        RunError: The file is damaged, or the model would take more memory than the file accounts for.
    """
    if sealed:
        with opened(weights):
            pass
    room = weights.stat().st_size + ROOM
    for name, number in numbers(arguments):
        if number > room and name not in UNBUILT:
            raise RunError(f"{weights} cannot hold a model whose {name} is {number}: name another one.")
    counted = Counted(room, weights)
    try:
        with counted:
            yield
    except Exception as error:
        if counted.stopped is not None:  # the parser tries one type after the other, and tells of all
            raise counted.stopped from error
        raise


def numbers(value: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """Every whole number in plain values, with the name that it goes by."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from numbers(item, str(key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from numbers(item, name)
    elif isinstance(value, int):
        yield name, value
