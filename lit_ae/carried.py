"""What a checkpoint carries beside what Lightning puts into it, and how it is taken and given back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, Timer, WeightAveraging
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor

from lit_ae import randomness


def state(trainer: pl.Trainer) -> dict[str, Any]:
    """Random generators of all processes, metrics that schedulers wait for, and whether training was to end early."""
    return {
        "generators": randomness.generators(trainer),
        "metrics": {name: value.item() for name, value in trainer._logger_connector._callback_metrics.items()},
        "constants": {name: value.detach().clone() for name, value in averaged_constants(trainer)},
        "early": stopped_early(trainer),
    }


def restore(trainer: pl.Trainer, state: dict[str, Any]) -> None:
    """Give a trainer back what it had, when training starts: what comes before may draw."""
    randomness.restore(state["generators"], trainer.global_rank)
    metrics = {name: torch.tensor(float(value)) for name, value in state["metrics"].items()}
    trainer._logger_connector._callback_metrics.update(metrics)
    for name, value in averaged_constants(trainer):
        value.copy_(state["constants"].get(name, value))
    if state.get("early") and stoppers(trainer):
        trainer.should_stop = True
        rank_zero_info("EarlyStopping has ended this run: to go on, leave it out of --trainer.callbacks.")


def stopped_early(trainer: pl.Trainer) -> bool:
    """Whether training is to end; not where only the time was up, which a resumed run has anew."""
    timers = (callback for callback in trainer.callbacks if isinstance(callback, Timer))  # type: ignore[attr-defined]
    late = any((left := timer.time_remaining()) is not None and left <= 0 for timer in timers)
    return trainer.should_stop and not late and bool(stoppers(trainer))


def stoppers(trainer: pl.Trainer) -> list[EarlyStopping]:
    """Callbacks that end training where nothing improves."""
    return [callback for callback in trainer.callbacks if isinstance(callback, EarlyStopping)]  # type: ignore[attr-defined]


def averaged_constants(trainer: pl.Trainer) -> list[tuple[str, Tensor]]:
    """Buffers of the average that a callback keeps, which are in no state_dict: averaging rounds even constants."""
    found = []
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, WeightAveraging) and (model := callback._average_model) is not None:
            stored = model.state_dict().keys()
            found += [(name, value) for name, value in model.named_buffers() if name not in stored]
    return found


def copied(value: Any) -> Any:
    """The same with tensors that nobody else changes."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(copied, value)) if type(value) in (list, tuple) else value
    return value


def at_home(state: dict[str, Any], folder: str) -> dict[str, Any]:
    """What a checkpoint remembers of others, placed in one folder.

    The run may have been moved; and a file that came from elsewhere names what it likes, which training would remove.
    """

    def own(path: Any) -> str:
        name = Path(str(path)).name
        return str(Path(folder) / name) if name.endswith(".ckpt") else ""

    paths = {key: own(state.get(key)) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
    models = {place: score for path, score in dict(state.get("best_k_models") or {}).items() if (place := own(path))}
    return {**state, **paths, "best_k_models": models, "dirpath": folder}
