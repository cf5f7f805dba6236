"""Autoregressive densities over grids of codes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_ae.batch import Shape
from lit_ae.errors import ConfigError
from lit_ae.functional import full_precision
from lit_ae.models.base import Autoencoder
from lit_ae.models.coded import Coded
from lit_ae.nn import Condition
from lit_ae.samplers.base import Sampler


class CodeSampler(Sampler, ABC):
    """log p(codes) = Σ_t log p(code_t | codes before it), row by row; where a place has several, depth by depth.

    Args:
        num_codes: Number of values that one code takes, K.
        code_shape: Shape of the codes of one sample: (h, w), or (depth, h, w).
        condition_shape: Shape of one condition; () is the number of a class, None is no condition.
        num_classes: Number of classes where the condition is one.
        width: Number of features.
    """

    needs = Coded
    of = "codes"

    def __init__(
        self, num_codes: int, code_shape: Shape, condition_shape: Shape | None, num_classes: int, width: int
    ) -> None:
        super().__init__(condition_shape, num_classes)
        self.condition = None if condition_shape is None else Condition(condition_shape, num_classes, width)
        self.num_codes, self.code_shape, self.width = num_codes, tuple(code_shape), width
        self.depth, self.columns, self.length = prod(code_shape[:-2]), code_shape[-1], prod(code_shape)
        self.embedding = nn.Embedding(self.depth * num_codes, width)
        self.heads = nn.Parameter(torch.empty(self.depth, num_codes, width).uniform_(-1, 1) / width**0.5)
        self.bias = nn.Parameter(torch.zeros(self.length, num_codes))  # starts from how often a code is at a place

    @classmethod
    def facts(cls, model: Autoencoder) -> dict[str, Any]:
        """Number of codes and their shape."""
        assert isinstance(model, Coded)
        return {"num_codes": model.num_codes, "code_shape": list(model.code_shape)}

    def values(self, model: Autoencoder, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Codes of samples, (B, *code_shape)."""
        assert isinstance(model, Coded)
        return model.codes(x, c, mask)

    def decode(self, model: Autoencoder, values: Tensor, c: Tensor | None = None) -> Tensor:
        """The model's samples, (B, *E), of codes."""
        assert isinstance(model, Coded)
        return model.decode_codes(values, c)

    @abstractmethod
    def features(self, sequence: Tensor, c: Tensor | None) -> Tensor:
        """Features, (B, t, width), of each step of the first t codes, (B, t): those of a step see none from it on."""

    def logits(self, sequence: Tensor, c: Tensor | None = None) -> Tensor:
        """Logits, (B, t, K), of each of the first t codes in order, (B, t), given those before it."""
        steps = sequence.shape[1]
        features = self.features(sequence, c)
        padded = F.pad(features, (0, 0, 0, -steps % self.depth)).unflatten(1, (-1, self.depth))
        return torch.einsum("bpdf,dkf->bpdk", padded, self.heads).flatten(1, 2)[:, :steps] + self.bias[:steps]

    def log_prob(self, values: Tensor, c: Tensor | None = None) -> Tensor:
        """Log probability in nats, (B,), of codes, (B, *code_shape)."""
        sequence = self.ordered(values)
        log_p = full_precision(self.logits(sequence, c)).log_softmax(-1)
        return log_p.gather(-1, sequence[..., None])[..., 0].sum(1)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        c: Tensor | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
    ) -> Tensor:
        """n grids of codes, (n, *code_shape), all drawn at once, one step after the other; in evaluation mode.

        Args:
            n: How many.
            c: Conditions, (n, *C).
            temperature: Divides the logits.
            top_k: Draw from the k most probable codes alone.
            top_p: Draw from the fewest codes that have this probability together (Holtzman et al. 2020).

        Raises:
            ConfigError: An argument is out of range.
        """
        if temperature <= 0:
            raise ConfigError(f"temperature is {temperature}: give a number above 0.")
        sequence = torch.zeros(n, 0, dtype=torch.long, device=self.heads.device)
        for _ in range(self.length):
            logits = full_precision(self.logits(F.pad(sequence, (0, 1)), c)[:, -1]) / temperature
            drawn = torch.multinomial(truncated(logits, top_k, top_p).softmax(-1), 1)
            sequence = torch.cat([sequence, drawn], 1)
        return self.grid(sequence)

    def ordered(self, codes: Tensor) -> Tensor:
        """Codes, (B, *code_shape), in the order of steps, (B, length)."""
        return (codes.movedim(1, -1) if len(self.code_shape) > 2 else codes).flatten(1)

    def grid(self, sequence: Tensor) -> Tensor:
        """Codes in the order of steps, (B, length), as grids, (B, *code_shape)."""
        codes = sequence.unflatten(1, (*self.code_shape[-2:], self.depth))
        return codes.movedim(-1, 1) if len(self.code_shape) > 2 else codes[..., 0]

    def embed(self, sequence: Tensor) -> Tensor:
        """Embedded codes, (B, t, width), of the first t, (B, t); each depth has codes of its own."""
        depths = torch.arange(sequence.shape[1], device=sequence.device) % self.depth
        return self.embedding(sequence + depths * self.num_codes)


def truncated(logits: Tensor, top_k: int | None = None, top_p: float | None = None) -> Tensor:
    """Logits, (B, K), with −∞ for codes that are not to be drawn.

    Raises:
        ConfigError: A number is out of range.
    """
    if top_k is not None:
        if top_k < 1:
            raise ConfigError(f"top_k is {top_k}: give 1 or more.")
        least = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p is not None:
        if not 0 < top_p <= 1:
            raise ConfigError(f"top_p is {top_p}: give a number above 0, up to 1.")
        ranked, order = logits.sort(-1, descending=True)
        p = ranked.softmax(-1)
        ranked = ranked.masked_fill(p.cumsum(-1) - p >= top_p, -torch.inf)
        logits = torch.empty_like(logits).scatter_(-1, order, ranked)
    return logits


def check(**sizes: float) -> None:
    """Refuse sizes below 1, and a share of features that is none.

    Raises:
        ConfigError: A value is out of range.
    """
    for name, value in sizes.items():
        if name == "dropout" and not 0 <= value < 1:
            raise ConfigError(f"dropout is {value}: set --sampler.dropout to 0 or more, below 1.")
        if name != "dropout" and value < 1:
            raise ConfigError(f"{name} is {value}: set --sampler.{name} to 1 or more.")
