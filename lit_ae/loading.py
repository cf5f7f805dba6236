"""A trained model by its path: a run, a checkpoint, or what `lit_ae export` wrote. Nothing is unpickled."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError
from lightning.pytorch.cli import LightningArgumentParser
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lit_ae.arguments import stored
from lit_ae.diagnose import diagnose
from lit_ae.errors import RunError
from lit_ae.jobs.opening import placed
from lit_ae.launch import import_classes, quieten
from lit_ae.lightning_cli import STRICT
from lit_ae.models.base import Autoencoder
from lit_ae.runs import open_run
from lit_ae.storage import load_weights, model_argument

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"
FORMAT = 1  # of DESCRIPTION
PROGRAMS = (".onnx", ".pt2")  # what else an export holds
TRUSTED = ("lit_ae", "torch", "lightning", "torchmetrics")
BUILT = (nn.Module, Optimizer, LRScheduler)
DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def load(path: str | Path, device: str = "cpu") -> Autoencoder:
    """Open a trained model in evaluation mode; no data are needed.

        model = lit_ae.load("runs/vae/0")
        z = model.embed(x)
        x = model.sample(16)

    Args:
        path: The folder of a run, whose best checkpoint is taken; a checkpoint; or a folder that
            `lit_ae export --format safetensors` wrote.
        device: Where the model goes: "cpu", "cuda", "cuda:1", or "auto" for an accelerator where there is one.

    Raises:
        RunError: There is no model, its files are damaged, or they name classes that are not ours to build.
        ConfigError: There is no such device.
    """
    path, where = Path(path), placed(device)
    if path.suffix in PROGRAMS:
        raise RunError(
            f"{path} is a program for other readers, which can run code as it is opened: name its run, or "
            "a folder that lit_ae export --format safetensors wrote."
        )
    folder = path.parent if path.name in (WEIGHTS, DESCRIPTION) else path
    if (folder / DESCRIPTION).is_file() or (folder / WEIGHTS).is_file():
        model = exported(folder)
    elif list(folder.glob("encoder.*")) or list(folder.glob("decoder.*")):
        raise RunError(
            f"{folder} holds programs, but no {WEIGHTS}: name its run, or write one with lit_ae export --format all."
        )
    else:
        model = trained(path)
    return model.to(where).eval()


def trained(path: Path) -> Autoencoder:
    """The model of a run, or of a checkpoint in one or on its own."""
    if path.suffix == ".ckpt" and not path.is_file():
        raise RunError(f"There is no checkpoint {path}: name one that exists, or the folder of a run.")
    import_classes()
    if path.is_file() and not (path.parent.parent / "config.yaml").is_file():
        model = built(model_argument(path), str(path))
        load_weights(model, path)
        return model
    run = open_run(path)
    checkpoint = path if path.is_file() else run.checkpoint("best", "last")
    document = stored(run).get("model")
    if not isinstance(document, dict):
        raise RunError(f"{run.config} has no model: mend that file, or name another run.")
    if not (document.get("init_args") or {}).get("spec"):
        document = json.loads(model_argument(checkpoint))
    model = built(json.dumps(document), str(run.config))
    load_weights(model, checkpoint)
    return model


def exported(folder: Path) -> Autoencoder:
    """The model that two files of an export describe, which may have come from anywhere.

    Raises:
        RunError: A file is missing or damaged, or names a class that is not to be trusted.
    """
    description, weights = folder / DESCRIPTION, folder / WEIGHTS
    for file in (description, weights):
        if not file.is_file():
            raise RunError(f"{folder} has no {file.name}: an export is {DESCRIPTION} and {WEIGHTS} together.")
    try:
        document = json.loads(description.read_text(encoding="utf-8"))
        found, model = document["format"], {key: document[key] for key in ("class_path", "init_args")}
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{description} is damaged: write it anew with lit_ae export --format safetensors.") from error
    if found != FORMAT:
        raise RunError(f"{description} has the format {found}, this lit_ae reads {FORMAT}: update lit_ae.")
    for name in foreign(model):
        raise RunError(
            f"{description} names {name}, and an export is built of classes of {', '.join(TRUSTED)} alone: "
            "load the run itself where you trust its code."
        )
    built_model = built(json.dumps(model), str(description))
    try:
        built_model.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError, OSError) as error:
        last = str(error).splitlines()[-1].strip()
        raise RunError(f"{weights} is damaged, or not of the model in {DESCRIPTION} ({last}).") from error
    return built_model


def foreign(value: Any) -> Iterator[str]:
    """What a description names that is no class to be trusted: anything else might run code as it is built."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key != "class_path":
                yield from foreign(item)
            elif not trusted(item):
                yield str(item)
    elif isinstance(value, list):
        for item in value:
            yield from foreign(item)
    elif isinstance(value, str) and DOTTED.fullmatch(value) and importlib.util.find_spec(value.split(".")[0]):
        yield value  # the parser takes the path of a function, too, where a callable is wanted


def trusted(path: Any) -> bool:
    """Whether a dotted path is that of a class of ours, or of a network or an optimizer of torch's."""
    if not isinstance(path, str) or path.split(".")[0] not in TRUSTED or not DOTTED.fullmatch(path):
        return False
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return True  # the parser says what is missing
    if not isinstance(found, type) or found.__module__.split(".")[0] not in TRUSTED:
        return False
    return issubclass(found, BUILT) or path.startswith("lit_ae.")


def built(argument: str, source: str) -> Autoencoder:
    """A model from class_path and init_args as JSON.

    Raises:
        RunError: They name classes or arguments that are not there: a package is missing, or of another version.
    """
    quieten()
    parser = LightningArgumentParser(**STRICT)
    parser.add_lightning_class_args(Autoencoder, "model", subclass_mode=True)
    try:
        config = parser.parse_args([f"--model={argument}"])
    except ArgumentError as error:
        said = diagnose(str(error), [action.dest for action in parser._actions], {})
        raise RunError(f"{said} The model of {source} cannot be built here.") from error
    model: Autoencoder = parser.instantiate(config).model
    return model
