"""Command-line arguments as the user means them: configs by name, runs by folder. Imports no torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lit_ae import checked, documents, shipped, trust
from lit_ae.errors import ConfigError, LitAEError, RunError
from lit_ae.runs import Run, latest, open_run
from lit_ae.stamps import own

COMMANDS = {
    "fit": "train a variant; without arguments, a VAE on scikit-learn's digits",
    "validate": "evaluate a run on its validation data: lit_ae validate runs/vae/0",
    "test": "evaluate a run on its test data: lit_ae test runs/vae/0",
    "predict": "write a run's embeddings and reconstructions of its test data",
    "draw": "draw a picture from finished runs: lit_ae draw maps runs/ae/0 runs/vae/0",
    "fit-sampler": "fit a density to a run's latents or codes: lit_ae fit-sampler runs/ae/0 --kind gmm",
    "sample": "draw new samples from a run: lit_ae sample runs/vae/0 --n 10000 --save new.npz",
    "reconstruct": "write reconstructions, the worst first: lit_ae reconstruct runs/vae/0 --data photos",
    "embed": "write latents: lit_ae embed runs/vae/0 --data photos --out z.parquet",
    "decode": "turn latents or codes back into samples: lit_ae decode runs/vae/0 z.parquet",
    "interpolate": "walk between two samples: lit_ae interpolate runs/vae/0",
    "traverse": "sweep every latent dimension: lit_ae traverse runs/vae/0",
    "detect": "score anomalies: lit_ae detect runs/vae/0 --data photos",
    "compare": "a table and pictures of several runs: lit_ae compare runs/ae/0 runs/vae/0",
    "export": "write encoder and decoder for other programs: lit_ae export runs/vae/0 --format onnx",
    "explore": "a web page of the latent space: lit_ae explore runs/vae/0",
    "summary": "show a model's layers and draw them: lit_ae summary vae, or runs/vae/0",
    "list": "show variants, datamodules and configs",
}
TRAINER_COMMANDS = tuple(COMMANDS)[:4]
# each is `main` of the module of its name, _ for -, in lit_ae/jobs, which imports no torch at its top
JOBS = (
    "draw",
    "fit-sampler",
    "sample",
    "reconstruct",
    "embed",
    "decode",
    "interpolate",
    "traverse",
    "detect",
    "compare",
    "export",
    "explore",
    "summary",
)
DEFAULT_CONFIG = "vae"


@dataclass(frozen=True)
class Request:
    """What a command line asks for.

    Args:
        argv: Arguments for the parser: files found, the config of an opened run first.
        run: The run that is opened, None where a new one is made.
        checkpoint: Checkpoint to load, None to start from scratch.
        configs: Config files that the parser reads.
        trusted: Classes that the user named, here or in configs of their own.
        described: A run whose config.yaml is among the configs, and no config of the user's own.
    """

    argv: list[str]
    run: Run | None = None
    checkpoint: Path | None = None
    configs: list[Path] = field(default_factory=list)
    trusted: tuple[str, ...] = ()
    described: Run | None = None


def resolve(argv: list[str], described: Run | None = None) -> Request:
    """Find what the arguments name.

    Args:
        argv: The command line.
        described: A run whose config.yaml is among the configs, and no config of the user's own.

    Raises:
        ConfigError: An unknown command, or a config that is not there.
        RunError: A run or a checkpoint that is not there.
    """
    command, *rest = argv
    if command not in TRAINER_COMMANDS:
        near = get_close_matches(command, [*COMMANDS, "--help", "--version", "--print_shtab"], n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else "see lit_ae --help."
        raise ConfigError(f"There is no command {command[:100]!r}: {hint}")
    if {"-h", "--help"} & set(rest):
        return Request(argv)
    named = take_positional(rest) if command != "fit" else None
    configs = [shipped.find(documents.local(name, "--config")) for name in take(rest, "--config", "-c")]
    mine = [path for path in configs if described is None or path != described.config]
    trusted = trust.typed(rest, mine)
    wanted = [*([named] if named else []), *take(rest, "--ckpt_path")]
    documents.local(setting(rest, configs, "runs") or "", "--runs")
    run, checkpoint = None, None
    if wanted:
        run, checkpoint = find_checkpoint(wanted[-1], command, rest, configs)
    elif command != "fit":
        raise ConfigError(f"Which run? Name its folder: lit_ae {command} runs/vae/0")
    if opened := described or run:
        trusted += owned(opened, trusted)
    if run is not None:
        configs.insert(0, run.config)
    elif not checkpoint and not peek(rest, "--model") and not any(read(path).get("model") for path in configs):
        configs.insert(0, shipped.find(DEFAULT_CONFIG))  # what is given only lies over it: trainer/gpu, a logger
    files = [item for path in configs for item in ("--config", str(path))]
    return Request([command, *files, *rest], run, checkpoint, configs, trusted, described)


def find_checkpoint(wanted: str, command: str, rest: list[str], configs: list[Path]) -> tuple[Run | None, Path | None]:
    """The run and the checkpoint that a folder, a file or `last` stands for."""
    if wanted == "last":
        run = latest(Path(setting(rest, configs, "runs") or "runs"), run_name(rest, configs), train=command == "fit")
        begun = run.config.is_file()
        if begun and any(path.suffix != ".partial" for path in run.checkpoints.glob("*")):
            return run, chosen(run, command)
        if not int(os.environ.get("LOCAL_RANK") or 0):
            where = "in that folder" if begun else "as a new run"
            print(f"lit_ae: {run.folder} ended before its first checkpoint: it starts over, {where}.", file=sys.stderr)
        return run if begun else None, None
    path = checked.local(wanted)
    if path.suffix == ".ckpt" and not path.is_file():
        raise RunError(f"There is no checkpoint {path}: name one that exists, or the folder of a run.")
    if path.is_file() and not (path.parent.parent / "config.yaml").is_file():
        return None, checked.sound(path)
    run = open_run(path)
    return run, checked.sound(path) if path.is_file() else chosen(run, command)


def chosen(run: Run, command: str) -> Path:
    """The checkpoint of a run that a command takes; training goes on from the newest one that is sound."""
    if command == "fit" and (found := checked.newest(run.checkpoints)) is not None:
        return found
    return checked.sound(run.checkpoint("best", "last", "previous"))


def run_name(rest: list[str], configs: list[Path]) -> str:
    """The name of the run that these arguments would make."""
    if name := setting(rest, configs, "name"):
        return name
    models = [document["model"] for document in map(read, configs) if isinstance(document.get("model"), dict)]
    paths = [*(model["class_path"] for model in models if "class_path" in model), *peek(rest, "--model")]
    return paths[-1].rsplit(".", 1)[-1].lower() if paths else DEFAULT_CONFIG


def setting(rest: list[str], configs: Iterable[Path], key: str) -> str | None:
    """Value of a top-level key: the last flag's, else the last config's that has it."""
    values = [read(path).get(key) for path in configs] + peek(rest, f"--{key}")
    return next((str(value) for value in reversed(values) if value), None)


def read(path: Path) -> dict[str, Any]:
    """A config file.

    Raises:
        ConfigError: It is not YAML, or holds no keys.
    """
    document = documents.read(path)
    if not isinstance(document, dict):
        found = "is empty" if document is None else "holds no keys"
        raise ConfigError(f"{path} {found}: a config has keys such as model, data and trainer.")
    if odd := next((key for key in document if not isinstance(key, str)), None):
        raise ConfigError(f"{path} has the key {odd!r}: a config has keys such as model, data and trainer.")
    return document


def peek(rest: list[str], *flags: str) -> list[str]:
    """Values of a flag, in order."""
    return take(list(rest), *flags)


def stored(run: Run) -> dict[str, Any]:
    """A run's config.

    Raises:
        RunError: It is damaged.
    """
    try:
        return read(run.config)
    except ConfigError as error:
        raise RunError(f"{error} The run cannot be opened: mend that file, or name another run.") from error


def owned(run: Run, trusted: Sequence[str] = (), keys: Sequence[str] | None = None) -> tuple[str, ...]:
    """What a run's config names where the user made that run; of anybody else's, nothing.

    Args:
        run: The run.
        trusted: What the user admits.
        keys: Parts of the config that will be built, by default all.

    Raises:
        RunError: It is damaged, or somebody else's and names a class that is not on the list.
    """
    document = stored(run)
    if own(run.config):
        return trust.widened(trust.placeless(document))
    trust.screen([document.get(key) for key in keys or document], run.config, trusted)
    return ()


def unadmitted(message: str, request: Request) -> LitAEError | None:
    """What the parser said, where it refused to import a class; None where it said anything else."""
    if (source := request.described or request.run) is not None and not own(source.config):
        return trust.refused(message, f"{source.config} names")
    if request.checkpoint is not None and request.run is None:
        return trust.refused(message, f"{request.checkpoint} names")
    return trust.refused(message, "The configuration leads to", ConfigError)


def take(rest: list[str], *flags: str) -> list[str]:
    """Remove a flag with its values from the arguments, and return these."""
    values, kept, items = [], [], iter(rest)
    for item in items:
        flag, equals, value = item.partition("=")
        if flag not in flags:
            kept.append(item)
        elif equals:
            values.append(value)
        else:
            values.append(next(items, ""))
        if flag in flags and (not values[-1] or values[-1].startswith("--")):
            raise ConfigError(f"{flag} needs a value.")
    rest[:] = kept
    return values


def take_positional(rest: list[str]) -> str | None:
    """Remove a leading argument that is no flag, and return it."""
    return rest.pop(0) if rest and not rest[0].startswith("-") else None
