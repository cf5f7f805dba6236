"""The Lightning CLI, with the datamodule built first, short class names and a run folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import yaml
from jsonargparse import ArgumentError, Namespace
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from datamodules.base import DataModule
from lit_ae import __version__, checked, loops, requeue, restoring, watching
from lit_ae.arguments import TRAINER_COMMANDS, Request, unadmitted
from lit_ae.bounded import bounded
from lit_ae.callbacks.non_finite import watched
from lit_ae.callbacks.predictions import PredictionWriter
from lit_ae.callbacks.progress import Progress
from lit_ae.diagnose import diagnose
from lit_ae.errors import ConfigError, RunError
from lit_ae.jobs import testing
from lit_ae.loggers import MetricsCSV
from lit_ae.models.base import Autoencoder
from lit_ae.profiling import Unprofiled
from lit_ae.recording import Explicit, Record, checkpoints
from lit_ae.runs import new_run, requeued
from lit_ae.settings import announce, fill_spec, listed, placed, unique
from lit_ae.stopping import Stopped
from lit_ae.storage import AtomicCheckpointIO, load_weights, model_argument
from lit_ae.trackers import forgiven

LARGEST_SEED = 2**32 - 1  # numpy's
KEPT = ("seed_everything", "runs", "name", "trainer", "model", "data")
STRICT: dict[str, Any] = {
    "exit_on_error": False,
    "allow_abbrev": False,  # half a key is a misspelt key
    "dump_header": [f"lit_ae {__version__}"],
}


class LitCLI(LightningCLI):
    """fit, validate, test and predict for any variant and any datamodule.

    Args:
        request: What the command line asks for.
    """

    def __init__(self, request: Request) -> None:
        # Adam's moments of pixels that are hardly ever lit decay into denormals, which slow a CPU step by a third; the
        # flag must be set before the first thread starts
        torch.set_flush_denormal(True)
        self.request = request
        argv = request.argv
        if request.checkpoint and not request.run:  # a lone file: its model comes first, all else beats it
            argv = [argv[0], f"--model={model_argument(request.checkpoint, request.trusted)}", *argv[1:]]
        super().__init__(
            Autoencoder,
            pl.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            parser_kwargs={**STRICT, "prog": "lit_ae", **{name: dict(STRICT) for name in TRAINER_COMMANDS}},
            args=argv,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what names the run folder, and our defaults."""
        parser.add_argument("--runs", type=str, default="runs", help="Folder of all runs.")
        parser.add_argument("--name", type=str | None, default=None, help="Name of the run; by default the variant's.")
        parser.set_defaults({"data": {"class_path": "datamodules.digits.Digits"}})

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "test":
            testing.add_flags(parser)
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; Lightning's own warns of `args` beside `sys.argv`, which here are the same."""
        try:
            self.config = parser.parse_args(args)
        except ArgumentError as error:
            keys = [action.dest for action in self._parser(args[0])._actions] if args[0] in TRAINER_COMMANDS else []
            texts = {str(path): path.read_text(encoding="utf-8") for path in self.request.configs}
            if denied := unadmitted(str(error), self.request):
                raise denied from error
            said = diagnose(str(error), keys, texts)
            if source := self.faulty(parser, args):
                raise RunError(f"{said} That is in {source}: name another one.") from error
            raise ConfigError(said) from error
        seed = self.config[self.config.subcommand].seed_everything
        if not 0 <= int(seed) <= LARGEST_SEED:
            raise ConfigError(f"--seed_everything is {str(seed)[:50]}: give a number from 0 to {LARGEST_SEED:,}.")
        if self.request.run:
            trainer = self.config[self.config.subcommand].trainer
            for key in ("callbacks", "logger"):  # the run's own overlays may have been given once more
                trainer[key] = unique(trainer[key])
            self.stored = yaml.safe_load(self.request.run.config.read_text(encoding="utf-8"))
            announce(self.stored, self.plain_config(self.config.subcommand))
        if self.config.subcommand == "test":  # a mistake is found before the trainer's pass
            self.asked = testing.asked(self.config.test)

    def faulty(self, parser: LightningArgumentParser, args: list[str]) -> Path | None:
        """The run or the checkpoint that is opened, where the parser refuses it even without any flag."""
        run = self.request.run
        source, count = (run.config, 3) if run else (self.request.checkpoint, 2)  # the command, then what is opened
        if source is not None:
            try:
                parser.parse_args(args[:count])
            except ArgumentError:
                return source
        return None

    def _parse_ckpt_path(self) -> None:
        """Leave the configuration alone: `arguments.resolve` put the run's own config first, flags come after."""

    def instantiate_classes(self) -> None:
        """Build the datamodule and the model, then the run folder and the trainer."""
        self.build_parts()
        config = self.config[self.subcommand]
        if self.subcommand == "fit":
            self.try_optimizer()
        self.folder = self.request.run or new_run(Path(config.runs), config.name or type(self.model).__name__.lower())
        with self.guarded():
            try:
                self.trainer = self.build_trainer(config.trainer)
            except (ValueError, TypeError) as error:
                raise ConfigError(f"trainer: {error}") from error
            except RuntimeError as error:
                if "stateful callback" not in str(error):
                    raise
                said = str(error).partition(".")[0]
                raise ConfigError(f"trainer.callbacks: {said}: leave one out.") from error

    def build_parts(self) -> None:
        """Build the datamodule, tell the model of it, then build the model."""
        self.datamodule = self.build("data")
        if isinstance(self.datamodule, DataModule):
            fill_spec(self.config[self.subcommand], self.datamodule)
            del self.config_dump  # made while building the data: the checkpoint would keep the empty spec
        if self.request.checkpoint:  # for `fit` too: a file that does not fit is found before anything starts
            with bounded(self.request.checkpoint, self.config[self.subcommand].model.as_dict()):
                self.model = self.build("model")
            load_weights(self.model, self.request.checkpoint)
        else:
            self.model = self.build("model")

    def try_optimizer(self) -> None:
        """Build the optimizer and the scheduler once, so that a value they refuse is found before anything starts."""
        key = "optimizer"
        try:
            optimizer = self.model.build_optimizer()
            key = "lr_scheduler"
            self.model.build_schedulers(optimizer)
        except (ValueError, TypeError, RuntimeError) as error:
            raise ConfigError(f"--model.{key}: {error}") from error

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Leave no folder behind where a new run fails before its first checkpoint."""
        try:
            yield
        except Exception as error:
            lost = isinstance(error, watching.Lost)  # the run is to go on in this folder
            if not self.request.run and not lost and int(os.environ.get("LOCAL_RANK", 0)) == 0:
                self.folder.discard()
            if isinstance(error, MisconfigurationException):
                raise ConfigError(f"trainer: {error}") from error
            raise

    def build(self, key: str, value: Any = None) -> Any:
        """Instantiate one part of the configuration: `data`, `model` or `trainer`."""
        command = self.subcommand
        part = Namespace({key: self.config[command][key] if value is None else value})
        return self.parser.instantiate(Namespace({"subcommand": command, command: part}))[command][key]

    def build_trainer(self, config: Namespace) -> pl.Trainer:
        """Build the trainer, with a CSV log, checkpoints and a progress bar in the run folder unless refused."""
        command: str = self.subcommand  # type: ignore[assignment]
        settings = vars(self.build("trainer", placed(config, str(self.folder.folder))))
        loggers, callbacks = listed(settings["logger"]), listed(settings["callbacks"])
        training = command == "fit"
        if settings["logger"] is not False:
            folder = self.folder.folder if training else self.folder.folder / command
            loggers.insert(0, MetricsCSV(folder))
            loggers = loggers if settings["fast_dev_run"] else forgiven(loggers)
        if settings["enable_checkpointing"] is not False and training:
            callbacks += checkpoints(self.folder, settings["limit_val_batches"] != 0)
            settings["plugins"] = [*listed(settings["plugins"]), AtomicCheckpointIO()]
        else:
            settings["enable_checkpointing"] = False
        if training and not settings["fast_dev_run"]:
            callbacks.append(Record(self.folder.config, self.dump(command)))
        if self.request.run and training:
            callbacks.append(Explicit(self.stored["model"], self.plain_config("fit")["model"]))
        if training:
            callbacks = watched(callbacks)
        if command == "predict":
            callbacks.append(PredictionWriter())
        bars = [callback for callback in callbacks if isinstance(callback, ProgressBar)]
        if settings["enable_progress_bar"] is not False and not bars:
            callbacks.append(Progress())
        if settings["enable_model_summary"] is None:
            settings["enable_model_summary"] = False  # a table of nine lines, on stdout
        settings["profiler"] = settings["profiler"] or Unprofiled()
        settings |= {"logger": loggers or False, "callbacks": callbacks, "default_root_dir": self.folder.folder}
        trainer = pl.Trainer(**settings)
        restoring.install(trainer)
        watching.install(trainer)
        loops.leave_signals_alone(trainer)
        return trainer

    def dump(self, command: str) -> str:
        """The configuration in full, as config.yaml holds it: without what only one command takes."""
        kept = {key: value for key, value in vars(self.config[command]).items() if key in KEPT}
        return self._parser(command).dump(Namespace(kept), skip_none=False, skip_validation=True)

    def plain_config(self, command: str) -> dict[str, Any]:
        """The configuration in full as plain values."""
        plain: dict[str, Any] = yaml.safe_load(self.dump(command))
        return plain

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        checkpoint = self.request.checkpoint
        if not self.request.run and requeued(self.folder.folder):
            checkpoint = checked.newest(self.folder.checkpoints)
        resumed = {"ckpt_path": checkpoint, "weights_only": True} if subcommand == "fit" else {}
        quiet = {"verbose": False} if subcommand == "test" else {}  # its report is the one table
        return {"model": self.model, "datamodule": self.datamodule, **resumed, **quiet}

    def _run_subcommand(self, subcommand: str) -> None:
        """Run, and leave with the status of a process that was told to stop."""
        try:
            with self.guarded(), watching.heard(self.trainer):
                super()._run_subcommand(subcommand)
            if subcommand == "fit":
                requeue.unmark(self.trainer)
            if self.trainer.is_global_zero and not self.folder.config.is_file():
                self.folder.discard()  # a trial of a few batches (fast_dev_run), or an evaluation of a lone checkpoint
        except Stopped as stop:
            if subcommand == "fit" and any(self.folder.checkpoints.glob("last.ckpt")):
                rank_zero_info(f"Stopped: go on with lit_ae fit --ckpt_path {self.folder.folder}")
                sys.exit(stop.code)
            if subcommand == "fit" and self.trainer.global_step:
                trial = bool(self.trainer.fast_dev_run)  # type: ignore[attr-defined]
                reason = "this was a trial of a few batches" if trial else "--trainer.enable_checkpointing is false"
                rank_zero_info(f"Stopped: nothing was saved, as {reason}.")
                if trial and self.trainer.is_global_zero:
                    self.folder.discard()
                sys.exit(stop.code)
            raise
