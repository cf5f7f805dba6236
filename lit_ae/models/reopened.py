"""A model from a checkpoint, which may come from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from jsonargparse import ArgumentError
from lightning.pytorch import LightningModule
from lightning.pytorch.core.saving import _default_map_location, _load_state

from lit_ae.bounded import bounded
from lit_ae.checked import local, opened
from lit_ae.dryrun import SETTINGS, weight
from lit_ae.errors import ConfigError, RunError
from lit_ae.trust import importing, screen

Model = TypeVar("Model", bound=LightningModule)


def reopened(
    cls: type[Model],
    checkpoint_path: str | Path,
    map_location: Any = None,
    hparams_file: None = None,
    strict: bool | None = None,
    weights_only: bool | None = True,
    trust: Sequence[str] = (),
    **kwargs: Any,
) -> Model:
    """Open a checkpoint, which may come from anywhere: no code of it runs, and no foreign module is imported.

    Args:
        checkpoint_path: The file, on this machine.
        map_location: Where its tensors go, as `torch.load` takes it.
        hparams_file: None: the arguments are in the file.
        strict: Whether every weight must be there.
        weights_only: Always true.
        trust: Packages and classes that it may name, beside ours, torch's and those of this class's own package.
        kwargs: Arguments in place of those in the file.

    Raises:
        RunError: The file is damaged, of another class, or names a class that is not on the list.
        ConfigError: It is asked for what could run code.
    """
    if hparams_file is not None or weights_only is False:
        raise ConfigError("A checkpoint is opened without running code: leave out hparams_file and weights_only.")
    path = local(checkpoint_path)
    trust = (*trust, cls.__module__.split(".")[0])
    with opened(path) as found:
        hparams = found.document.get("hyper_parameters", {})
        if not isinstance(hparams, dict) or "state_dict" not in found.document or weight(hparams) > SETTINGS:
            raise RunError(f"{path} does not say which model it holds: it was not written by lit_ae.")
        screen([{"class_path": hparams.get("_class_path")}, hparams], path, trust)
        place: Any = map_location or _default_map_location
        checkpoint = torch.load(found.file, place, weights_only=True)
    checkpoint.setdefault("hyper_parameters", {}).update(kwargs)
    with bounded(path, {**hparams, **kwargs}, sealed=False), importing(trust):
        try:
            model = _load_state(cls, checkpoint, strict=strict, **kwargs)
        except (ArgumentError, AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, RunError):
                raise
            last = (str(error).splitlines() or [type(error).__name__])[-1].strip()
            raise RunError(f"{path} does not fit {cls.__name__} ({last}): name a checkpoint of that class.") from error
    assert isinstance(model, cls)
    weights = (value for value in checkpoint["state_dict"].values() if isinstance(value, torch.Tensor))
    return model.to(next(weights, torch.tensor(0)).device)
