"""The embedded tables: real measurements that come with scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine

from datamodules.tables import Table
from datamodules.tabular import Tabular

__all__ = ["Bundled"]

Name = Literal["iris", "wine", "breast_cancer", "diabetes"]


class Bundled(Tabular):
    """Real measurements in a table that comes with scikit-learn: nothing is downloaded.

    `iris`: 150 flowers, 4 lengths, 3 species (Fisher 1936). `wine`: 178 wines, 13 measurements, 3 cultivars (Aeberhard
    & Forina, UCI 1992). `breast_cancer`: 569 tumours, 30 measurements, 2 diagnoses (Wolberg et al., UCI 1995).
    `diabetes`: 442 patients, 10 measurements, `sex` 1 or 2 among them, and the `progression` of the disease a year
    later (Efron et al. 2004). Columns are called as in scikit-learn. The last one of the others is `class`: it is the
    label, and modelled only where `columns` or `categorical` names it.

    Args:
        table: Which table.
    """

    def __init__(self, table: Name = "breast_cancer", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table = table

    def read(self, split: Literal["train", "test"]) -> Table:
        """The whole table."""
        loaders = {"iris": load_iris, "wine": load_wine, "breast_cancer": load_breast_cancer}
        bunch = load_diabetes(scaled=False) if self.table == "diabetes" else loaders[self.table]()
        arrays = dict(zip(map(str, bunch.feature_names), bunch.data.T, strict=True))
        if self.table == "diabetes":
            return Table(Path(self.table), {**arrays, "progression": bunch.target}, tabular=True)
        names = np.array(bunch.target_names, dtype=object)
        return Table(Path(self.table), {**arrays, "class": names[bunch.target]}, tabular=True, label="class")
