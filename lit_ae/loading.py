"""A trained model by its path: a run, a checkpoint, or what `lit_ae export` wrote. Nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentError
from lightning.pytorch.cli import LightningArgumentParser
from safetensors import SafetensorError
from safetensors.torch import load_file

from lit_ae.arguments import owned, stored
from lit_ae.bounded import bounded
from lit_ae.checked import local
from lit_ae.diagnose import diagnose
from lit_ae.errors import RunError
from lit_ae.jobs.opening import placed
from lit_ae.launch import import_classes, quieten
from lit_ae.lightning_cli import STRICT
from lit_ae.models.base import Autoencoder
from lit_ae.runs import open_run
from lit_ae.storage import load_weights, model_argument
from lit_ae.trust import checked, importing, refused, screen

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"
FORMAT = 1  # of DESCRIPTION
PROGRAMS = (".onnx", ".pt2")  # what else an export holds


def load(path: str | Path, device: str = "cpu", trust: Sequence[str] = ()) -> Autoencoder:
    """Open a trained model in evaluation mode; no data are needed.

        model = lit_ae.load("runs/vae/0")
        z = model.embed(x)
        x = model.sample(16)

    Args:
        path: The folder of a run, whose best checkpoint is taken; a checkpoint; or a folder that
            `lit_ae export --format safetensors` wrote.
        device: Where the model goes: "cpu", "cuda", "cuda:1", or "auto" for an accelerator where there is one.
        trust: Packages whose classes a run, a checkpoint or an export of somebody else may name: `trust=["my_pkg"]`.

    Raises:
        RunError: There is no model, its files are damaged, or they name classes that are not ours to build.
        ConfigError: There is no such device.
    """
    path, where = local(path), placed(device)
    if path.suffix in PROGRAMS:
        raise RunError(
            f"{path} is a program for other readers, which can run code as it is opened: name its run, or "
            "a folder that lit_ae export --format safetensors wrote."
        )
    folder = path.parent if path.name in (WEIGHTS, DESCRIPTION) else path
    if (folder / DESCRIPTION).is_file() or (folder / WEIGHTS).is_file():
        model = exported(folder, checked(trust))
    elif list(folder.glob("encoder.*")) or list(folder.glob("decoder.*")):
        raise RunError(
            f"{folder} holds programs, but no {WEIGHTS}: name its run, or write one with lit_ae export --format all."
        )
    else:
        model = trained(path, checked(trust))
    return model.to(where).eval()


def trained(path: Path, trust: tuple[str, ...] = ()) -> Autoencoder:
    """The model of a run, or of a checkpoint in one or on its own."""
    if path.suffix == ".ckpt" and not path.is_file():
        raise RunError(f"There is no checkpoint {path}: name one that exists, or the folder of a run.")
    import_classes()
    if path.is_file() and not (path.parent.parent / "config.yaml").is_file():
        argument = model_argument(path, trust)
        with bounded(path, json.loads(argument)):
            model = built(argument, str(path), trust)
        load_weights(model, path)
        return model
    run = open_run(path)
    checkpoint = path if path.is_file() else run.checkpoint("best", "last", "previous")
    document, trust = stored(run).get("model"), (*trust, *owned(run, trust, ("model",)))
    if not isinstance(document, dict):
        raise RunError(f"{run.config} has no model: mend that file, or name another run.")
    if not (document.get("init_args") or {}).get("spec"):
        document = json.loads(model_argument(checkpoint, trust))
    with bounded(checkpoint, document):
        model = built(json.dumps(document), str(run.config), trust)
    load_weights(model, checkpoint)
    return model


def exported(folder: Path, trust: tuple[str, ...] = ()) -> Autoencoder:
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
    screen(model, description, trust)
    with bounded(weights, model, sealed=False):
        built_model = built(json.dumps(model), str(description), trust)
    try:
        built_model.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError, OSError) as error:
        last = str(error).splitlines()[-1].strip()
        raise RunError(f"{weights} is damaged, or not of the model in {DESCRIPTION} ({last}).") from error
    return built_model


def built(argument: str, source: str, trust: Sequence[str] = ()) -> Autoencoder:
    """A model from class_path and init_args as JSON, which may name classes of the packages that are trusted.

    Raises:
        RunError: They name classes or arguments that are not there: a package is missing, or of another version.
    """
    quieten()
    parser = LightningArgumentParser(**STRICT)
    parser.add_lightning_class_args(Autoencoder, "model", subclass_mode=True)
    try:
        with importing(trust):
            config = parser.parse_args([f"--model={argument}"])
            model: Autoencoder = parser.instantiate(config).model
    except ArgumentError as error:
        if denied := refused(str(error), f"{source} names"):
            raise denied from error
        said = diagnose(str(error), [action.dest for action in parser._actions], {})
        raise RunError(f"{said} The model of {source} cannot be built here.") from error
    return model
