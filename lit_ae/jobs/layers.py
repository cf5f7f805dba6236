"""What `lit_ae summary` knows of a model: its layers in the order in which they are called, with their shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.model_summary import ModelSummary
from torch import Tensor, nn

from lit_ae import trust
from lit_ae.arguments import Request
from lit_ae.batch import Batch, DataError, Shape
from lit_ae.launch import import_classes, quieten
from lit_ae.lightning_cli import LitCLI
from lit_ae.models.base import Autoencoder
from lit_ae.models.multiplayer import frozen

SAMPLES = 7  # a number that layers seldom have, so that it marks the batch among their dimensions
COLUMNS = ("Layer", "Kind", "Input", "Output", "Parameters")


class Parts(LitCLI):
    """Builds the data and the model as `fit` does, and stops there."""

    def instantiate_classes(self) -> None:
        """Build data and model: no trainer, no run folder."""
        self.build_parts()

    def _run_subcommand(self, subcommand: str) -> None:
        """Run nothing."""


class Layer(NamedTuple):
    """One row of the table.

    Args:
        name: Path of the module in the model.
        kind: Its class.
        inputs: Shapes of what it takes, B being the batch.
        outputs: Shapes of what it yields.
        parameters: How many parameters it has, those of its layers included.
    """

    name: str
    kind: str
    inputs: str
    outputs: str
    parameters: int

    def cells(self) -> tuple[str, ...]:
        """The row as text, with the name indented by its depth."""
        *parents, own = self.name.split(".")
        return f"{'  ' * len(parents)}{own}", self.kind, self.inputs, self.outputs, f"{self.parameters:,}"


@dataclass(frozen=True)
class Described:
    """A model that was described.

    Args:
        name: What its runs are called.
        model: The model, in evaluation mode.
        heading: Variant, data, and the shapes from sample to reconstruction.
        layers: Every module, in the order of the first call.
        inputs: Shape of the first tensor, without the batch, that each module that was called takes.
    """

    name: str
    model: Autoencoder
    heading: str
    layers: list[Layer]
    inputs: dict[str, Shape]

    def text(self) -> str:
        """The table, with totals under it."""
        rows = [COLUMNS, *(layer.cells() for layer in self.layers)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row[:4], widths, strict=False)) for row in rows]
        lines = [f"{line}  {row[4].rjust(widths[4])}" for line, row in zip(lines, rows, strict=True)]
        rule = "─" * len(lines[0])
        parameters = list(self.model.parameters())
        trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
        megabytes = sum(parameter.numel() * parameter.element_size() for parameter in parameters) / 1e6
        total = sum(parameter.numel() for parameter in parameters)
        footer = f"{total:,} parameters, {trained:,} of them trained, {megabytes:.2f} MB"
        legend = "B: samples in a batch. Parameters of a container are those of its layers."
        return "\n".join([self.heading, "", lines[0], rule, *lines[1:], rule, footer, legend])


def describe(request: Request) -> Described:
    """Build data and model, pass a few samples through, and note what happens.

    Raises:
        ConfigError: The configuration is wrong.
        DataError: The data cannot be opened, or do not fit.
    """
    import_classes()
    quieten()
    with trust.importing(request.trusted):
        parts = Parts(request)
    model = parts.model.eval()
    batch = example(parts.datamodule)
    model.check(batch)
    calls, latents = passed(model, batch)
    shape, given = written(model.input_shape), model.spec.condition_shape
    seen = "" if given is None else f" and condition {written(given)}" if given else " and class"
    heading = (
        f"{type(model).__name__} on {type(parts.datamodule).__name__}: sample {shape}{seen} → "
        f"latent {', '.join(map(written, latents))} → reconstruction {shape}"
    )
    name = str(parts.config[parts.subcommand].name or type(model).__name__.lower())
    return Described(name, model, heading, layers(model, batch, list(calls)), calls)


def example(data: pl.LightningDataModule) -> Batch:
    """A few training samples with their conditions; without a mask, so that lengths are full."""
    data.prepare_data()
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    if not isinstance(batch, Batch):
        raise DataError(f"{type(data).__name__} yields {type(batch).__name__}, not Batch: see lit_ae.batch.")
    return Batch(batch.x[:SAMPLES], c=None if batch.c is None else batch.c[:SAMPLES])


def passed(model: Autoencoder, batch: Batch) -> tuple[dict[str, Shape], list[Shape]]:
    """Names of the modules in the order of their first call, with input shapes; and shapes of the latents."""
    calls: dict[str, Shape] = {}

    def note(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(module: nn.Module, given: tuple[Any, ...]) -> None:
            first = next((tuple(value.shape[1:]) for value in given if isinstance(value, Tensor)), ())
            calls.setdefault(name, first)

        return hook

    handles = [module.register_forward_pre_hook(note(name)) for name, module in model.named_modules() if name]
    try:
        with torch.no_grad():
            out = model(batch)
    finally:
        for handle in handles:
            handle.remove()
    levels = out.z if isinstance(out.z, tuple) else (out.z,)
    return calls, [tuple(z.shape[2:]) for z in levels]


def layers(model: Autoencoder, batch: Batch, calls: list[str]) -> list[Layer]:
    """Every module with its shapes; called ones first, each under the module that holds it."""
    model.example_input_array = (batch,)
    with frozen(model.parameters()):  # a view of a parameter as a module's input is more than its hooks can take
        summary = ModelSummary(model, max_depth=-1)
    columns = (summary.layer_names, summary.layer_types, summary.in_sizes, summary.out_sizes, summary.param_nums)
    size, names = len(batch.x), summary.layer_names

    def rank(prefix: str) -> tuple[int, int]:
        first = (i for i, call in enumerate(calls) if call == prefix or call.startswith(f"{prefix}."))
        return next(first, len(calls)), names.index(prefix)

    def place(layer: Layer) -> list[tuple[int, int]]:
        parts = layer.name.split(".")
        return [rank(".".join(parts[: i + 1])) for i in range(len(parts))]

    found = [
        Layer(name, kind, shapes(taken, size), shapes(given, size), int(count))
        for name, kind, taken, given, count in zip(*columns, strict=True)
    ]
    return sorted(found, key=place)


def shapes(sizes: Any, batch: int) -> str:
    """What Lightning notes of a module's tensors: a shape, a nested list of shapes, "?" for what is no tensor."""
    return ", ".join(marked(size, batch) for size in flat(sizes)) or "none"


def flat(sizes: Any) -> list[list[int]]:
    """Shapes of the tensors alone; those of single numbers are left out."""
    if isinstance(sizes, str) or not sizes:
        return []
    if isinstance(sizes[0], int):
        return [list(sizes)]
    return [size for part in sizes for size in flat(part)]


def marked(size: list[int], batch: int) -> str:
    """A shape with B for the batch, which comes first or, after samples or states, second."""
    dims = [str(n) for n in size]
    if size[0] % batch == 0:
        dims[0] = "B" if size[0] == batch else f"{size[0] // batch}·B"
    elif len(size) > 1 and size[1] == batch:
        dims[1] = "B"
    return f"({', '.join(dims)})"


def written(shape: Shape) -> str:
    """A shape of one sample."""
    return f"({', '.join(map(str, shape))})"
