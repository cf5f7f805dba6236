"""Small steps between a parsed configuration and what is built from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from datamodules.base import DataModule
from lit_ae.errors import DataError


def listed(value: Any) -> list[Any]:
    """A trainer argument that may be one thing, several, or none."""
    return list(value) if isinstance(value, Iterable) else [value] if value not in (None, True, False) else []


def unique(value: Any) -> Any:
    """A list without repeats; anything else as it is."""
    if not isinstance(value, list):
        return value
    return [item for number, item in enumerate(value) if item not in value[:number]]


def placed(value: Any, folder: str) -> Any:
    """Replace the placeholder {run} in every string of a configuration by the run folder."""
    if isinstance(value, str):
        return value.replace("{run}", folder)
    if isinstance(value, list):
        return [placed(item, folder) for item in value]
    if isinstance(value, dict):
        return {key: placed(item, folder) for key, item in value.items()}
    if isinstance(value, Namespace):
        return Namespace({key: placed(item, folder) for key, item in vars(value).items()})
    return value


def announce(stored: Any, given: Any, key: str = "") -> None:
    """Say which explicit settings beat what a run stored; of another class only its name, the rest is its own."""
    if isinstance(stored, dict) and isinstance(given, dict):
        if (old := stored.get("class_path")) != (new := given.get("class_path")):
            announce(old, new, f"{key}.class_path")
            return
        for name in sorted({*stored, *given}):
            announce(stored.get(name), given.get(name), f"{key}.{name}".lstrip("."))
    elif stored != given:
        rank_zero_info(f"{key} is {given}: given explicitly, it beats the run's {stored}.")


def fill_spec(config: Namespace, data: DataModule) -> None:
    """Write what the model must know of its data into its configuration.

    Raises:
        DataError: A model that was trained on other shapes is given these data.
    """
    config.model.init_args = init_args = config.model.get("init_args", Namespace())
    stored, spec = init_args.get("spec"), data.spec
    if stored is None or stored["input_shape"] is None:
        init_args["spec"] = Namespace(asdict(spec))
    elif tuple(stored["input_shape"]) != spec.input_shape:
        raise DataError(
            f"The run was trained on samples of shape {tuple(stored['input_shape'])}, these data have "
            f"{spec.input_shape}: give it the data that it was trained on, or --data.transforms that lead there."
        )
    elif stored["num_train"] not in (0, spec.num_train):  # fewer files that decode, say: other batches than before
        rank_zero_info(f"The run was trained on {stored['num_train']:,} samples, these data have {spec.num_train:,}.")
