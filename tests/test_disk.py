"""A disk that fills up while something is written: what was there stays, and nothing half-written is left."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lit_ae.callbacks import figures, predictions
from lit_ae.errors import StorageError
from lit_ae.jobs.exported import clear
from lit_ae.jobs.fitted import unfinished
from lit_ae.jobs.rows import write_rows
from lit_ae.loggers import MetricsCSV
from lit_ae.runs import Run
from lit_ae.sealed import Seal
from lit_ae.stopping import Stopped
from lit_ae.storage import save, write


@contextmanager
def full(size: int) -> Iterator[None]:
    """No file grows beyond a size: what a full disk does, without privileges."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


ROWS = {"x": np.arange(1000, dtype=np.float32)}
WRITERS: dict[str, Callable[[Path, bool], Any]] = {
    "a.yaml": lambda path, small: write(path, lambda sink: sink.write(b"a" * (4 if small else 4000))),
    "a.png": lambda path, small: figures.write(path, b"a" * (4 if small else 4000)),
    "predictions.npz": lambda path, small: predictions.write(path, {"x": ROWS["x"][: 1 if small else 1000]}),
    **{
        f"a{suffix}": lambda path, small: write_rows(path, [{"x": ROWS["x"][: 1 if small else 1000]}])
        for suffix in (".npy", ".npz", ".csv", ".parquet")
    },
}


@pytest.mark.parametrize("name", WRITERS)
def test_old_output_stays_where_new_finds_no_room(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITERS[name](path, True)
    old = path.read_bytes()
    with full(max(len(old), 2000)), pytest.raises(StorageError, match="File too large") as raised:
        WRITERS[name](path, False)
    assert str(path) in str(raised.value)
    assert "ree space" in str(raised.value)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


HELD = {"weights": torch.arange(10_000.0)}


class Sink:
    """Raises amid a file, once."""

    def __init__(self, error: BaseException) -> None:
        self.error: BaseException | None = error

    def write(self, data: bytes) -> int:
        if len(data) > 1000 and self.error is not None:
            error, self.error = self.error, None
            raise error
        return len(data)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("size", [0, 100, 2000, 30_000, 40_000])
def test_a_checkpoint_that_finds_no_room_says_so_in_the_words_of_the_system(size: int, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    path.write_bytes(b"old")
    with full(size), pytest.raises(StorageError) as raised:
        save(path, HELD)
    assert str(raised.value) == f"Cannot write {path} (File too large): free space on the disk, or set --runs."
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("wrap", [Seal, lambda sink: sink], ids=["sealed", "plain"])
def test_what_a_sink_raises_amid_torch_save_is_what_is_said(wrap: Callable[[Any], Any], tmp_path: Path) -> None:
    refused = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(StorageError, match=r"\(No space left on device\): free"):
        write(tmp_path / "a.ckpt", lambda sink: torch.save(HELD, wrap(Sink(refused))))
    for error in (Stopped(signal.SIGTERM), KeyboardInterrupt()):
        with pytest.raises(type(error)) as raised:
            write(tmp_path / "a.ckpt", lambda sink, error=error: torch.save(HELD, wrap(Sink(error))))
        assert raised.value is error
    assert not list(tmp_path.iterdir())


def test_an_error_that_is_not_of_the_disk_is_not_called_so(tmp_path: Path) -> None:
    def fill(sink: Any) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        write(tmp_path / "a.ckpt", fill)
    try:
        raise OSError(errno.ENOSPC, "of something else, which went wrong before")
    except OSError:
        with pytest.raises(RuntimeError, match="a bug"):
            write(tmp_path / "a.ckpt", fill)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("same", [True, False])
def test_a_table_of_metrics_never_ends_in_half_a_row(same: bool, tmp_path: Path) -> None:
    logger = MetricsCSV(tmp_path)
    logger.log_metrics({"loss": 1.0, "other": 2.0}, 0)
    logger.log_metrics({"loss": 3.0}, 1)
    old = logger.path.read_bytes()
    with full(len(old) + 3), pytest.raises(StorageError, match=r"metrics\.csv"):
        logger.log_metrics({"loss": 5.0, "other": 1.234567}, 1 if same else 2)
    assert logger.path.read_bytes() == old
    assert old == b"step,epoch,loss,other\r\n0,,1,2\r\n1,,3,\r\n"


def test_a_table_of_metrics_that_cannot_be_written_anew_stays(tmp_path: Path) -> None:
    logger = MetricsCSV(tmp_path)
    logger.log_metrics({"loss": 1.0}, 0)
    old = logger.path.read_bytes()
    with full(len(old)), pytest.raises(StorageError):
        logger.log_metrics({"another": 1.0}, 1)
    assert logger.path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [logger.path]


def test_a_fit_without_a_checkpoint_to_go_on_from_leaves_nothing(tmp_path: Path) -> None:
    for last in (False, True):
        partial = Run(tmp_path / "samplers" / "gmm.partial")
        partial.checkpoints.mkdir(parents=True)
        partial.config.write_text("kind: gmm")
        if last:
            (partial.checkpoints / "last.ckpt").write_bytes(b"a checkpoint")
        with pytest.raises(StorageError), unfinished(partial):
            raise StorageError("full")
        assert partial.config.is_file() == last
        assert (tmp_path / "samplers").exists() == last


def test_an_export_is_cleared_of_older_files_alone(tmp_path: Path) -> None:
    for name in ("encoder.onnx", "decoder.onnx", "model.safetensors", "signature.json", "mine.txt"):
        (tmp_path / name).touch()
    clear(tmp_path, {"encoder.onnx", "signature.json"})
    assert {path.name for path in tmp_path.iterdir()} == {"encoder.onnx", "signature.json", "mine.txt"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_standard_output_on_a_full_disk_ends_with_a_sentence(unbuffered: str) -> None:
    with open("/dev/full", "wb") as sink:
        done = subprocess.run(
            [sys.executable, "-m", "lit_ae", "--version"],
            stdout=sink,
            stderr=subprocess.PIPE,
            text=True,
            env={"PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    assert done.returncode == 6
    assert len(done.stderr.splitlines()) == 1
    assert "tandard output" in done.stderr
    assert "free space" in done.stderr
