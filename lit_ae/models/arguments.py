"""Constructor arguments as plain values, so that a checkpoint can rebuild its model without pickle."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

from lit_ae.errors import ConfigError


def plain(value: Any, name: str) -> Any:
    """Write a constructor argument as plain values: classes and partials become class_path / init_args.

    Args:
        value: The argument.
        name: Its name, for the error message.

    Raises:
        ConfigError: The value cannot be written so (a lambda, a local class, a module instance).
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [plain(item, name) for item in value]
    if isinstance(value, dict):
        return {key: plain(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, type) and "<locals>" not in value.__qualname__:
        return {"class_path": f"{value.__module__}.{value.__qualname__}"}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name), name) for field in dataclasses.fields(value)}
    if isinstance(value, partial):  # jsonargparse's own partials carry the class as their last argument
        target = value.args[-1] if value.args else value.func
        if isinstance(target, type):
            return {**plain(target, name), "init_args": plain(value.keywords, name)}
    raise ConfigError(
        f"{name}={value!r} cannot be written into a checkpoint: pass a class that a module defines, "
        "or functools.partial(Class, key=value)."
    )
