"""Samples held out by chance: for validation, and for the test where a source has no test data."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from lit_ae.batch import ConfigError, key

__all__ = ["TEST_SEED", "hold_out", "without_test"]

TEST_SEED = 0x74657374  # fixed: another `seed` must not move training samples into the test


def hold_out(n: int, fraction: float, seed: int, flag: str) -> tuple[Tensor, Tensor]:
    """Positions kept and held out among n samples, both in order; at least one is held out.

    Args:
        n: Number of samples.
        fraction: Part that is held out, in (0, 1).
        seed: The positions are a function of it, n and the fraction.
        flag: Name of the argument that gave the fraction, for messages.

    Raises:
        ConfigError: Nothing would be kept.
    """
    held_out = max(1, int(n * fraction + 1e-9))
    if held_out >= n:
        raise ConfigError(f"--data.{flag} {fraction} of {n} samples leaves none to train on: lower it.")
    order = torch.randperm(n, generator=Generator().manual_seed(key(seed)))
    return order[held_out:].sort().values, order[:held_out].sort().values


def without_test(n: int, fraction: float) -> tuple[Tensor, Tensor]:
    """Positions of the training data and of the test data, the same in every run."""
    return hold_out(n, fraction, TEST_SEED, "test_fraction")
