"""What datamodules hand to models: the one module of `lit_ae` that `datamodules` imports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from lit_ae.errors import ConfigError, DataError

__all__ = ["Batch", "ConfigError", "DataError", "DataSpec", "Shape", "key"]

Shape = tuple[int, ...]


class Batch(NamedTuple):
    """One batch of samples, the same for pictures, tables, sequences and embeddings.

    Args:
        x: What is modelled, (B, *E).
        y: Labels or known factors, (B,) or (B, F): for evaluation and colouring only.
        c: What the model is conditioned on, (B,) class indices or (B, *C).
        mask: True where x is observed, (B, *E): padding and missing cells are False.
        weight: This process's share of the batch. 1 for one process; 0 for a repeat that only keeps
            processes in step; in training n_local · world / n_global, so that averaging gradients
            over processes gives the mean over samples.
    """

    x: Tensor
    y: Tensor | None = None
    c: Tensor | None = None
    mask: Tensor | None = None
    weight: float = 1.0


@dataclass
class DataSpec:
    """What a model must know of its data: plain values only, filled in from the datamodule.

    Args:
        input_shape: Shape of one sample, without the batch: (C, H, W) or (D,).
        num_train: Number of training samples.
        num_classes: Number of classes in `y`, 0 where there are none.
        condition_shape: Shape of one condition; () is a class label, None is no condition.
        columns: One entry per column of a table: 0 a number, 2 a zero or one, k ≥ 3 one of k classes as k elements of
            x, one-hot. None where x is no table.
        value_range: Smallest and largest value of x in the training split, None where unknown.
    """

    input_shape: Shape | None = None
    num_train: int = 0
    num_classes: int = 0
    condition_shape: Shape | None = None
    columns: list[int] | None = None
    value_range: tuple[float, float] | None = None


def key(*parts: int) -> int:
    """Mix integers into one 63-bit seed, equal on every machine (SplitMix64, Steele et al. 2014).

    Randomness is a function of such a key, (seed, epoch, batch, rank) in training, never of what was drawn before:
    a resumed run draws the numbers that it would have drawn.
    """
    state = 0
    for part in parts:
        state = (state + part + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1
