"""The Lightning CLI, with the datamodule built first, short class names and a run folder."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from jsonargparse import Namespace
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger

import datamodules
import lit_ae.callbacks
import lit_ae.models
from datamodules.base import DataModule
from lit_ae.arguments import TRAINER_COMMANDS, Request
from lit_ae.errors import DataError
from lit_ae.models.base import Autoencoder
from lit_ae.runs import Run, new_run

PLUGINS = "lit_ae.plugins"  # entry points: packages whose classes get short names
KEPT = ("seed_everything", "runs", "name", "trainer", "model", "data")
SHOWN = ("elbo", "distortion", "rate", "mse")


class LitCLI(LightningCLI):
    """fit, validate, test and predict for any variant and any datamodule.

    Args:
        request: What the command line asks for.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        import_classes()
        super().__init__(
            Autoencoder,
            pl.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            parser_kwargs={"exit_on_error": False, **{name: {"exit_on_error": False} for name in TRAINER_COMMANDS}},
            args=request.argv,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what names the run folder, and our defaults."""
        parser.add_argument("--runs", type=str, default="runs", help="Folder of all runs.")
        parser.add_argument("--name", type=str | None, default=None, help="Name of the run; by default the variant's.")
        parser.set_defaults({"data": {"class_path": "datamodules.digits.Digits"}})

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; Lightning's own warns of `args` beside `sys.argv`, which here are the same."""
        self.config = parser.parse_args(args)

    def _parse_ckpt_path(self) -> None:
        """Leave the configuration alone: `arguments.resolve` put the run's own config first, flags come after."""

    def instantiate_classes(self) -> None:
        """Build the datamodule, tell the model of it, then build the model, the run folder and the trainer."""
        config = self.config[self.subcommand]
        self.datamodule = self.build("data")
        if isinstance(self.datamodule, DataModule):
            fill_spec(config, self.datamodule)
            del self.config_dump  # made while building the data: the checkpoint would keep the empty spec
        self.model = self.build("model")
        self.folder = self.request.run or new_run(Path(config.runs), config.name or type(self.model).__name__.lower())
        self.trainer = self.build_trainer(config.trainer)

    def build(self, key: str, value: Any = None) -> Any:
        """Instantiate one part of the configuration: `data`, `model` or `trainer`."""
        command = self.subcommand
        part = Namespace({key: self.config[command][key] if value is None else value})
        return self.parser.instantiate_classes(Namespace({"subcommand": command, command: part}))[command][key]

    def build_trainer(self, config: Namespace) -> pl.Trainer:
        """Build the trainer, with a CSV log, checkpoints and a progress bar in the run folder unless refused."""
        settings = vars(self.build("trainer", placed(config, str(self.folder.folder))))
        loggers, callbacks = listed(settings["logger"]), listed(settings["callbacks"])
        training = self.subcommand == "fit"
        if settings["logger"] is not False:
            folder = self.folder.folder if training else self.folder.folder / self.subcommand
            loggers.insert(0, CSVLogger(folder, name="", version=""))
        if settings["enable_checkpointing"] is not False and training:
            callbacks += checkpoints(self.folder, settings["limit_val_batches"] != 0)
        if training:
            callbacks.append(Record(self.folder.config, self.dump(), self.config_dict()))
        settings |= {"logger": loggers or False, "callbacks": callbacks, "default_root_dir": self.folder.folder}
        return pl.Trainer(**settings)

    def dump(self) -> str:
        """The configuration in full, as config.yaml holds it: without what only one command takes."""
        command = self.subcommand
        kept = {key: value for key, value in vars(self.config[command]).items() if key in KEPT}
        return self._parser(command).dump(Namespace(kept), skip_none=False, skip_validation=True)

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain values, for loggers."""
        return yaml.safe_load(self.dump())

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        checkpoint = self.request.checkpoint
        return {"model": self.model, "datamodule": self.datamodule, "ckpt_path": checkpoint and str(checkpoint)}


def checkpoints(run: Run, validates: bool) -> list[ModelCheckpoint]:
    """Keep last.ckpt, also when training is cut off, and best.ckpt by validation loss; a continued run goes on with them."""
    last = ModelCheckpoint(run.checkpoints, "last", save_on_exception=True, enable_version_counter=False)
    best = ModelCheckpoint(run.checkpoints, "best", monitor="val/loss", enable_version_counter=False)
    return [last, best] if validates else [last]


def listed(value: Any) -> list[Any]:
    """A trainer argument that may be one thing, several, or none."""
    return list(value) if isinstance(value, Iterable) else [value] if value not in (None, True, False) else []


def placed(value: Any, folder: str) -> Any:
    """Replace the placeholder {run} in every string of a configuration by the run folder."""
    if isinstance(value, str):
        return value.replace("{run}", folder)
    if isinstance(value, list):
        return [placed(item, folder) for item in value]
    if isinstance(value, dict):
        return {key: placed(item, folder) for key, item in value.items()}
    if isinstance(value, Namespace):
        return Namespace({key: placed(item, folder) for key, item in vars(value).items()})
    return value


def fill_spec(config: Namespace, data: DataModule) -> None:
    """Write what the model must know of its data into its configuration.

    Raises:
        DataError: A model that was trained on other shapes is given these data.
    """
    config.model.init_args = init_args = config.model.get("init_args", Namespace())
    stored, spec = init_args.get("spec"), data.spec
    if stored is None or stored["input_shape"] is None:
        init_args["spec"] = Namespace(asdict(spec))
    elif tuple(stored["input_shape"]) != spec.input_shape:
        raise DataError(
            f"The run was trained on samples of shape {tuple(stored['input_shape'])}, these data have "
            f"{spec.input_shape}: give it the data that it was trained on, or --data.transforms that lead there."
        )


class Record(Callback):
    """Writes config.yaml when training really starts, and tells the loggers.

    Args:
        path: The file.
        text: Its content.
        config: The same as plain values.
    """

    def __init__(self, path: Path, text: str, config: dict[str, Any]) -> None:
        self.path, self.text, self.config = path, text, config

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write, on the first process only."""
        if trainer.is_global_zero and not trainer.fast_dev_run:
            partial = self.path.with_suffix(".partial")
            partial.write_text(self.text, encoding="utf-8")
            partial.replace(self.path)
            for logger in trainer.loggers:
                if not isinstance(logger, CSVLogger):
                    logger.log_hyperparams(self.config)


def launch(request: Request) -> int:
    """Run one of the trainer's commands and return its exit status."""
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
