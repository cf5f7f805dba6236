"""Runs one of the trainer's commands, from a resolved request to the closing lines."""

from __future__ import annotations

import importlib
import logging
import os
import pkgutil
import sys
import warnings
from importlib.metadata import entry_points

import torch
from lightning.pytorch.trainer.states import TrainerStatus

import datamodules
import lit_ae.callbacks
import lit_ae.models
from lit_ae.arguments import Request
from lit_ae.errors import RunError
from lit_ae.lightning_cli import LitCLI

PLUGINS = "lit_ae.plugins"  # entry points: packages whose classes get short names
SHOWN = ("elbo", "distortion", "rate", "mse")


def launch(request: Request) -> int:
    """Run one of the trainer's commands and return its exit status."""
    import_classes()
    quieten()
    cli = LitCLI(request)
    if cli.subcommand == "fit" and cli.trainer.is_global_zero:
        report(cli)
    return 0


def report(cli: LitCLI) -> None:
    """Say where the run is, how it ended, and which pictures it drew."""
    values = cli.trainer.callback_metrics
    shown = [f"{name} {values[f'val/{name}'].item():.2f}" for name in SHOWN if f"val/{name}" in values]
    print(f"run      {cli.folder.folder}")
    print(f"val      {', '.join(shown)} (nats per sample)")
    for picture in sorted(cli.folder.figures.glob("*.png")):
        print(f"picture  {picture}")


def import_classes() -> None:
    """Import every module that defines a class with a short name: ours, the plugins', the working directory's."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last: a user's own folder `datamodules` must not shadow ours
    for package in (lit_ae.models, lit_ae.callbacks, datamodules):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    for plugin in entry_points(group=PLUGINS):
        plugin.load()


def quieten() -> None:
    """Drop what Lightning says of other products and of its own internals."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(lambda record: "Tip:" not in record.getMessage())
    warnings.filterwarnings("ignore", module=r"lightning\.pytorch\.utilities\._pytree")
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"lightning\.pytorch")
