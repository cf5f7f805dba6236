"""Recurrent networks for sequences of any length, and for pictures read row by row."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from lit_ae.batch import Shape
from lit_ae.errors import ConfigError
from lit_ae.nn.base import Decoder, Encoder, MaskedEncoder, check_sizes
from lit_ae.nn.blocks import check_choice

CELLS: dict[str, Callable[..., nn.RNNBase]] = {"gru": nn.GRU, "lstm": nn.LSTM}


def check_sequence(net: nn.Module, shape: Shape) -> None:
    """Refuse samples without steps.

    Raises:
        ConfigError: A sample is a vector.
    """
    if len(shape) < 2:
        name, instead = type(net).__name__, "MLPEncoder" if isinstance(net, Encoder) else "MLPDecoder"
        raise ConfigError(
            f"{name} takes sequences of shape (F, T), or pictures (C, H, W) row by row, but the samples have {shape}: "
            f"use {instead}."
        )


def steps(x: Tensor) -> Tensor:
    """Lay samples out step by step: (B, F, T, ...) as (B, T, features)."""
    return x.transpose(1, 2).flatten(2)


def recurrent(cell: str, features: int, width: int, layers: int, bidirectional: bool = False) -> nn.RNNBase:
    """Stack recurrent layers; what takes a state to the next starts orthogonal, gate by gate (Saxe et al. 2014).

    Long sequences are learned sooner so than from torch's own start, whose states fade.
    """
    net = CELLS[cell](features, width, layers, batch_first=True, bidirectional=bidirectional)
    for name, weight in net.named_parameters():
        if name.startswith("weight_hh"):
            for gate in weight.detach().split(width):
                gate.copy_(nn.init.orthogonal_(torch.empty(width, width, dtype=torch.float32)))  # bf16 has no QR
    return net


def lengths(mask: Tensor) -> Tensor:
    """Number of steps up to the last of which anything is observed, (B,) int64 on the CPU, of a mask (B, F, T, ...).

    A sample without any counts as one step, as an empty sequence has no last state.
    """
    numbers = torch.arange(1, mask.shape[2] + 1, device=mask.device)
    return (steps(mask).any(2) * numbers).amax(1).clamp(min=1).cpu()


class RecurrentEncoder(MaskedEncoder):
    """Recurrent encoder of sequences of differing length: the state after the last observed step is the code.

    A sequence, (F, T), is read along T, a picture, (C, H, W), row by row; no weight depends on their number. A sequence
    ends with the last step of which anything is observed: what comes after is padding and never read. What is missing
    before counts as zero.

    Args:
        input_shape: Shape of one sample, (F, T) or (C, H, W).
        out_features: Number of raw posterior parameters.
        cell: Gated recurrent units (Cho et al. 2014) or long short-term memory (Hochreiter & Schmidhuber 1997).
        width: Number of units of each layer and direction.
        layers: Number of recurrent layers.
        bidirectional: Read each sequence backwards as well, from its own end (Schuster & Paliwal 1997).

    Raises:
        ConfigError: The samples are vectors, a size is not positive, or the cell is unknown.
    """

    def __init__(
        self,
        input_shape: Shape,
        out_features: int,
        cell: Literal["gru", "lstm"] = "gru",
        width: int = 64,
        layers: int = 1,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        check_sequence(self, input_shape)
        check_sizes(self, input_shape=input_shape, out_features=out_features, width=width, layers=layers)
        check_choice(self, "cell", cell, CELLS)
        self.directions = 1 + bidirectional
        features = prod(input_shape) // input_shape[1]
        self.rnn = recurrent(cell, features, width, layers, bidirectional)
        self.head = nn.Linear(self.directions * width, out_features)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map x, (B, *E), to raw parameters, (B, out_features); mask, (B, *E), is True where x is observed.

        Channels that x has beyond the mask's are conditions, laid beside every step, and always observed.
        """
        if mask is None:
            _, state = self.rnn(steps(x))
        else:
            observed = torch.ones_like(x, dtype=torch.bool)
            observed[:, : mask.shape[1]] = mask
            known = steps(x.where(observed, 0.0))
            if torch.compiler.is_exporting():
                return self.head(self.last(known, lengths(mask)))
            _, state = self.rnn(pack_padded_sequence(known, lengths(mask), batch_first=True, enforce_sorted=False))
        hidden = state[0] if isinstance(state, tuple) else state
        return self.head(hidden[-self.directions :].transpose(0, 1).flatten(1))

    def last(self, known: Tensor, count: Tensor) -> Tensor:
        """State after the last of the first `count`, (B,), steps, (B, T, features), without packing: for programs.

        Raises:
            ConfigError: The sequences are read backwards as well, each from an end of its own.
        """
        if self.directions > 1:
            raise ConfigError("A bidirectional encoder of masked sequences is no program: export --format safetensors.")
        out, _ = self.rnn(known)
        return out.gather(1, (count - 1).reshape(-1, 1, 1).expand(-1, 1, out.shape[2]))[:, 0]


class RecurrentDecoder(Decoder):
    """Recurrent decoder to sequences of any length: z sets the first state and is the input of every step.

    This is the unconditioned decoder of Srivastava et al. (2015), which never sees what it has written, with z at every
    step as in Cho et al. (2014): all steps unroll in one call. A step depends on z and on the steps before it,
    so that padding changes nothing. The last layer is the same affine map for every step, from state to raw parameters.

    Args:
        in_features: Number of latent dimensions.
        output_shape: Shape of the raw likelihood parameters of one sample, (F, T) or (C, H, W).
        cell: Gated recurrent units (Cho et al. 2014) or long short-term memory (Hochreiter & Schmidhuber 1997).
        width: Number of units of each layer.
        layers: Number of recurrent layers.

    Raises:
        ConfigError: The samples are vectors, a size is not positive, or the cell is unknown.
    """

    def __init__(
        self,
        in_features: int,
        output_shape: Shape,
        cell: Literal["gru", "lstm"] = "gru",
        width: int = 64,
        layers: int = 1,
    ) -> None:
        super().__init__()
        check_sequence(self, output_shape)
        check_sizes(self, in_features=in_features, output_shape=output_shape, width=width, layers=layers)
        check_choice(self, "cell", cell, CELLS)
        self.output_shape, self.layers = tuple(output_shape), layers
        self.states = 2 if cell == "lstm" else 1
        self.start = nn.Linear(in_features, self.states * layers * width)
        self.rnn = recurrent(cell, in_features, width, layers)
        self.head = nn.Linear(width, prod(output_shape) // output_shape[1])

    def forward(self, z: Tensor) -> Tensor:
        """Map z, (B, in_features), to raw parameters, (B, *output_shape)."""
        channels, length, *rest = self.output_shape
        first = self.start(z).tanh().to(z.dtype).unflatten(1, (self.states, self.layers, -1)).movedim(0, 2).contiguous()
        out, _ = self.rnn(z.unsqueeze(1).expand(-1, length, -1), tuple(first) if self.states == 2 else first[0])
        return self.head(out).unflatten(2, (channels, *rest)).transpose(1, 2)
