"""Tables and arrays that tests write and open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from datamodules import Arrays
from datamodules.base import DataModule
from datamodules.samples import Resident, Samples

N = 200


def frame(n: int = N) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "height": random.normal(170, 10, n).round(3),
            "mass": random.normal(70, 5, n).round(3),
            "species": random.choice(["cat", "dog", "eel"], n),
            "age": random.integers(1, 90, n),
        }
    )


def write(table: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    else:
        kinds = {name: None if values.dtype.kind in "bif" else str for name, values in table.items()}
        np.savez(path, **{str(name): table[name].to_numpy(dtype=kind) for name, kind in kinds.items()})
    return path


def samples(data: DataModule, split: str = "train") -> Samples:
    source, index = data.split(split)  # type: ignore[arg-type]
    assert isinstance(source, Resident)
    x, y, c, mask = source.samples
    return Samples(x[index], *(None if tensor is None else tensor[index] for tensor in (y, c, mask)))


def there(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor


def arrays(path: Path, **kwargs: Any) -> Arrays:
    return Arrays(path=str(path), **{"batch_size": 8, **kwargs})
