"""What a model computes as functions of tensors alone, that other programs can run: an encoder and a decoder."""

from __future__ import annotations

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from lit_ae.batch import Batch
from lit_ae.errors import ConfigError
from lit_ae.models.base import Autoencoder
from lit_ae.models.latent import VectorDecoding, VectorLatent
from lit_ae.posteriors import DiagonalGaussian
from lit_ae.quantized import Codes, Quantized

Named = dict[str, Tensor]


def present(**given: Tensor | None) -> Named:
    """What is not None."""
    return {name: value for name, value in given.items() if value is not None}


class Half(nn.Module, ABC):
    """One side of a model.

    Args:
        model: The model.
    """

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    @abstractmethod
    def results(self, given: Named) -> Named:
        """What it yields, by name, of what it is given, by name."""


class EncoderHalf(Half):
    """From samples to latents."""

    def results(self, given: Named) -> Named:
        """Mean latents `z`; their `log_variance`, or `codes`, where there are any."""
        q = self.model.encode(given["x"], given.get("c"), given.get("mask"))
        found = {"z": q.mode}
        if isinstance(q, DiagonalGaussian):
            found["log_variance"] = 2 * q.scale.log()
        elif isinstance(q, Quantized | Codes):
            found["codes"] = q.codes
        return found

    def forward(self, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """x, (B, *E), with its condition and what is observed of it, to the results."""
        return tuple(self.results(present(x=x, c=c, mask=mask)).values())


class DecoderHalf(Half):
    """From latents to samples."""

    def results(self, given: Named) -> Named:
        """E[x|z], `x`."""
        return {"x": self.model.decode(given["z"], given.get("c")).mean}

    def forward(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, ...]:
        """z, (B, *D), with its condition, to the results."""
        return tuple(self.results(present(z=z, c=c)).values())


@dataclass(frozen=True)
class Program:
    """A traced half of a model, whose batch may have any size.

    Args:
        name: `encoder` or `decoder`.
        traced: What torch.export made of it.
        inputs: Real inputs by name, in the order of its arguments.
        outputs: What the model makes of them, in the order of its results.
    """

    name: str
    traced: ExportedProgram
    inputs: Named
    outputs: Named


def programs(model: Autoencoder, real: Batch) -> list[Program]:
    """Encoder and decoder of a model, traced with real samples; a model without an encoder has a decoder alone.

    Args:
        model: In evaluation mode.
        real: At least two samples of its data.

    Raises:
        ConfigError: A network cannot be traced.
    """
    c = real.c if model.spec.condition_shape is not None else None
    decoder = trace("decoder", DecoderHalf(model), present(z=model.embed(real.x, c, real.mask), c=c))
    if isinstance(model, VectorDecoding) and not isinstance(model, VectorLatent):
        return [decoder]  # its latents are found by a search
    encoder = trace("encoder", EncoderHalf(model), present(x=real.x, c=c, mask=real.mask))
    if real.mask is not None and not reads(encoder.traced, "mask"):
        encoder = trace("encoder", EncoderHalf(model), present(x=real.x, c=c))
    return [encoder, decoder]


def trace(name: str, half: Half, inputs: Named) -> Program:
    """Trace one half of a model.

    Raises:
        ConfigError: It cannot be.
    """
    first, *more = inputs.items()
    shapes = {argument: {0: Dim("batch")} for argument in inputs}
    try:
        with torch.no_grad(), quiet():
            traced = torch.export.export(half.eval(), (first[1],), dict(more), dynamic_shapes=shapes, strict=False)
            outputs = half.results(inputs)
    except ConfigError:
        raise
    except Exception as error:  # whatever a network does that no graph can hold
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"The {name} of {type(half.model).__name__} cannot be traced ({first_line}): --format safetensors writes "
            "any model."
        ) from error
    return Program(name, traced, inputs, outputs)


def reads(traced: ExportedProgram, argument: str) -> bool:
    """Whether a program depends on one of its arguments."""
    return any(node.op == "placeholder" and node.name == argument and node.users for node in traced.graph.nodes)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what torch's exporters tell each other off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
