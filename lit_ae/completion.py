"""A script that lets a shell complete commands, flags, short class names and configs."""

from __future__ import annotations

import argparse
import inspect

import shtab
from lightning.pytorch import Trainer

from lit_ae import catalog
from lit_ae.arguments import COMMANDS, TRAINER_COMMANDS
from lit_ae.diagnose import parameters
from lit_ae.errors import ConfigError
from lit_ae.jobs import fit_sampler, sample, testing
from lit_ae.launch import import_classes

GENERAL = ("--config", "--print_config", "--model", "--data", "--seed_everything", "--runs", "--name", "--ckpt_path")
OPENING = {"fit-sampler": fit_sampler.parser, "sample": sample.parser}  # parsers of their own, which take a run


def script(shell: str) -> str:
    """The script for a shell: bash, zsh, tcsh and what else shtab knows.

    The parser's own generator walks every class that any flag could name, to any depth, and does not end.

    Raises:
        ConfigError: An unknown shell.
    """
    if shell not in shtab.SUPPORTED_SHELLS:
        raise ConfigError(f"There is no completion for {shell!r}: choose from {', '.join(shtab.SUPPORTED_SHELLS)}.")
    import_classes()
    named = {"--model": catalog.variants(), "--data": catalog.datamodules(), "--config": catalog.configs()}
    choices = {flag: [entry.name for entry in entries] for flag, entries in named.items()}
    flags = {*GENERAL, *(f"--trainer.{name}" for name in inspect.signature(Trainer).parameters)}
    for flag in ("--model", "--data"):
        flags |= {f"{flag}.{name}" for choice in choices[flag] for name in parameters(choice)}
    parser = argparse.ArgumentParser("lit_ae")
    commands = parser.add_subparsers()
    for name, summary in COMMANDS.items():
        if name in OPENING:
            opening = OPENING[name]()
            run = next(action for action in opening._actions if action.dest == "run")
            run.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
            commands.add_parser(name, help=summary, parents=[opening], add_help=False)
            continue
        command = commands.add_parser(name, help=summary)
        if name in TRAINER_COMMANDS:
            for flag in sorted(flags | {f"--{own}" for own in testing.FLAGS if name == "test"}):
                command.add_argument(flag, choices=choices.get(flag))
        if name in TRAINER_COMMANDS and name != "fit":
            command.add_argument("run").complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    return shtab.complete(parser, shell)
