"""A finished run as Python objects: its model with its weights, its data, and the batches that both agree on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from jsonargparse import ArgumentError, Namespace
from lightning.pytorch.cli import LightningArgumentParser

from datamodules.base import DataModule
from lit_ae.arguments import owned, stored
from lit_ae.batch import Batch
from lit_ae.bounded import bounded
from lit_ae.checked import local
from lit_ae.diagnose import diagnose
from lit_ae.errors import ConfigError, DataError, RunError
from lit_ae.launch import import_classes, quieten
from lit_ae.lightning_cli import STRICT
from lit_ae.models.base import Autoencoder
from lit_ae.runs import Run, open_run
from lit_ae.settings import fill_spec
from lit_ae.storage import load_weights
from lit_ae.trust import checked, importing, refused, typed

Split = Literal["train", "val", "test"]
STAGES = {"train": "fit", "val": "validate", "test": "test"}


@dataclass(frozen=True)
class Opened:
    """A run that was opened: in evaluation mode, with the weights of its best checkpoint.

    Args:
        run: Its folder.
        name: What the run is called, or else its variant.
        model: Its model.
        data: Its data, as its config.yaml describes them.
        checkpoint: The file that the weights come from.
    """

    run: Run
    name: str
    model: Autoencoder
    data: pl.LightningDataModule
    checkpoint: Path

    @property
    def variant(self) -> str:
        """Name of the model's class."""
        return type(self.model).__name__

    @property
    def device(self) -> torch.device:
        """Where the model lies, and where its batches come."""
        return self.model.device

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classes, where the data have them."""
        return self.data.class_names if isinstance(self.data, DataModule) else None

    def batches(self, split: Split = "test") -> Iterator[Batch]:
        """All batches of a split; those for training as one epoch of training sees them, in its order."""
        self.data.prepare_data()
        self.data.setup(STAGES[split])
        loaders = {"train": self.data.train_dataloader, "val": self.data.val_dataloader}
        yield from self._moved(loaders.get(split, self.data.test_dataloader)())

    def ordered(
        self,
        split: Split = "test",
        batch_size: int | None = None,
        shard: tuple[int, int] = (0, 1),
        rows: torch.Tensor | None = None,
    ) -> Iterator[Batch]:
        """All batches of a split in the order of the data, as evaluation sees them: no shuffling, nothing twice.

        Args:
            split: Which samples; "test" are those of `--data` where it was given.
            batch_size: Samples per batch; by default that of the data.
            shard: Number of this process, and their number w: it gets every w-th batch.
            rows: Which samples of the split, by their number in it; None for all, as it is where others load the data.
        """
        if not isinstance(self.data, DataModule):
            yield from self.batches(split)
            return
        self.data.prepare_data()
        self.data.setup(STAGES[split])
        self.data.eval_batch_size = batch_size or self.data.eval_batch_size
        batches = self._moved(self.data.loader(split, shard=shard, rows=rows))
        yield from (batch for batch in batches if batch.weight)  # a process that has run out repeats its first one

    def count(self, split: Split = "test") -> int | None:
        """Number of samples of a split, None where nobody knows."""
        return len(self.data.split(split)[1]) if isinstance(self.data, DataModule) else None

    def _moved(self, batches: Iterable[Any]) -> Iterator[Batch]:
        checked = False
        for batch in batches:
            if not isinstance(batch, Batch):
                raise DataError(f"{type(self.data).__name__} yields {type(batch).__name__}, not our Batch.")
            if not checked:
                self.model.check(batch)
                checked = True
            parts = (None if part is None else part.to(self.device) for part in batch[:4])
            yield Batch(*parts, weight=batch.weight)  # type: ignore[arg-type, misc]

    def first(self, n: int, split: Split = "test") -> Batch:
        """The first n samples of a split as one batch; fewer where there are no more."""
        parts, found = [], 0
        for batch in self.batches(split):
            parts.append([None if part is None else part[: n - found] for part in batch[:4]])
            found += len(batch.x)
            if found >= n:
                break
        joined = [None if column[0] is None else torch.cat(column) for column in zip(*parts, strict=True)]
        return Batch(*joined)  # type: ignore[arg-type]


def opened(
    path: str | Path,
    flags: Sequence[str] = (),
    given: str | Path | None = None,
    device: str = "cpu",
    bare: bool = False,
    trust: Sequence[str] = (),
) -> Opened:
    """Open a run by its folder, or by a checkpoint in it; nobody needs to say what it holds.

    Args:
        path: The folder, whose best checkpoint is taken, or a checkpoint.
        flags: Settings that beat the run's own: `--data.root elsewhere`.
        given: A file or folder with samples of the same kind, which take the place of the test split.
        device: Where the model goes: "cpu", "cuda", "cuda:1", or "auto" for an accelerator where there is one.
        bare: Leave the data where they are until somebody asks for them: the model alone is wanted.
        trust: Packages whose classes the run of somebody else may name, beside ours, torch's and Lightning's.

    Raises:
        RunError: There is no run, it holds no checkpoint, or it cannot be rebuilt.
        ConfigError: A flag does not fit, there is no such device, or the data cannot come from elsewhere.
        DataError: Its data are missing, or are others than it was trained on.
    """
    path, where = local(path), placed(device)
    run = open_run(path)
    if path.suffix == ".ckpt" and not path.is_file():
        raise RunError(f"There is no checkpoint {path}: name one that exists, or the folder of a run.")
    checkpoint = path if path.is_file() else run.checkpoint("best", "last", "previous")
    trusted = (*checked(trust), *typed(flags))
    document, trusted = stored(run), (*trusted, *owned(run, trusted, ("model", "data")))
    if missing := [key for key in ("model", "data") if not isinstance(document.get(key), dict)]:
        raise RunError(f"{run.config} has no {missing[0]}: mend that file, or name another run.")
    import_classes()
    quieten()
    parser = LightningArgumentParser(**STRICT)
    parser.add_lightning_class_args(Autoencoder, "model", subclass_mode=True)
    parser.add_lightning_class_args(pl.LightningDataModule, "data", subclass_mode=True)
    with importing(trusted):
        config = parsed(parser, run, document, flags)
        data = parser.instantiate(Namespace(data=config.data)).data
    if given is not None:
        bring(data, Path(given))
    if isinstance(data, DataModule) and not (
        (given or bare) and config.model.get("init_args", Namespace()).get("spec")
    ):
        fill_spec(config, data)  # samples from elsewhere need no training data beside them
    with importing(trusted), bounded(checkpoint, config.model.as_dict()):
        model = parser.instantiate(Namespace(model=config.model)).model
    load_weights(model, checkpoint)
    name = document.get("name") or type(model).__name__
    return Opened(run, name, model.to(where).eval().requires_grad_(False), data, checkpoint)


def placed(device: str) -> torch.device:
    """A device by its name.

    Raises:
        ConfigError: There is none.
    """
    if device == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        torch.empty(0, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"There is no device {device!r} here: leave out --device, or name cpu.") from error


def bring(data: pl.LightningDataModule, path: Path) -> None:
    """Let the test split be samples from elsewhere.

    Raises:
        ConfigError: The datamodule reads no others.
        DataError: They are missing or damaged.
    """
    if not isinstance(data, DataModule):
        raise ConfigError(f"{type(data).__name__} reads no other data than its own: leave out --data.")
    data.bring(path)


def parsed(parser: LightningArgumentParser, run: Run, document: dict[str, Any], flags: Sequence[str]) -> Namespace:
    """The run's model and data as the parser understands them, with flags on top.

    Raises:
        RunError: They name classes or arguments that are not there: a package is missing, or of another version.
        ConfigError: A flag does not fit.
    """
    keys = [action.dest for action in parser._actions]
    parts = [f"--{key}={json.dumps(document[key])}" for key in ("model", "data")]
    try:
        config = parser.parse_args(parts)
    except ArgumentError as error:
        said = diagnose(str(error), keys, {str(run.config): run.config.read_text(encoding="utf-8")})
        if (denied := refused(str(error), f"{run.config} names")) is not None:
            raise denied from error
        raise RunError(f"{said} The run cannot be opened: mend that file, or name another run.") from error
    try:
        return parser.parse_args([*parts, *flags]) if flags else config
    except ArgumentError as error:
        raise ConfigError(diagnose(str(error), keys, {})) from error
