"""Writes encoder and decoder of a run for other programs, and checks every file against PyTorch."""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from lit_ae import __version__, loading
from lit_ae.arguments import owned
from lit_ae.batch import Batch
from lit_ae.errors import ConfigError, RunError
from lit_ae.jobs.opening import Opened, opened
from lit_ae.jobs.parsing import vacant_folder
from lit_ae.jobs.programs import Named, Program, programs, quiet
from lit_ae.jobs.signature import signature, text
from lit_ae.models.base import Autoencoder
from lit_ae.runs import open_run
from lit_ae.storage import model_argument, write

TOLERANCE = 1e-4
SIZES = (1, 7)
NEEDED = ("onnx", "onnxscript", "onnxruntime")
SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}


def export(asked: Namespace, flags: Sequence[str]) -> Iterator[str]:
    """Write what a command line asks for, and say in lines what was written.

    Raises:
        ConfigError: The folder is there already, packages are missing, or a file does not agree with PyTorch.
    """
    formats = (*SUFFIXES, "safetensors") if asked.format == "all" else (asked.format,)
    if "onnx" in formats and any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise ConfigError('ONNX needs packages of its own: pip install "lit_ae[onnx]", or choose --format torch.')
    folder = vacant_folder(asked.out or open_run(asked.run).folder / "export", asked.overwrite)
    run = opened(asked.run, flags)
    real = run.first(max(SIZES))
    traced: list[Program] = []
    if set(formats) & set(SUFFIXES):
        if len(real.x) < 2:  # a batch of one would be traced as if there were no others
            x, y, c, mask = (None if part is None else torch.cat([part, part]) for part in real[:4])
            assert x is not None
            real = Batch(x, y, c, mask)
        traced = programs(run.model, real)
    differences: dict[str, float] = {}
    for kind in formats:
        if kind == "safetensors":
            path, found = store(run, folder, real)
            differences[path.name] = found
            yield line(path, found)
        for program in traced if kind in SUFFIXES else []:
            path = folder / f"{program.name}{SUFFIXES[kind]}"
            found = WRITERS[kind](program, path)
            differences[path.name] = found
            yield line(path, found)
    if traced and len(traced) == 1:
        yield f"{'no encoder':<11} {run.variant} finds its latents by a search: lit_ae embed {run.run.folder}"
    said = signature(run, traced, differences)
    for name, content in (("signature.json", json.dumps(said, indent=2) + "\n"), ("README.md", text(said))):
        write(folder / name, lambda sink, content=content: sink.write(content.encode()))  # type: ignore[misc]
        yield f"{'described':<11} {folder / name}"
    if asked.overwrite:
        described_too = [loading.DESCRIPTION] if "safetensors" in formats else []
        clear(folder, {*differences, *described_too, "signature.json", "README.md"})


def line(path: Path, difference: float) -> str:
    """What was written, and how far it is from PyTorch."""
    return f"{path.suffix[1:]:<11} {path}  differs from PyTorch by {difference:.1e} at most"


def clear(folder: Path, kept: Set[str]) -> None:
    """Remove what only an earlier export wrote, so that nothing in the folder is of another one."""
    names = [f"{half}{suffix}" for half in ("encoder", "decoder") for suffix in SUFFIXES.values()]
    for name in (*names, loading.WEIGHTS, loading.DESCRIPTION, "signature.json", "README.md"):
        if name not in kept:
            (folder / name).unlink(missing_ok=True)


def write_onnx(program: Program, path: Path) -> float:
    """Write and check an ONNX file."""
    onnxruntime = importlib.import_module("onnxruntime")  # nothing else needs it
    with torch.no_grad(), quiet():
        made = torch.onnx.export(
            program.traced,
            dynamo=True,
            verbose=False,
            input_names=[*program.inputs],
            output_names=[*program.outputs],
            dynamic_shapes={name: {0: torch.export.Dim("batch")} for name in program.inputs},
        )
    assert made is not None
    write(path, lambda sink: sink.write(made.model_proto.SerializeToString()))

    def run(given: Named) -> list[Tensor]:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        found = session.run([*program.outputs], {name: value.numpy() for name, value in given.items()})
        return [torch.from_numpy(value) for value in found]

    return checked(program, path, run)


def write_torch(program: Program, path: Path) -> float:
    """Write and check a program of torch.export."""
    sink = io.BytesIO()
    with quiet():
        torch.export.save(program.traced, sink)
    write(path, lambda file: file.write(sink.getvalue()))

    def run(given: Named) -> list[Tensor]:
        (_, first), *more = given.items()
        with torch.no_grad(), quiet():
            return list(torch.export.load(path).module()(first, **dict(more)))

    return checked(program, path, run)


WRITERS: dict[str, Callable[[Program, Path], float]] = {"onnx": write_onnx, "torch": write_torch}


def checked(program: Program, path: Path, run: Callable[[Named], list[Tensor]]) -> float:
    """Greatest difference between what a file computes and what the model does, on one real input and on all.

    Raises:
        ConfigError: They disagree; the file is removed.
    """
    worst = 0.0
    try:
        for size in SIZES:
            found = run({name: value[:size].contiguous() for name, value in program.inputs.items()})
            wanted = [value[:size] for value in program.outputs.values()]
            worst = max(worst, *(difference(one, other) for one, other in zip(found, wanted, strict=True)))
        reason = f"differs from PyTorch by {worst:.1e}, more than {TOLERANCE:.0e}"
    except Exception as error:  # a runtime says in its own ways that it cannot run a graph
        worst, reason = float("inf"), f"does not run ({(str(error).strip() or type(error).__name__).splitlines()[0]})"
    if not worst <= TOLERANCE:
        path.unlink(missing_ok=True)
        raise ConfigError(f"{path} {reason}, and was removed: --format safetensors writes any model.")
    return worst


def difference(one: Tensor, other: Tensor) -> float:
    """Greatest difference of two tensors: absolute, but relative to values beyond 1; infinite where shapes differ."""
    if one.shape != other.shape:
        return float("inf")
    gap = (one.double() - other.double()).abs() / other.double().abs().clamp(min=1)
    return gap.max().item() if bool(gap.isfinite().all()) else float("inf")


def store(run: Opened, folder: Path, real: Batch) -> tuple[Path, float]:
    """Write weights and description, and read them back as anybody would.

    Raises:
        ConfigError: The model is built of classes that are not read back.
    """
    weights, description = folder / loading.WEIGHTS, folder / loading.DESCRIPTION
    tensors = {name: value.detach().clone().contiguous() for name, value in run.model.state_dict().items()}
    versions = {"lit_ae": __version__, "torch": torch.__version__}
    document = {"format": loading.FORMAT, **described(run), "versions": versions}
    write(weights, lambda sink: sink.write(save(tensors, {"format": "pt", "lit_ae": __version__})))
    write(description, lambda sink: sink.write((json.dumps(document, indent=2) + "\n").encode()))
    try:
        again = loading.load(folder)
    except RunError as error:
        clear_pair(weights, description)
        raise ConfigError(f"{error} Nothing was kept: choose --format onnx.") from error
    pairs = zip(outputs(again, real), outputs(run.model, real), strict=True)
    found = max(difference(one, other) for one, other in pairs)
    if found > TOLERANCE:
        clear_pair(weights, description)
        raise ConfigError(f"{weights} differs from the run by {found:.1e}, and was removed: that is a bug of ours.")
    return weights, found


def clear_pair(*paths: Path) -> None:
    """Remove files."""
    for path in paths:
        path.unlink(missing_ok=True)


def described(run: Opened) -> dict[str, Any]:
    """class_path and init_args of a run's model, with what it knows of its data."""
    found: dict[str, Any] = json.loads(model_argument(run.checkpoint, owned(run.run, keys=("model",))))
    return found


def outputs(model: Autoencoder, real: Batch) -> tuple[Tensor, Tensor]:
    """Latents and reconstructions of samples."""
    c = real.c if model.spec.condition_shape is not None else None
    return model.embed(real.x, c, real.mask), model.reconstruct(real.x, c, real.mask)
