"""Checkpoints on disk: written beside and renamed, opened without running code."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.plugins.io import TorchCheckpointIO

from lit_ae.errors import RunError, StorageError


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its final name, forces it to the disk, then renames it.

    Lightning writes under the final name: a full disk would leave an empty file where the last good one was.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            StorageError: The disk is full or the folder cannot be written; the file that was there is untouched.
        """
        write(Path(path), lambda sink: torch.save(checkpoint, sink))

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Open a checkpoint without running code."""
        return load(Path(path))


def write(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Write a file beside its final name, force it to the disk, then rename it.

    Raises:
        StorageError: The disk is full or the folder cannot be written; the file that was there is untouched.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as sink:
            fill(sink)
            sink.flush()
            os.fsync(sink.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # torch.save raises its own where the disk is full
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise StorageError(f"Cannot write {path} ({error}): free space on the disk, or set --runs.") from error


def load(path: Path) -> dict[str, Any]:
    """Open a checkpoint, tensors on the CPU.

    Raises:
        RunError: The file is no checkpoint, or is damaged.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch reads bytes of a text file as instructions, which fail in any way
        raise RunError(f"{path} is no checkpoint, or is damaged ({type(error).__name__}): name another one.") from error
    if not isinstance(checkpoint, dict):
        raise RunError(f"{path} is no checkpoint: it holds a {type(checkpoint).__name__}. Name another one.")
    return checkpoint


def load_weights(model: LightningModule, path: Path) -> None:
    """Give a model the weights of a checkpoint.

    Raises:
        RunError: The file is damaged, or of another model.
    """
    checkpoint = load(path)
    try:
        model.load_state_dict(checkpoint["state_dict"])
    except (RuntimeError, KeyError) as error:
        first = str(error).splitlines()[-1].strip()
        raise RunError(f"{path} does not fit the model ({first}): leave out --model flags that change it.") from error


def model_argument(path: Path) -> str:
    """The model that a lone checkpoint stores, as a value of --model.

    Raises:
        RunError: The file is damaged, or not ours.
    """
    hparams = dict(load(path).get("hyper_parameters", {}))
    if "_class_path" not in hparams:
        raise RunError(f"{path} does not say which model it holds: it was not written by lit_ae.")
    class_path = hparams.pop("_class_path")
    hparams.pop("_instantiator", None)
    return json.dumps({"class_path": class_path, "init_args": hparams})
