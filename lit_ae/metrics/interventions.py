"""Scores of latents by what stays the same in samples that share one factor: FactorVAE's and β-VAE's."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from lit_ae.errors import DataError
from lit_ae.metrics.factors import Integers, prepared, standardized

TRAIN, TEST, SHARING = 10_000, 5_000, 64  # votes and samples per vote, as Locatello et al. 2019 take them
CHUNK = 2**22  # numbers gathered at a time


def factor_vae_score(z: Tensor, factors: Tensor, seed: int = 0) -> float:
    """FactorVAE score above chance: 0 for a random code, 1 for a perfect one. See `factor_vae_accuracy`."""
    return above_chance(factor_vae_accuracy(z, factors, seed), factors)


def beta_vae_score(z: Tensor, factors: Tensor, seed: int = 0) -> float:
    """β-VAE score above chance: 0 for a random code, 1 for a perfect one. See `beta_vae_accuracy`."""
    return above_chance(beta_vae_accuracy(z, factors, seed), factors)


def above_chance(accuracy: float, factors: Tensor) -> float:
    """(accuracy − 1/F) / (1 − 1/F), at least 0, for F factors that vary and are equally often to be told."""
    count = prepared(factors, factors)[1].shape[1]
    return max(0.0, (accuracy - 1 / count) / (1 - 1 / count))


def factor_vae_accuracy(z: Tensor, factors: Tensor, seed: int = 0) -> float:
    """How often the latent that varies least among samples that share one factor tells which factor it is.

    This is the number that papers print: chance is 1/F. Samples that share a value are drawn, with repeats, from those
    given, and one value as often as the samples have it; latents that do not vary at all are left out.

    Args:
        z: Latents, (N, D).
        factors: Known factors, (N, F), two or more of which vary.
        seed: Of the draws.

    Raises:
        DataError: Fewer than two factors vary, no two samples share a value, or the two do not fit.

    Reference:
        Kim & Mnih, "Disentangling by Factorising", ICML 2018, section 4. https://arxiv.org/abs/1802.05983
    """
    latents, known = prepared(z, factors, least=2)
    latents = standardized(latents)
    latents = latents[:, latents.any(0)]
    if latents.shape[1] == 0:
        return 1 / known.shape[1]
    draw = Draw(known, seed)
    votes = []
    for count in (TRAIN, TEST):
        told = np.zeros((latents.shape[1], known.shape[1]), dtype=np.int64)
        for which, rows in draw.shared(count, latents.shape[1]):
            np.add.at(told, (latents[rows].var(1).argmin(1), which), 1)
        votes.append(told)
    fitted, judged = votes
    return float(judged[np.arange(len(judged)), fitted.argmax(1)].sum() / judged.sum())


def beta_vae_accuracy(z: Tensor, factors: Tensor, seed: int = 0) -> float:
    """How often a linear classifier tells which factor pairs of samples share, by their mean distance in each latent.

    This is the number that papers print: chance is 1/F.

    Args:
        z: Latents, (N, D), standardised first, so that the classifier's weight decay does not depend on their unit.
        factors: Known factors, (N, F), two or more of which vary.
        seed: Of the draws.

    Raises:
        DataError: Fewer than two factors vary, no two samples share a value, or the two do not fit.

    Reference:
        Higgins et al., "β-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework", ICLR 2017,
        section 3. https://openreview.net/forum?id=Sy2fzU9gl
    """
    from sklearn.linear_model import LogisticRegression

    latents, known = prepared(z, factors, least=2)
    latents = standardized(latents)
    draw = Draw(known, seed)
    sets = []
    for count in (TRAIN, TEST):
        labels, points = [], []
        for which, (one, other) in draw.pairs(count, latents.shape[1]):
            labels.append(which)
            points.append(np.abs(latents[one] - latents[other]).mean(1))
        sets.append((np.concatenate(points), np.concatenate(labels)))
    (points_in, labels_in), (points_out, labels_out) = sets
    return float(LogisticRegression(max_iter=1000).fit(points_in, labels_in).score(points_out, labels_out))


class Draw:
    """Draws samples that share the value of a factor; a value that one sample alone has is never shared.

    Args:
        known: Factors, (N, F), with values 0, 1, ....
        seed: Of all draws.
    """

    def __init__(self, known: Integers, seed: int) -> None:
        self.known, self.random = known, np.random.default_rng(seed)
        self.order = np.argsort(known, axis=0, kind="stable")  # samples with one value lie together
        self.counts = [np.bincount(column) for column in known.T]
        self.starts = [np.cumsum(counts) - counts for counts in self.counts]
        self.first = [np.flatnonzero(counts[column] > 1) for counts, column in zip(self.counts, known.T, strict=True)]
        if lone := [number for number, rows in enumerate(self.first) if not len(rows)]:
            raise DataError(f"No two samples share a value of factor {lone[0]}: give more samples, or cut it into few.")

    def alike(self, which: Integers, rows: Integers) -> Integers:
        """For each row, (n, L), one at random of those that share its value of factor `which`, (n,)."""
        found = np.empty_like(rows)
        for number in range(self.known.shape[1]):
            mine = which == number
            values = self.known[rows[mine], number]
            place = (self.random.random(values.shape) * self.counts[number][values]).astype(np.int64)
            found[mine] = self.order[self.starts[number][values] + place, number]
        return found

    def begin(self, count: int, width: int, each: int) -> list[tuple[Integers, Integers]]:
        """Which factor is shared, (n,), and samples whose value of it is, (n, each), in parts that fit into memory."""
        parts, size = [], max(1, CHUNK // (SHARING * width))
        for start in range(0, count, size):
            which = self.random.integers(self.known.shape[1], size=min(size, count - start))
            rows = np.empty((len(which), each), dtype=np.int64)
            for number, able in enumerate(self.first):
                mine = which == number
                rows[mine] = able[self.random.integers(len(able), size=(int(mine.sum()), each))]
            parts.append((which, rows))
        return parts

    def shared(self, count: int, width: int) -> list[tuple[Integers, Integers]]:
        """Which factor all samples of a set share, (n,), and these samples, (n, L)."""
        parts = self.begin(count, width, 1)
        return [(which, self.alike(which, np.repeat(rows, SHARING, 1))) for which, rows in parts]

    def pairs(self, count: int, width: int) -> list[tuple[Integers, tuple[Integers, Integers]]]:
        """Which factor both samples of each pair of a set share, (n,), and the pairs, (n, L) and (n, L)."""
        parts = self.begin(count, width, SHARING)
        return [(which, (rows, self.alike(which, rows))) for which, rows in parts]
