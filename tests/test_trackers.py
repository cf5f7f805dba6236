"""Trackers that fail: said once, then left alone; a mistake of the user or a full disk still ends training."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import Logger

from lit_ae.callbacks.non_finite import NonFinite
from lit_ae.errors import ConfigError, StorageError
from lit_ae.loggers import MetricsCSV, WandB
from lit_ae.trackers import forgiven, forgiving, starts
from trainer_for_tests import trainer
from variants import build, digits

GONE = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


class Tracker(Logger):
    """Counts the calls, and fails from one of them on.

    Args:
        at: Number of the call that fails first.
        error: What it raises.
        start: What its start raises.
    """

    def __init__(self, at: int = 10**9, error: Exception = GONE, start: Exception | None = None) -> None:
        super().__init__()
        self.at, self.error, self.start = at, error, start
        self.calls: list[str] = []

    name = property(lambda self: "tracker")
    version = property(lambda self: "0")

    @property
    def experiment(self) -> None:
        if self.start is not None:
            raise self.start

    def call(self, name: str) -> str:
        self.calls.append(name)
        if len(self.calls) > self.at:
            raise self.error
        return name

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.call("log_metrics")

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.call("log_hyperparams")

    def log_image(self, key: str, images: list[Any], step: int | None = None) -> str:
        return self.call("log_image")

    def save(self) -> None:
        self.call("save")

    def finalize(self, status: str) -> None:
        self.call("finalize")


def test_a_tracker_that_works_is_passed_on_to(capsys: pytest.CaptureFixture[str]) -> None:
    (tracker,) = forgiven([Tracker()])
    assert isinstance(tracker, Tracker)
    assert tracker.log_image("a", []) == "log_image"
    tracker.log_metrics({"a": 1.0}, 3)
    assert tracker.calls == ["log_image", "log_metrics"]
    assert capsys.readouterr().out == ""


def test_the_first_failure_is_said_and_nothing_more_is_sent(capsys: pytest.CaptureFixture[str]) -> None:
    tracker = forgiving(Tracker(at=1))
    assert isinstance(tracker, Tracker)
    for step in range(3):
        tracker.log_metrics({"a": 1.0}, step)
    tracker.log_hyperparams({})
    tracker.log_image("a", [])
    tracker.save()
    tracker.finalize("success")
    assert tracker.calls == ["log_metrics", "log_metrics"]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("Tracker stopped working ([Errno 111] Connection refused): training goes on")


def test_one_that_does_not_start_is_left_out_and_the_others_stay(capsys: pytest.CaptureFixture[str]) -> None:
    sound, broken = Tracker(), Tracker(start=GONE)
    assert forgiven([broken, sound]) == [sound]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("Tracker is out of reach ([Errno 111] Connection refused): training goes on without it")


@pytest.mark.parametrize(
    "error",
    [ConfigError("no such project"), StorageError("full"), *(OSError(n, "full") for n in (errno.ENOSPC, errno.EROFS))],
)
def test_mistakes_and_full_disks_are_no_failures_of_a_tracker(error: Exception) -> None:
    with pytest.raises(type(error)):
        starts(Tracker(start=error))
    with pytest.raises(type(error)):
        forgiving(Tracker(at=0, error=error)).log_metrics({}, 0)


def test_an_interrupt_is_no_failure_of_a_tracker() -> None:
    with pytest.raises(KeyboardInterrupt):
        forgiving(Tracker(at=0, error=KeyboardInterrupt())).log_metrics({}, 0)  # type: ignore[arg-type]


def test_tables_and_event_files_stay_as_they_are(tmp_path: Path) -> None:
    own = [MetricsCSV(tmp_path), TensorBoardLogger(tmp_path), WandB(tmp_path, offline=True)]
    assert forgiven(own) == own
    assert all("log_metrics" not in vars(logger) for logger in own)
    assert "log_metrics" in vars(*forgiven([CSVLogger(tmp_path)]))


@pytest.mark.parametrize("at", [0, 1, 4])
def test_training_ends_as_it_would_without_it(at: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = []
    for trackers in ([], [Tracker(at=at)]):
        folder = tmp_path / str(len(trackers))
        loggers = forgiven([MetricsCSV(folder), *trackers])
        runner = trainer(
            folder, NonFinite(), epochs=2, limit_train_batches=4, limit_val_batches=1, log_every_n_steps=1,
            logger=loggers,
        )  # fmt: skip
        torch.manual_seed(0)
        runner.fit(build("AE"), digits("AE", 16))
        tables.append((folder / "metrics.csv").read_bytes())
    assert tables[0].count(b"\n") > 8
    assert tables[0] == tables[1]
    assert capsys.readouterr().out.count("stopped working") == 1
