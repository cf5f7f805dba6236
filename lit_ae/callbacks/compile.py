"""Compiled networks."""

from __future__ import annotations

import warnings
from typing import Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from lit_ae.nn import Decoder, Encoder

Mode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]


class Compile(Callback):
    """Compiles encoders and decoders for training, in place: checkpoints stay as they are.

    Distributions are never compiled. Where this machine cannot compile, one warning says why and training goes on.

    Args:
        mode: The way of `torch.compile`; reduce-overhead replays CUDA graphs, and the batch size must then not change.
        dynamic: Whether shapes may change without compiling again; None finds out at the first change.
    """

    def __init__(self, mode: Mode = "default", dynamic: bool | None = None) -> None:
        self.mode, self.dynamic = mode, dynamic

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Mark the networks; each is compiled at its first batch."""
        if stage != "fit":
            return
        if reason := obstacle(trainer.strategy.root_device):
            warnings.warn(
                f"Compile: training goes on uncompiled, because this machine cannot compile: {reason}", stacklevel=1
            )
            return
        for net in networks(pl_module):
            net.compile(mode=self.mode, dynamic=self.dynamic)


def networks(module: nn.Module) -> list[nn.Module]:
    """The outermost encoders and decoders in a module."""
    if isinstance(module, (Encoder, Decoder)):
        return [module]
    return [net for child in module.children() for net in networks(child)]


def obstacle(device: torch.device) -> str:
    """Why nothing can be compiled for a device, or nothing: found out with a function of one addition."""
    try:
        torch.compile(torch.nn.Softplus())(torch.zeros(3, device=device))
    except Exception as error:  # no compiler, no headers, no Triton, no room for its cache: each has a class of its own
        return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return ""
