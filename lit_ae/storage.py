"""Checkpoints on disk: written beside, sealed and renamed, opened once they are known to be sound."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.plugins.io import TorchCheckpointIO

from lit_ae import finite
from lit_ae.archive import Damaged
from lit_ae.checked import LAST, PREVIOUS, local, opened, readable, steps
from lit_ae.dryrun import SETTINGS, weight
from lit_ae.errors import ConfigError, RunError, StorageError
from lit_ae.sealed import Seal
from lit_ae.trust import screen


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its final name, forces it to the disk, then renames it.

    Lightning writes under the final name: a full disk would leave an empty file where the last good one was. The
    last.ckpt that a new one takes the place of stays as previous.ckpt, where it is sound.
    """

    def __init__(self) -> None:
        self._written: set[Path] = set()  # by this process: what it may remove, and need not look at again

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            StorageError: The disk is full or the folder cannot be written; the file that was there is untouched.
            NonFiniteError: Parameters or optimizers hold nan or infinity; the file that was there is untouched.
            ConfigError: A callback keeps what no checkpoint can hold; the file that was there is untouched.
        """
        finite.check(checkpoint)
        path = local(path).absolute()
        if path.name == LAST and (path in self._written or (path.is_file() and steps(path) is not None)):
            save(path, checkpoint, path.with_name(PREVIOUS))
        else:
            save(path, checkpoint)
        self._written.add(path)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint from a folder that this run saves in; any other path comes out of a foreign file."""
        path = Path(path).absolute()
        folders = {each.parent.resolve() for each in self._written}
        if path.suffix == ".ckpt" and path.parent.resolve() in folders and not path.is_dir():
            path.unlink(missing_ok=True)

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Open a checkpoint without running code."""
        return load(path)


def save(path: Path, held: Any, previous: Path | None = None) -> None:
    """Write what torch.save takes, with its SHA-256 in the same file.

    Args:
        path: The file.
        held: Tensors and plain values.
        previous: Where the file of that name, if there is one, goes on to be.

    Raises:
        StorageError: The disk is full or the folder cannot be written; the file that was there is untouched.
        ConfigError: It could not be opened again; the file that was there is untouched.
    """

    def fill(sink: BinaryIO) -> None:
        seal = Seal(sink)
        torch.save(held, seal)  # type: ignore[arg-type]
        seal.seal()
        sink.flush()
        try:
            readable(Path(sink.name))
        except Damaged as error:
            raise ConfigError(
                f"What {path.name} is to hold could not be opened again: {error}. Leave out the callback that keeps it."
            ) from error

    write(path, fill, previous)


def write(path: Path, fill: Callable[[BinaryIO], object], previous: Path | None = None) -> None:
    """Write a file beside its final name, force it to the disk, then rename it.

    Args:
        path: The file.
        fill: Writes its content.
        previous: Another name for the file that was there.

    Raises:
        StorageError: The disk is full or the folder cannot be written; the file that was there is untouched.
    """
    partial, earlier = path.with_name(f"{path.name}.partial"), sys.exc_info()[1]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as sink:
            fill(sink)
            sink.flush()
            os.fsync(sink.fileno())
        if previous is not None:
            link(path, previous)
        partial.replace(path)
        settle(path.parent)
    except (OSError, RuntimeError) as error:
        found = behind(error, earlier)
        if isinstance(found, OSError):
            reason = found.strerror or found
            raise StorageError(f"Cannot write {path} ({reason}): free space on the disk, or set --runs.") from found
        if found is not error:
            raise found from None
        raise
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def behind(error: BaseException, earlier: BaseException | None) -> BaseException:
    """What a sink raised: a refusal of the disk's, or a stop, for which torch.save raises a RuntimeError of its own.

    Args:
        error: What a write ended with, which is returned where nothing is behind it.
        earlier: What had gone wrong before.
    """
    found: BaseException | None = error
    while found is not None and found is not earlier:
        if isinstance(found, OSError) or not isinstance(found, Exception):
            return found
        found = found.__context__
    return error


def link(path: Path, other: Path) -> None:
    """Give a file a second name, in place of what had it; nothing where there is no file, or no such names."""
    spare = other.with_name(f"{other.name}.partial")
    with contextlib.suppress(OSError):
        spare.unlink(missing_ok=True)
        os.link(path, spare)
        spare.replace(other)
        spare.unlink(missing_ok=True)  # it stays where both were the same file already


def settle(folder: Path) -> None:
    """Force the names in a folder to the disk, on systems where a folder can be."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows, or a folder that may be written but not read
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def load(path: str | Path) -> dict[str, Any]:
    """Open a checkpoint, tensors on the CPU.

    Raises:
        RunError: The file is no checkpoint, or is damaged.
    """
    with opened(path) as found:
        try:
            checkpoint: dict[str, Any] = torch.load(found.file, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever torch cannot read although it is as it was saved
            reason = type(error).__name__
            raise RunError(f"{path} is no checkpoint, or is damaged ({reason}): name another one.") from error
    return checkpoint


def load_weights(model: LightningModule, path: Path) -> None:
    """Give a model the weights of a checkpoint.

    Raises:
        RunError: The file is damaged, or of another model.
    """
    checkpoint = load(path)
    try:
        model.load_state_dict(checkpoint["state_dict"])
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        first = (str(error).splitlines() or [""])[-1].strip()
        raise RunError(f"{path} does not fit the model ({first}): leave out --model flags that change it.") from error


def model_argument(path: Path, trust: Sequence[str] = ()) -> str:
    """The model that a checkpoint stores, as a value of --model.

    Args:
        path: The file.
        trust: Packages and classes that it may name, beside ours, torch's and those of --trust-import.

    Raises:
        RunError: The file is damaged, or not ours, or names a class that is not on the list.
    """
    hparams = settings(path)
    if not isinstance(hparams.get("_class_path"), str):
        raise RunError(f"{path} does not say which model it holds: it was not written by lit_ae.")
    class_path = hparams.pop("_class_path")
    hparams.pop("_instantiator", None)
    model = {"class_path": class_path, "init_args": hparams}
    screen(model, path, trust)
    return json.dumps(model)


def settings(path: Path) -> dict[str, Any]:
    """Arguments of the model that a checkpoint holds, as plain values; no tensor is read."""
    with opened(path) as found:
        hparams = found.document.get("hyper_parameters")
        if not isinstance(hparams, dict) or not all(isinstance(name, str) for name in hparams):
            return {}
        if weight(hparams) > SETTINGS:
            raise RunError(f"{path} holds more settings than any model has: name another one.")
        return dict(hparams)
