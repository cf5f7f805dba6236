"""Command-line arguments as the user means them: configs by name, runs by folder. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import yaml

from lit_ae import shipped
from lit_ae.errors import ConfigError, RunError
from lit_ae.runs import Run, latest, open_run

TRAINER_COMMANDS = ("fit", "validate", "test", "predict")
DEFAULT_CONFIG = "vae"


@dataclass(frozen=True)
class Request:
    """What a command line asks for.

    Args:
        argv: Arguments for the parser: files found, the config of an opened run first.
        run: The run that is opened, None where a new one is made.
        checkpoint: Checkpoint to load, None to start from scratch.
    """

    argv: list[str]
    run: Run | None = None
    checkpoint: Path | None = None
    configs: list[Path] = field(default_factory=list)


def resolve(argv: list[str]) -> Request:
    """Find what the arguments name.

    Raises:
        ConfigError: An unknown command, or a config that is not there.
        RunError: A run or a checkpoint that is not there.
    """
    command, *rest = argv
    if command.startswith("-"):
        return Request(argv)
    if command not in TRAINER_COMMANDS:
        near = get_close_matches(command, [*TRAINER_COMMANDS, "list"], n=1, cutoff=0.4)
        raise ConfigError(f"There is no command {command!r}: " + (f"did you mean {near[0]!r}?" if near else "see lit_ae --help."))
    if {"-h", "--help"} & set(rest):
        return Request(argv)
    named = take_positional(rest) if command != "fit" else None
    configs = [shipped.find(name) for name in take(rest, "--config", "-c")]
    wanted = [*([named] if named else []), *take(rest, "--ckpt_path")]
    run, checkpoint = None, None
    if wanted:
        run, checkpoint = find_checkpoint(wanted[-1], command, rest, configs)
    elif command != "fit":
        raise ConfigError(f"Which run? Name its folder: lit_ae {command} runs/vae/0")
    if run is not None:
        configs.insert(0, run.config)
    elif not configs and not peek(rest, "--model"):
        configs = [shipped.find(DEFAULT_CONFIG)]
    files = [item for path in configs for item in ("--config", str(path))]
    return Request([command, *files, *rest], run, checkpoint, configs)


def find_checkpoint(wanted: str, command: str, rest: list[str], configs: list[Path]) -> tuple[Run | None, Path]:
    """The run and the checkpoint that a folder, a file or `last` stands for."""
    prefer = ("last", "best") if command == "fit" else ("best", "last")
    if wanted == "last":
        run = latest(Path(([*peek(rest, "--runs")] or ["runs"])[-1]), run_name(rest, configs))
        return run, run.checkpoint(*prefer)
    path = Path(wanted)
    if path.suffix == ".ckpt" and not path.is_file():
        raise RunError(f"There is no checkpoint {path}: name one that exists, or the folder of a run.")
    if path.is_file() and not (path.parent.parent / "config.yaml").is_file():
        return None, path
    run = open_run(path)
    return run, path if path.is_file() else run.checkpoint(*prefer)


def run_name(rest: list[str], configs: list[Path]) -> str:
    """The name of the run that these arguments would make."""
    given = peek(rest, "--name")
    for path in reversed(configs or [shipped.find(DEFAULT_CONFIG)]):
        given = given or [name for name in [(yaml.safe_load(path.read_text()) or {}).get("name")] if name]
    models = [name.rsplit(".", 1)[-1].lower() for name in peek(rest, "--model")]
    return [*(given or models or [DEFAULT_CONFIG])][-1]


def peek(rest: list[str], *flags: str) -> list[str]:
    """Values of a flag, in order."""
    return take(list(rest), *flags)


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
            value = next(items, "")
            if not value or value.startswith("--"):
                raise ConfigError(f"{flag} needs a value.")
            values.append(value)
    rest[:] = kept
    return values


def take_positional(rest: list[str]) -> str | None:
    """Remove a leading argument that is no flag, and return it."""
    return rest.pop(0) if rest and not rest[0].startswith("-") else None
