"""How well labels can be told from embeddings: by neighbours, and by a linear classifier."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from lit_ae.errors import DataError


def knn_accuracy(z_train: Tensor, y_train: Tensor, z: Tensor, y: Tensor, k: int = 5) -> float:
    """Share of samples whose label is that of most of their k nearest neighbours in the training data.

    Args:
        z_train: Embeddings to look for neighbours in, (N, *D).
        y_train: Their labels, (N,).
        z: Embeddings to judge by, (M, *D).
        y: Their labels, (M,).
        k: Number of neighbours, or all where there are fewer.

    Raises:
        DataError: There are no samples, or an embedding is not finite.
    """
    from sklearn.neighbors import KNeighborsClassifier

    known, labels, asked, truth = arrays(z_train, y_train, z, y)
    return float(KNeighborsClassifier(min(k, len(known))).fit(known, labels).score(asked, truth))


def linear_probe(z_train: Tensor, y_train: Tensor, z: Tensor, y: Tensor) -> float:
    """Share of samples whose label a logistic regression tells from their embeddings (Alain & Bengio 2017).

    Args:
        z_train: Embeddings to fit it to, (N, *D), standardised first, so that their unit does not matter.
        y_train: Their labels, (N,), of two classes or more.
        z: Embeddings to judge by, (M, *D).
        y: Their labels, (M,).

    Raises:
        DataError: There are no samples, only one class, or an embedding is not finite.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known, labels, asked, truth = arrays(z_train, y_train, z, y)
    if len(np.unique(labels)) < 2:
        raise DataError("All training samples have one label: a linear probe needs two classes or more.")
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return float(probe.fit(known, labels).score(asked, truth))


def arrays(*given: Tensor) -> list[np.ndarray]:
    """Embeddings as tables, (N, D), and labels, as arrays.

    Raises:
        DataError: There are none, or they are not finite.
    """
    parts = [part.detach().cpu() for part in given]
    if not all(len(part) for part in parts):
        raise DataError("There are no labelled samples to probe with: name a split that has some.")
    if not all(part.isfinite().all() for part in parts):
        raise DataError("The embeddings are not all finite: look at the data, or train with a lower learning rate.")
    return [(part.flatten(1).float() if number % 2 == 0 else part).numpy() for number, part in enumerate(parts)]
