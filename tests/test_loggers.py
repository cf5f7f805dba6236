from __future__ import annotations

import csv
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wandb
from wandb.proto import wandb_internal_pb2

from lit_ae.errors import ConfigError, StorageError
from lit_ae.loggers import MetricsCSV, TensorBoard, WandB

METRICS = {"epoch": 0, "val/loss": 2.0}


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_on_disk_when_logged_and_columns_are_ordered(tmp_path: Path) -> None:
    log = MetricsCSV(tmp_path / "run")
    log.log_metrics({"val/loss": torch.tensor(0.1), "epoch": 0}, 4)
    log.log_metrics({"train/loss": 1 / 3, "epoch": 1}, 9)
    assert table(tmp_path / "run") == [
        {"step": "4", "epoch": "0", "train/loss": "", "val/loss": "0.100000001"},
        {"step": "9", "epoch": "1", "train/loss": "0.333333333", "val/loss": ""},
    ]
    assert list(table(tmp_path / "run")[0]) == ["step", "epoch", "train/loss", "val/loss"]
    assert np.float32("0.100000001") == np.float32(0.1)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["metrics.csv"]


def test_values_of_one_step_share_a_row(tmp_path: Path) -> None:
    log = MetricsCSV(tmp_path)
    log.log_metrics({"a": 1.0}, 0)
    log.log_metrics({"a": 2.0}, 1)
    log.log_metrics({"a": 2.0, "b": 3.5}, 1)
    log.log_metrics({"b": 4.0}, 1)
    log.log_metrics({"a": 5.0}, 2)
    rows = [(row["step"], row["a"], row["b"]) for row in table(tmp_path)]
    assert rows == [("0", "1", ""), ("1", "2", "4"), ("2", "5", "")]


def test_a_continued_table_is_the_one_of_an_uninterrupted_run(tmp_path: Path) -> None:
    def log(logger: MetricsCSV, steps: range) -> None:
        for step in steps:
            logger.log_metrics({"train/loss": 1 / (1 + step), "epoch": step // 2}, step)
            if step % 2:
                logger.log_metrics({"val/loss": float(step), "epoch": step // 2}, step)

    log(MetricsCSV(tmp_path / "whole"), range(8))
    log(MetricsCSV(tmp_path / "cut"), range(6))
    log(MetricsCSV(tmp_path / "cut"), range(3, 8))  # killed at step 5, continued from a checkpoint of step 3
    assert (tmp_path / "cut/metrics.csv").read_text() == (tmp_path / "whole/metrics.csv").read_text()


@pytest.mark.parametrize("torn", ["2,", "2", "20,0,1", "2,1,2.7", "2,1\0\0\0\0"])
def test_a_table_cut_in_the_middle_of_a_row_is_continued(torn: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(f"step,epoch,a\n0,0,1\n1,0,2\n{torn}")
    MetricsCSV(tmp_path).log_metrics({"a": 3.0, "epoch": 1}, 22)
    assert [(row["step"], row["a"]) for row in table(tmp_path)] == [("0", "1"), ("1", "2"), ("22", "3")]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"metrics\.csv"):
        MetricsCSV(tmp_path / "file" / "run").log_metrics({"a": 1.0}, 0)


def blobs(data: bytes) -> Iterator[bytes]:
    """Records of a LevelDB log, which a .wandb file is after its header of 7 bytes."""
    position, whole = 7, b""
    while position + 7 <= len(data):
        if (left := 32768 - position % 32768) < 7:  # blocks end in zeros where no record header fits
            position += left
            continue
        length, kind = struct.unpack("<HB", data[position + 4 : position + 7])
        whole += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a full record, or the last part of one
            yield whole
            whole = b""


def records(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Config and metrics of an offline run, as `wandb sync` would send them."""
    config: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    for blob in blobs(next(folder.glob("*.wandb")).read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(blob)
        for update in [*record.config.update, *record.run.config.update]:
            config[update.key] = json.loads(update.value_json)
        for item in record.history.item:
            metrics["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
    return config, metrics


@pytest.fixture
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def log_one_of_each(logger: WandB) -> list[Path]:
    logger.log_hyperparams({"model": {"class_path": "VAE"}})
    logger.log_metrics(METRICS, 7)
    logger.log_image("figures/map", [np.zeros((8, 8, 3), dtype=np.uint8)], 7)
    logger.finalize("success")
    wandb.teardown()  # the process that writes the file ends, so that the file is whole
    return sorted(Path(logger.save_dir or "").glob("wandb/offline-run-*"))


@pytest.mark.usefixtures("no_account")
def test_wandb_keeps_metrics_config_and_pictures_offline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder,) = log_one_of_each(WandB(tmp_path, offline=True))
    config, metrics = records(folder)
    assert config["model"] == {"class_path": "VAE"}
    assert metrics["val/loss"] == 2.0
    assert metrics["trainer/global_step"] == 7
    assert (folder / "files" / metrics["figures/map/filenames"][0]).is_file()
    assert capsys.readouterr().out.splitlines() == [f"W&B keeps the run in {folder} for `wandb sync`"]


@pytest.mark.usefixtures("no_account")
def test_a_continued_run_keeps_its_wandb_id(tmp_path: Path) -> None:
    first, second = WandB(tmp_path, offline=True), WandB(tmp_path, offline=True)
    first.log_metrics(METRICS, 0)
    first.finalize("success")
    second.log_metrics(METRICS, 1)
    second.finalize("success")
    assert first.version == second.version is not None


@pytest.mark.usefixtures("no_account")
@pytest.mark.parametrize("key", [None, "k" * 40, "short"])
def test_wandb_without_key_or_network_goes_on_offline(
    key: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens on the discard port
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)
    (folder,) = log_one_of_each(WandB(tmp_path, init_timeout=1.0))
    assert records(folder)[1]["val/loss"] == 2.0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("W&B is out of reach (")
    assert str(folder) in line


@pytest.mark.usefixtures("no_account")
def test_a_wandb_service_that_has_gone_is_started_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb.teardown()
    gone = f"3-{os.getpid()}-unix-{tmp_path}/gone.sock"  # as a script leaves it that used W&B and then called lit_ae
    monkeypatch.setenv("WANDB_SERVICE", gone)
    (folder,) = log_one_of_each(WandB(tmp_path))
    assert records(folder)[1]["val/loss"] == 2.0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("W&B is out of reach (Failed to connect to service")


@pytest.mark.usefixtures("no_account")
def test_training_goes_on_where_wandb_does_not_start_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("No room for a service")

    monkeypatch.setattr(wandb, "setup", fail)
    logger = WandB(tmp_path)
    assert log_one_of_each(logger) == []
    assert capsys.readouterr().out.splitlines() == [
        "W&B does not start (No room for a service): training goes on without it"
    ]


@pytest.mark.usefixtures("no_account")
def test_a_failure_of_wandb_while_training_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ConnectionResetError("Connection lost")

    logger = WandB(tmp_path, offline=True)
    logger.experiment.log = fail  # type: ignore[method-assign]
    logger.log_metrics(METRICS, 0)
    logger.log_metrics(METRICS, 1)
    logger.finalize("success")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == ["W&B stopped working (Connection lost): training goes on and sends it nothing more"]


def test_tensorboard_writes_into_the_run_folder(tmp_path: Path) -> None:
    logger = TensorBoard(tmp_path)
    logger.log_metrics(METRICS, 0)
    logger.finalize("success")
    assert list((tmp_path / "tensorboard").glob("events.out.*"))


def test_a_missing_tensorboard_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning.fabric.loggers import tensorboard

    for name in ("_TENSORBOARD_AVAILABLE", "_TENSORBOARDX_AVAILABLE"):
        monkeypatch.setattr(tensorboard, name, False)
    with pytest.raises(ConfigError, match=r"pip install .lit_ae\[tensorboard\]"):
        TensorBoard(tmp_path)
