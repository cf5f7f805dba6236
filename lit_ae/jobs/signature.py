"""What goes into exported programs and what comes out, in JSON and in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from datamodules.sequences import Sequences
from datamodules.tabular import Tabular
from lit_ae import __version__
from lit_ae.arguments import stored
from lit_ae.jobs.opening import Opened
from lit_ae.jobs.programs import Named, Program
from lit_ae.plots.tiles import is_picture

MEANINGS = {
    "z": "latents: the posterior's means",
    "log_variance": "log variance of each latent",
    "codes": "numbers of the codes that z stands for",
    "c": "condition",
    "mask": "true where x is observed",
}


def signature(run: Opened, programs: list[Program], differences: Mapping[str, float]) -> dict[str, Any]:
    """Everything that a user of exported files must know, as plain values."""
    spec, data = run.model.spec, run.data
    settings = stored(run.run)["data"].get("init_args") or {}
    facts: dict[str, Any] = {
        "class": type(data).__name__,
        "pictures": is_picture(run.model.input_shape),
        "value_range": None if spec.value_range is None else list(spec.value_range),
        "transforms": settings.get("transforms"),
        "condition_shape": None if spec.condition_shape is None else list(spec.condition_shape),
        "num_classes": spec.num_classes,
        "class_names": run.class_names,
    }
    if isinstance(data, Tabular | Sequences):
        facts |= {"columns": data.column_names, "kinds": spec.columns}
        facts |= {"mean": data.mean.tolist(), "std": data.std.tolist()}
    return {
        "run": run.name,
        "variant": run.variant,
        "checkpoint": run.checkpoint.name,
        "versions": {"lit_ae": __version__, "torch": torch.__version__},
        "files": {name: {"greatest_difference": found} for name, found in differences.items()},
        "programs": {each.name: {"inputs": ports(each.inputs), "outputs": ports(each.outputs)} for each in programs},
        "data": facts,
    }


def ports(tensors: Named) -> list[dict[str, Any]]:
    """Name, type and shape of inputs or outputs."""
    return [
        {"name": name, "type": str(value.dtype).removeprefix("torch."), "shape": ["batch", *value.shape[1:]]}
        for name, value in tensors.items()
    ]


def text(said: Mapping[str, Any]) -> str:
    """The same in words, with the lines of Python that open each file."""
    data, files = said["data"], said["files"]
    lines = [f"# {said['run']}", "", f"{said['variant']}, written by lit_ae {said['versions']['lit_ae']}.", ""]
    for name, each in said["programs"].items():
        lines += [f"## {name}", "", "| | name | type | shape | |", "|---|---|---|---|---|"]
        for way in ("inputs", "outputs"):
            for port in each[way]:
                shape = ", ".join(str(side) for side in port["shape"])
                meaning = MEANINGS.get(port["name"], "samples" if way == "inputs" else "E[x given z]")
                lines.append(f"| {way[:-1]} | `{port['name']}` | {port['type']} | {shape} | {meaning} |")
        lines.append("")
    lines += ["## What x is", "", *sentences(data), "", "## How to open the files", "", "```python"]
    if "model.safetensors" in files:
        given = "x" if data["condition_shape"] is None else "x, c"
        lines += ["import lit_ae", 'model = lit_ae.load(".")', f"z = model.embed({given})", ""]
    if "encoder.onnx" in files or "decoder.onnx" in files:
        lines += ["import onnxruntime"]
    for half, names in (("encoder", "inputs"), ("decoder", "inputs")):
        if f"{half}.onnx" in files:
            given = ", ".join(f'"{port["name"]}": {port["name"]}' for port in said["programs"][half][names])
            found = ", ".join(port["name"] for port in said["programs"][half]["outputs"])
            lines.append(f'[{found}] = onnxruntime.InferenceSession("{half}.onnx").run(None, {{{given}}})')
    if "encoder.pt2" in files or "decoder.pt2" in files:
        lines += ["", "import torch"]
    for half in ("encoder", "decoder"):
        if f"{half}.pt2" in files:
            first, *more = (port["name"] for port in said["programs"][half]["inputs"])
            given = ", ".join([first, *(f"{name}={name}" for name in more)])
            lines.append(f'outputs = torch.export.load("{half}.pt2").module()({given})')
    worst = max((each["greatest_difference"] for each in files.values()), default=0.0)
    lines += ["```", "", f"On real samples every file agrees with PyTorch to {worst:.1e}."]
    if any(name.endswith(".pt2") for name in files):
        lines += ["", "A .pt2 file can run code as it is opened: open it only where you trust whoever wrote it."]
    return "\n".join(lines).replace("\n\n```python\n\n", "\n\n```python\n") + "\n"


def sentences(data: Mapping[str, Any]) -> list[str]:
    """What must be done to raw samples before they go in, and to those that come out."""
    lines = []
    if data["value_range"] and data["pictures"]:
        low, high = data["value_range"]
        bytes_are = ": pictures of bytes are divided by 255" if (low, high) == (0, 1) else ""
        lines.append(f"Values lie between {low:g} and {high:g}{bytes_are}.")
    if data["transforms"]:
        names = ", ".join(each["class_path"].rsplit(".", 1)[-1] for each in data["transforms"])
        lines.append(f"In training these transforms were applied, in this order: {names} (see signature.json).")
    if data.get("columns"):
        lines.append(
            "Its columns, and the `mean` and `std` of each, are in signature.json: x = (raw - mean) / std goes in, and "
            "x * std + mean is in the units of the data again."
        )
    if any(data.get("kinds") or ()):
        lines.append("A column of classes has an element for each of them: 1 for its own, 0 for all others.")
    if data["class_names"]:
        lines.append("Classes: " + ", ".join(f"{i} {name}" for i, name in enumerate(data["class_names"])) + ".")
    return lines or ["x is as the data of the run have it."]
