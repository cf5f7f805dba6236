"""Whether tensors are finite, in one pass over each and without a copy."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lit_ae.errors import NonFiniteError

BUFFERS = "buffers"  # names in a checkpoint's state_dict that no optimizer moves
WEIGHTS = ("state_dict", "current_model_state", "optimizer_states")  # the second where weights are averaged


def suspects(tensors: Sequence[Tensor]) -> list[int]:
    """Which of some floating tensors are not finite; waits for an accelerator.

    A norm is one pass that keeps nan and infinity, at a tenth of the price of looking for them; where it overflows,
    they are looked for.
    """
    if not tensors:
        return []
    norms = torch._foreach_norm([value.detach() for value in tensors])
    sound = torch.stack([norm.to(norms[0].device, torch.float32) for norm in norms]).isfinite().tolist()
    return [number for number, fine in enumerate(sound) if not fine and not tensors[number].isfinite().all()]


def finite(x: Tensor) -> bool:
    """Whether a tensor is finite: a sum tells in most cases, at a fraction of the price; waits for an accelerator."""
    return not x.is_floating_point() or math.isfinite(x.sum().item()) or bool(x.isfinite().all())


def check(checkpoint: Mapping[str, Any], buffers: Collection[str] | None = None) -> None:
    """Refuse a checkpoint whose parameters or optimizers hold nan or infinity.

    Buffers may hold infinities, as masks do, but no nan.

    Args:
        checkpoint: What is to be saved.
        buffers: Names of the buffers in its `state_dict`; by default as it lists them itself.

    Raises:
        NonFiniteError: Names the first tensor that is not finite.
    """
    masks = set(checkpoint.get(BUFFERS, ()) if buffers is None else buffers)
    found = [pair for part in WEIGHTS for pair in floating(checkpoint.get(part), part)]
    for number in suspects([value for _, value in found]):
        name, value = found[number]
        if (nan := bool(value.isnan().any())) or name.partition(".")[2] not in masks:
            raise NonFiniteError(
                f"No checkpoint is saved: {name} holds {'nan' if nan else 'infinity'}. Go on from the one "
                "before (--ckpt_path last) with a lower learning rate, or clip gradients "
                "(--trainer.gradient_clip_val 1)."
            )


def floating(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """The floating tensors in plain values, with their dotted names."""
    if isinstance(value, Tensor):
        if (value.is_floating_point() or value.is_complex()) and value.numel() and not value.is_meta:
            yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from floating(item, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from floating(item, f"{name}.{number}")
