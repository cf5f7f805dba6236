"""The state of all random generators, in plain values and tensors, as a checkpoint holds it."""

from __future__ import annotations

import random
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

WORDS = (625, 624)  # of the state of Python's generator and of NumPy's


def generators(trainer: pl.Trainer) -> list[dict[str, Any]]:
    """The states of every process, in their order; all of them must ask."""
    version, internal, gauss = random.getstate()
    _, keys, position, has, cached = np.random.get_state(legacy=True)
    device = trainer.strategy.root_device
    mine: dict[str, Any] = {
        "python": (version, torch.tensor(internal), gauss),
        "numpy": (torch.from_numpy(keys.astype(np.int64)), int(position), int(has), float(cached)),  # type: ignore[union-attr]
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }
    if trainer.world_size == 1:
        return [mine]
    all_of_them: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(all_of_them, mine)
    return all_of_them


def restore(states: list[dict[str, Any]], rank: int) -> None:
    """Give this process the states that it had; nothing where there were fewer processes.

    Raises:
        ValueError: They are of other generators: a file may hold a tensor that is far larger than itself.
    """
    if rank >= len(states):
        return
    state = states[rank]
    if not isinstance(state["python"], tuple) or not isinstance(state["numpy"], tuple):  # a tensor's rows are objects
        raise ValueError("the state of a random generator is no tuple")
    version, internal, gauss = state["python"]
    keys, position, has, cached = state["numpy"]
    if (internal.numel(), keys.numel()) != WORDS:
        raise ValueError("the state of a random generator has another length")
    random.setstate((version, tuple(internal.tolist()), gauss))
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
