"""Folders of pictures that tests write and open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from datamodules import ImageFolder
from lit_ae.batch import Batch


def save(path: Path, value: int, size: tuple[int, int] = (9, 7)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


def fill(folder: Path, classes: dict[str, int], start: int = 0) -> None:
    """Grey pictures, each with a value of its own; class "" has no folder."""
    for name, n in classes.items():
        for i in range(n):
            save(folder / name / f"{i:03d}.png", start + i, (9 + i % 3, 7 + i % 2))
        start += n


def folder(root: Path, **kwargs: Any) -> ImageFolder:
    return ImageFolder(root=str(root), **{"size": 4, "channels": 1, "num_workers": 0, "batch_size": 4, **kwargs})


def batches(data: ImageFolder, name: str) -> list[Batch]:
    return list(getattr(data, f"{name}_dataloader")())


def values(data: ImageFolder, name: str) -> list[int]:
    return [round(value * 255) for batch in batches(data, name) for value in batch.x[:, 0, 0, 0].tolist()]


def labels(data: ImageFolder, name: str) -> list[int]:
    return torch.cat([there(batch.y) for batch in batches(data, name)]).tolist()


def there(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor
