"""How far latents follow known factors, one for one: scores of one set of embedded samples, 1 is best."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from lit_ae.metrics.factors import Floats, Integers, prepared, split, standardized
from lit_ae.metrics.interventions import beta_vae_accuracy, beta_vae_score, factor_vae_accuracy, factor_vae_score

__all__ = [
    "DCI", "beta_vae_accuracy", "beta_vae_score", "dci", "factor_vae_accuracy", "factor_vae_score", "mig",
    "modularity", "sap",
]  # fmt: skip


class DCI(NamedTuple):
    """Disentanglement, completeness and informativeness, in [0, 1]."""

    disentanglement: float
    completeness: float
    informativeness: float


def mig(z: Tensor, factors: Tensor, bins: int = 20) -> float:
    """Mutual information gap: (I(z₁; v) − I(z₂; v)) / H(v) of the two latents that know most of a factor v, averaged.

    Latents are cut into bins of equal width; a factor of more values than bins cannot reach 1.

    Args:
        z: Latents, (N, D).
        factors: Known factors, (N, F), each value a class of its own; one that does not vary is left out.
        bins: Number of bins.

    Raises:
        DataError: No factor varies, or the two do not fit.

    Reference:
        Chen et al., "Isolating Sources of Disentanglement in VAEs", NeurIPS 2018, eq. 6. https://arxiv.org/abs/1802.04942
        The estimator is that of Locatello et al. 2019, https://arxiv.org/abs/1811.12359.
    """
    latents, known = prepared(z, factors)
    shared = information(binned(latents, bins), known)
    best, second = top_two(shared)
    return float(((best - second) / entropies(known)).mean())


def modularity(z: Tensor, factors: Tensor, bins: int = 20) -> float:
    """How far each latent knows of one factor alone: 1 − Σ_{f ≠ f*} I(z; v_f)² / (I(z; v_f*)² (F − 1)), averaged.

    Args:
        z: Latents, (N, D); one that knows of no factor counts 0.
        factors: Known factors, (N, F), two or more of which vary.
        bins: Number of bins that latents are cut into.

    Raises:
        DataError: Fewer than two factors vary, or the two do not fit.

    Reference:
        Ridgeway & Mozer, "Learning Deep Disentangled Embeddings with the F-Statistic Loss", NeurIPS 2018, eq. 2.
        https://arxiv.org/abs/1802.05312
    """
    latents, known = prepared(z, factors, least=2)
    squares = information(binned(latents, bins), known) ** 2
    most = squares.max(1)
    rest = (squares.sum(1) - most) / (known.shape[1] - 1)
    return float(np.where(most > 0, 1 - rest / np.where(most > 0, most, 1.0), 0.0).mean())


def sap(z: Tensor, factors: Tensor) -> float:
    """Separated attribute predictability: by how much one latent alone tells a factor better than the next, averaged.

    A factor is told by a linear support vector machine on one latent, judged by its accuracy on samples that it has not
    seen. No code reaches 1: the next latent guesses right at times, and no line tells middle values of a factor apart.

    Args:
        z: Latents, (N, D), standardised first, so that their unit does not matter.
        factors: Known factors, (N, F).

    Raises:
        DataError: No factor varies, or the two do not fit.

    Reference:
        Kumar et al., "Variational Inference of Disentangled Latent Concepts from Unlabeled Observations", ICLR 2018,
        section 3. https://arxiv.org/abs/1711.00848
        The machine and its settings are those of Locatello et al. 2019, https://arxiv.org/abs/1811.12359.
    """
    from sklearn.svm import LinearSVC

    latents, known = prepared(z, factors)
    latents = standardized(latents)
    train, test = split(len(latents), seed=0)
    scores = np.zeros((latents.shape[1], known.shape[1]))
    for number, column in enumerate(known.T):
        for latent, row in enumerate(latents.T):
            if len(np.unique(column[train])) < 2:
                continue
            machine = LinearSVC(C=0.01, class_weight="balanced", random_state=0)
            machine.fit(row[train, None], column[train])
            scores[latent, number] = machine.score(row[test, None], column[test])
    best, second = top_two(scores)
    return float((best - second).mean())


def dci(z: Tensor, factors: Tensor, seed: int = 0) -> DCI:
    """Whether each latent matters for one factor, each factor needs one latent, and all together tell the factors.

    Importances are those of random forests of ten trees that tell each factor from all latents, as in the paper;
    gradient boosting, which others use, takes 20 times as long for nearly the same. Informativeness is the accuracy on
    samples that no forest has seen, rescaled so that 0 is to guess always the commonest value, averaged over factors.

    Args:
        z: Latents, (N, D).
        factors: Known factors, (N, F).
        seed: Of the forests, and of which samples they see.

    Raises:
        DataError: No factor varies, or the two do not fit.

    Reference:
        Eastwood & Williams, "A Framework for the Quantitative Evaluation of Disentangled Representations", ICLR 2018,
        section 2. https://openreview.net/forum?id=By-7dz-AZ
    """
    from sklearn.ensemble import RandomForestClassifier

    latents, known = prepared(z, factors)
    train, test = split(len(latents), seed)
    importances, skills = np.zeros((latents.shape[1], known.shape[1])), []
    leaf = min(20, max(1, len(train) // 200))  # finer splits tell noise, and are counted as importance
    for number, column in enumerate(known.T):
        forest = RandomForestClassifier(10, min_samples_leaf=leaf, max_features=None, random_state=seed)
        forest.fit(latents[train], column[train])
        importances[:, number] = forest.feature_importances_
        chance = (column[test] == np.bincount(column[train]).argmax()).mean()
        skills.append((forest.score(latents[test], column[test]) - chance) / max(1 - chance, 1e-12))
    return DCI(*concentration(importances), float(np.clip(skills, 0, 1).mean()))


def concentration(importances: Floats) -> tuple[float, float]:
    """Disentanglement and completeness of importances, (D, F): 1 − entropy by row and by column, weighted by sums."""
    scores = []
    for table in (importances, importances.T):
        sums = table.sum(1)
        shares = table / np.where(sums > 0, sums, 1.0)[:, None]
        nats = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(1)
        parts = 1 - nats / np.log(table.shape[1]) if table.shape[1] > 1 else np.ones(len(table))
        scores.append(float((parts * sums).sum() / sums.sum()) if sums.sum() > 0 else 0.0)
    return scores[0], scores[1]


def binned(latents: Floats, bins: int) -> Integers:
    """The bin, 0 to bins − 1, of each latent of each sample: as many of equal width between its least and greatest."""
    edges = [np.histogram_bin_edges(column, bins)[1:-1] for column in latents.T]
    return np.stack([np.digitize(column, at) for column, at in zip(latents.T, edges, strict=True)], 1)


def information(cut: Integers, known: Integers) -> Floats:
    """Mutual information in nats of each latent, cut into bins, and each factor, (D, F), from their counts."""
    shared = np.zeros((cut.shape[1], known.shape[1]))
    for number, column in enumerate(known.T):
        width = column.max() + 1
        for latent, row in enumerate(cut.T):
            joint = np.bincount(row * width + column, minlength=(row.max() + 1) * width).reshape(-1, width) / len(row)
            apart = joint.sum(1, keepdims=True) * joint.sum(0)
            shared[latent, number] = (
                joint * np.log(np.where(joint > 0, joint, 1) / np.where(joint > 0, apart, 1))
            ).sum()
    return np.where(shared > 1e-12, shared, 0.0)  # rounding is no information


def entropies(known: Integers) -> Floats:
    """Entropy in nats of each factor, (F,)."""
    return np.array([information(column[:, None], column[:, None])[0, 0] for column in known.T])


def top_two(scores: Floats) -> tuple[Floats, Floats]:
    """The greatest and the second greatest score of each column; 0 where there is no second."""
    ordered = np.sort(np.concatenate([scores, np.zeros((1, scores.shape[1]))]) if len(scores) == 1 else scores, axis=0)
    return ordered[-1], ordered[-2]
