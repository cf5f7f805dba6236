"""Runs one of the trainer's commands, from a resolved request to the closing lines."""

from __future__ import annotations

import importlib
import logging
import os
import pkgutil
import sys
import warnings
from pathlib import Path

import datamodules
import lit_ae.callbacks
import lit_ae.models
from lit_ae import trust, watching
from lit_ae.arguments import Request
from lit_ae.errors import ConfigError
from lit_ae.lightning_cli import LitCLI

NOISE = ("Tip:", "TPU available", "Seed set to", "Trainer.fit` stopped", "was configured so")
OURS = tuple(str(Path(package.__path__[0]).resolve()) + os.sep for package in (lit_ae, datamodules))
FORMAT = warnings.formatwarning  # Lightning's, which the import above installs
SHOWN = ("elbo", "distortion", "rate")


def launch(request: Request) -> int:
    """Run one of the trainer's commands and return its exit status."""
    watching.watch_parent()
    import_classes()
    quieten()
    with trust.importing(request.trusted):
        cli = LitCLI(request)
    if cli.subcommand == "fit" and cli.trainer.is_global_zero:
        report(cli)
    if cli.subcommand == "test" and cli.trainer.is_global_zero:
        tested = importlib.import_module("lit_ae.jobs.report")  # which imports what opens runs, and that this module
        for line in tested.after(cli):
            print(line)
    return 0


def report(cli: LitCLI) -> None:
    """Say where the run is, how it ended, and which pictures it drew."""
    values = cli.trainer.callback_metrics
    if cli.folder.config.is_file():  # not after a trial of a few batches
        print(f"run      {cli.folder.folder}")
    if not values and cli.request.checkpoint:
        epochs = cli.trainer.current_epoch
        print(f"It has trained for {epochs} epochs already: raise --trainer.max_epochs to go on.", file=sys.stderr)
    if nats := [f"{name} {values[f'val/{name}'].item():.2f}" for name in SHOWN if f"val/{name}" in values]:
        print(f"val      {', '.join(nats)} nats per sample; mse {values['val/mse'].item():.3f}")
    for picture in sorted(path for path in cli.folder.figures.glob("*") if path.suffix in (".png", ".gif")):
        print(f"picture  {picture}")


def import_classes() -> None:
    """Import every module that defines a class with a short name: ours, the plugins', the working directory's."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last: a user's own folder `datamodules` must not shadow ours
    for package in (lit_ae.models, lit_ae.callbacks, datamodules):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    for plugin in trust.points():
        try:
            plugin.load()
        except Exception as error:  # somebody else's module may raise anything
            raise ConfigError(f"The plugin {plugin.value} does not import ({error}): mend or uninstall it.") from error


def quieten() -> None:
    """Drop what Lightning says of other products and of its own internals; the rest goes to stderr."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        if logger.handlers:
            handler = logging.StreamHandler()  # a new one: stderr may have changed since the import
            handler.addFilter(wanted)
            logger.handlers = [handler]
    for text in (".*LeafSpec.*", "Checkpoint directory .* exists and is not empty"):  # the directory is the run's
        warnings.filterwarnings("ignore", text, module=r"lightning\.pytorch")
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"lightning\.pytorch")
    warnings.formatwarning = formatted


def formatted(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning of ours in one line, without the place in our source; anybody else's as it was."""
    if filename.startswith(OURS):
        return f"lit_ae: {' '.join(str(message).split())}\n"
    return FORMAT(message, category, filename, lineno, line)


def wanted(record: logging.LogRecord) -> bool:
    """Whether a message is of use here."""
    return not any(word in record.getMessage() for word in NOISE)
