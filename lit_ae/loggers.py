"""Where metrics go: a table in the run folder, TensorBoard, Weights & Biases."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from lit_ae.errors import StorageError
from lit_ae.event_files import TensorBoard

__all__ = ["MetricsCSV", "TensorBoard", "WandB"]

Row = dict[str, Any]
FIRST = ("step", "epoch")  # columns on the left; the others follow in alphabetical order


class MetricsCSV(Logger):
    """One row per logged step in `metrics.csv`, on disk as soon as it is logged.

    A continued run goes on in the same table: rows after the step at which it goes on are dropped, so that the table
    is the one that an uninterrupted run would have written. Values logged at one step share a row.

    Args:
        save_dir: Folder of the table.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """

    def __init__(self, save_dir: str | Path) -> None:
        super().__init__()
        self.path = Path(save_dir) / "metrics.csv"
        self._columns: list[str] | None = None  # None until the first row is logged
        self._row: Row = {}  # the last row, which later values of the same step join
        self._end = 0  # where the last row begins in the file

    @property
    def name(self) -> str:
        """Nothing: the table lies in the folder itself."""
        return ""

    @property
    def version(self) -> str:
        """Nothing: the table lies in the folder itself."""
        return ""

    @property
    def save_dir(self) -> str:
        """Folder of the table."""
        return str(self.path.parent)

    @property
    def log_dir(self) -> str:
        """Folder of the table."""
        return self.save_dir

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run folder holds config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float | Tensor], step: int | None = None) -> None:
        """Write one row, or add to the last one."""
        number = step if step is not None else self._row.get("step", -1) + 1
        row = {"step": number, **{name: tidy(value) for name, value in metrics.items()}}
        try:
            if self._columns is None:
                self._open(number)
            assert self._columns is not None
            same = bool(self._row) and self._row["step"] == number
            self._row = {**self._row, **row} if same else row
            if new := self._row.keys() - set(self._columns):
                self._rewrite({*self._columns, *new}, self._rows())
            text = io.StringIO()
            csv.DictWriter(text, self._columns).writerow(self._row)
            self._put(text.getvalue().encode(), same)
        except OSError as error:
            reason = error.strerror or error
            raise StorageError(
                f"Cannot write {self.path} ({reason}): free space on the disk, or set --runs."
            ) from error

    def _open(self, step: int) -> None:
        """Take over what an earlier part of the run wrote up to a step."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = self._rows() if self.path.exists() else []
        kept = [row for row in rows if (row.get("step") or "").isdigit() and int(row["step"]) <= step]
        columns = {name for row in kept for name, value in row.items() if value}
        if kept and int(kept[-1]["step"]) == step:
            self._row = {**{name: value for name, value in kept[-1].items() if value}, "step": step}
        self._rewrite({*FIRST, *columns}, kept)

    def _put(self, row: bytes, same: bool) -> None:
        """Add a row, or write the last one anew; where it finds no room, the table stays as it was."""
        with self.path.open("rb") as file:
            self._end = file.seek(self._end) if same else file.seek(0, 2)
            before = file.read()
        try:
            with self.path.open("r+b") as file:
                file.seek(self._end)
                file.write(row)  # over the row of the same step, in one piece: a kill leaves this one or that one
                file.truncate()
        except OSError:
            with contextlib.suppress(OSError), self.path.open("r+b") as file:
                file.seek(self._end)
                file.truncate()
                file.write(before)
            raise

    def _rows(self) -> list[Row]:
        """All rows but a last one that has no end: the process or the machine died while it was written."""
        text = self.path.read_bytes().partition(b"\0")[0].decode(errors="replace")
        return list(csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline="")))

    def _rewrite(self, columns: Iterable[str], rows: list[Row]) -> None:
        rest = sorted(set(columns) - set(FIRST))
        self._columns = [*FIRST, *rest]
        partial = self.path.with_suffix(".partial")
        try:
            with partial.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self._columns, extrasaction="ignore")
                writer.writeheader()
                for row in rows:
                    self._end = file.tell()
                    writer.writerow(row)
            partial.replace(self.path)
        finally:
            partial.unlink(missing_ok=True)


def tidy(value: Any) -> Any:
    """A number as short as float32 allows."""
    value = value.item() if isinstance(value, Tensor) else value
    return f"{value:.9g}" if isinstance(value, float) else value


class WandB(WandbLogger):
    """Weights & Biases, which never ends or delays training.

    Without an API key, or where the server does not answer, the run is kept in `<save_dir>/wandb` to be sent later with
    `wandb sync`. A continued run goes on in the same W&B run. Nothing is ever asked on the terminal.

    Args:
        save_dir: Folder in which `wandb/` is made; "{run}" is the run folder.
        project: Name of the project.
        name: Name of the run; by default W&B invents one.
        entity: User or team that owns the project; by default that of the API key.
        group: Name that groups runs.
        tags: Words to filter runs by.
        offline: Never talk to the server.
        log_model: Also send checkpoints: the best at the end, or all of them.
        init_timeout: Seconds to wait for the server before training starts.
        finish_timeout: Seconds to wait at the end for what is still to be sent.
    """

    def __init__(
        self,
        save_dir: str | Path = ".",
        project: str = "lit_ae",
        name: str | None = None,
        entity: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        offline: bool = False,
        log_model: Literal["all"] | bool = False,
        init_timeout: float = 15.0,
        finish_timeout: float = 60.0,
    ) -> None:
        self._timeouts = init_timeout, finish_timeout
        mode: dict[str, Any] = {"mode": "offline"} if offline else {}
        super().__init__(
            name, save_dir, project=project, log_model=log_model, entity=entity, group=group, tags=tags, **mode
        )
        self._broken = False

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:  # a Run or a RunDisabled, whose stubs share no base
        """The W&B run, started on first use."""
        if self._experiment is None:
            Path(self._wandb_init["dir"]).mkdir(parents=True, exist_ok=True)
            self._wandb_init["id"] = self._id or self._earlier()
            try:
                run, reason = self._started(), ""
            except Exception as error:  # W&B's errors share no base class, and none of them may end training
                reason = f" is out of reach ({first_line(error)}), training goes on and"
                run = self._without_server()
            self._id = run.id
            if not run.disabled:
                kept = f"W&B{reason} keeps the run in {Path(run.dir).parent} for `wandb sync`"
                print(kept if run.offline else f"W&B {run.url}")
        return self._experiment

    def _started(self) -> Any:
        """The run, started without a word."""
        import wandb  # takes a second, which runs without it should not pay

        # silent on both levels: W&B would ask for a key, and look the user up for ten seconds to greet them
        wandb.setup(settings=wandb.Settings(silent=True))
        init, finish = self._timeouts
        self._wandb_init["settings"] = wandb.Settings(silent=True, init_timeout=init, finish_timeout=finish)
        return super().experiment

    def _without_server(self) -> Any:
        """Keep the run on disk; where even that fails, nowhere."""
        os.environ.pop("WANDB_SERVICE", None)  # the service of a process that called this one, perhaps gone since
        try:
            self._wandb_init["mode"] = "offline"
            return self._started()
        except Exception as error:  # see above
            print(f"W&B does not start ({first_line(error)}): training goes on without it")
            self._wandb_init["mode"] = "disabled"
            return super().experiment

    def _earlier(self) -> str | None:
        """Id of the newest W&B run in the folder: a continued run goes on there."""
        folders = (Path(self._wandb_init["dir"]) / "wandb").glob("*run-*-*")
        names = sorted((path.name.split("-")[-2:] for path in folders), reverse=True)
        return names[0][1] if names else None

    def _guarded(self, call: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        if self._broken:
            return
        try:
            call(*args, **kwargs)
        except Exception as error:  # see above
            self._broken = True
            print(f"W&B stopped working ({first_line(error)}): training goes on and sends it nothing more")

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers."""
        self._guarded(super().log_metrics, metrics, step)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Log the configuration."""
        self._guarded(super().log_hyperparams, params)

    @rank_zero_only
    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """Log pictures: arrays or paths."""
        self._guarded(super().log_image, key, images, step, **kwargs)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Send what is left and close the run; logging again would reopen it."""
        if self._experiment is not None:
            self._guarded(super().finalize, status)
            self._guarded(self._experiment.finish, exit_code=int(status != "success"))
            self._experiment = None


def first_line(error: Exception) -> str:
    """What went wrong, without W&B's advice."""
    return str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
