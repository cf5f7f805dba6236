"""Data sources, one file each, on one fast path; imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "DataModule": "base",
    "InMemory": "base",
    "Samples": "samples",
    "Digits": "digits",
    "Points": "points",
    "MNIST": "mnist",
    "FashionMNIST": "mnist",
    "KMNIST": "mnist",
    "CIFAR10": "cifar10",
    "CelebA": "celeba",
    "PictureFiles": "files",
    "ImageFolder": "image_folder",
    "Tabular": "tabular",
    "Arrays": "arrays",
    "Bundled": "bundled",
    "Sequences": "sequences",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*_HOMES]
