"""Disentanglement scores: identities, and the published definitions written out once more."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score
from sklearn.svm import LinearSVC
from torch import Tensor

from lit_ae.errors import DataError
from lit_ae.metrics import (
    beta_vae_accuracy,
    beta_vae_score,
    dci,
    factor_vae_accuracy,
    factor_vae_score,
    interventions,
    mig,
    modularity,
    sap,
)
from lit_ae.metrics.disentanglement import concentration

SIZES = (3, 6, 10, 4)


def some_factors(n: int = 3000) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.stack([torch.randint(size, (n,), generator=generator) for size in SIZES], 1)


def noise(n: int, width: int, seed: int = 1) -> Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def entangled(n: int = 3000) -> tuple[Tensor, Tensor]:
    """Six latents that know of four factors in part, in a mixed way, and with noise; and the factors."""
    factors = some_factors(n)
    mixing = noise(4, 6, 2) * torch.tensor([2.0, 1.0, 0.3, 1.0, 0.1, 0.0])
    return factors.float() @ mixing + noise(n, 6), factors


@pytest.mark.parametrize("dead", [0, 3])
def test_a_perfect_code_scores_one(dead: int) -> None:
    factors = some_factors()
    code = torch.cat([0.01 * factors[:, [2, 0, 3, 1]].float() - 5, torch.zeros(3000, dead)], 1)
    assert mig(code, factors) == pytest.approx(1, abs=0.01)
    assert dci(code, factors) == pytest.approx((1, 1, 1), abs=0.005)
    assert factor_vae_score(code, factors) == factor_vae_accuracy(code, factors) == 1
    assert beta_vae_score(code, factors) == pytest.approx(1, abs=0.005)
    assert modularity(code[:, :4], factors) == pytest.approx(1, abs=1e-3)


def test_a_random_code_scores_nothing() -> None:
    factors, code = some_factors(), noise(3000, 8)
    for score in (mig, sap, factor_vae_score, beta_vae_score):
        assert 0 <= score(code, factors) < 0.03, score.__name__  # type: ignore[operator]
    assert max(dci(code, factors)) < 0.04
    assert factor_vae_accuracy(code, factors) == pytest.approx(1 / 4, abs=0.03)
    assert beta_vae_accuracy(code, factors) == pytest.approx(1 / 4, abs=0.03)


def test_a_rotated_code_knows_all_and_is_not_disentangled() -> None:
    factors = some_factors()
    scaled = factors.float() / factors.float().std(0)
    rotated = scaled @ torch.linalg.qr(noise(4, 4)).Q
    found = dci(rotated, factors)
    assert found.informativeness > 0.7
    assert max(found.disentanglement, found.completeness) < 0.4
    assert mig(rotated, factors) < 0.5


@pytest.mark.parametrize("score", [mig, modularity, sap, dci, factor_vae_score, beta_vae_score])
def test_scores_do_not_depend_on_units_or_names(score: Callable[[Tensor, Tensor], object]) -> None:
    z, factors = entangled(900)
    unit = torch.tensor([4.0, 0.25, 2.0, 1.0, 0.5, 8.0])  # powers of two: the same numbers but for their exponent
    assert score(z * unit, 7 * factors - 3) == pytest.approx(score(z, factors), abs=1e-6)


def discretized(z: np.ndarray, bins: int = 20) -> np.ndarray:
    columns = [np.digitize(column, np.histogram(column, bins)[1][:-1]) for column in z.T]
    return np.stack(columns, 1)


def mutual_informations(z: Tensor, factors: Tensor) -> np.ndarray:
    cut = discretized(z.double().numpy())
    return np.array([[mutual_info_score(a, b) for b in factors.numpy().T] for a in cut.T])


def test_mig_is_the_published_formula_with_scikit_learn() -> None:
    z, factors = entangled()
    table = mutual_informations(z, factors)
    entropies = [mutual_info_score(column, column) for column in factors.numpy().T]
    gaps = []
    for number, nats in enumerate(entropies):
        ordered = sorted(table[:, number], reverse=True)
        gaps.append((ordered[0] - ordered[1]) / nats)
    assert mig(z, factors) == pytest.approx(np.mean(gaps), abs=1e-9)
    assert mig(z, factors) > 0.05


def test_modularity_is_the_published_formula_with_scikit_learn() -> None:
    z, factors = entangled()
    scores = []
    for row in mutual_informations(z, factors):
        best = row.argmax()
        template = np.where(np.arange(4) == best, row[best], 0)
        scores.append(1 - ((row - template) ** 2).sum() / (row[best] ** 2 * 3))
    assert modularity(z, factors) == pytest.approx(np.mean(scores), abs=1e-9)
    assert modularity(torch.cat([z, torch.ones(3000, 6)], 1), factors) == pytest.approx(np.mean(scores) / 2, abs=1e-9)


def test_sap_is_the_published_formula_on_other_samples() -> None:
    z, factors = entangled(9000)
    z, known = ((z - z.mean(0)) / z.std(0)).numpy(), factors.numpy()
    gaps = []
    for column in known.T:
        scores = []
        for latent in z.T:
            machine = LinearSVC(C=0.01, class_weight="balanced").fit(latent[:6000, None], column[:6000])
            scores.append((machine.predict(latent[6000:, None]) == column[6000:]).mean())
        scores.sort()
        gaps.append(scores[-1] - scores[-2])
    assert sap(torch.from_numpy(z), factors) == pytest.approx(np.mean(gaps), abs=0.02)
    assert np.mean(gaps) > 0.03


def test_importances_are_concentrated_as_published() -> None:
    table = np.random.default_rng(0).random((6, 4)) ** 3
    table[2] = [0, 0, 1, 0]
    by_code = [1 - entropy(row, base=4) for row in table]
    by_factor = [1 - entropy(column, base=6) for column in table.T]
    disentanglement = sum(s * row.sum() for s, row in zip(by_code, table, strict=True)) / table.sum()
    completeness = sum(s * column.sum() for s, column in zip(by_factor, table.T, strict=True)) / table.sum()
    assert concentration(table) == pytest.approx((disentanglement, completeness))
    assert concentration(np.eye(3)) == pytest.approx((1, 1))
    assert concentration(np.ones((5, 3))) == pytest.approx((0, 0))
    assert concentration(np.zeros((5, 3))) == (0, 0)


def test_dci_is_near_that_of_gradient_boosting() -> None:
    factors = some_factors(2400)[:, [0, 3]]
    z = torch.cat([factors.float() + 0.25 * factors.flip(1).float() + 0.1 * noise(2400, 2), noise(2400, 2, 3)], 1)
    importances, right = [], []
    for column in factors.numpy().T:
        model = GradientBoostingClassifier(n_estimators=30, random_state=0).fit(z[:1600], column[:1600])
        importances.append(model.feature_importances_)
        right.append((model.score(z[1600:], column[1600:]) - 1 / len(set(column))) / (1 - 1 / len(set(column))))
    reference = (*concentration(np.stack(importances, 1)), np.mean(right))
    assert dci(z, factors) == pytest.approx(reference, abs=0.12)
    assert 0.2 < reference[0] < 0.9


def groups(factors: np.ndarray, random: np.random.Generator) -> tuple[int, np.ndarray]:
    """A factor at random, and the samples that have its value in one sample at random."""
    which = random.integers(factors.shape[1])
    value = factors[random.integers(len(factors)), which]
    return which, np.flatnonzero(factors[:, which] == value)


def test_the_factor_vae_score_is_the_published_one() -> None:
    z, factors = (part.numpy() for part in entangled(1500))
    random = np.random.default_rng(5)
    votes = np.zeros((2, 6, 4))
    for table, count in zip(votes, (4000, 4000), strict=True):
        for _ in range(count):
            which, rows = groups(factors, random)
            chosen = random.choice(rows, 64)
            table[(z[chosen].var(0) / z.var(0)).argmin(), which] += 1
    told = votes[0].argmax(1)
    accuracy = votes[1][np.arange(6), told].sum() / votes[1].sum()
    found = factor_vae_accuracy(torch.from_numpy(z), torch.from_numpy(factors))
    assert found == pytest.approx(accuracy, abs=0.03)
    assert 0.3 < found < 0.98
    score = factor_vae_score(torch.from_numpy(z), torch.from_numpy(factors))
    assert score == pytest.approx((found - 0.25) / 0.75)


def test_the_beta_vae_score_is_the_published_one() -> None:
    factors = some_factors(1500)
    mixing = noise(4, 6, 2) * torch.tensor([2.0, 1.0, 0.3, 1.0, 0.1, 0.0])
    z = factors.float() @ mixing + 4 * noise(1500, 6)
    scaled, known = (z / z.std(0)).numpy(), factors.numpy()
    alike = [
        [np.flatnonzero(column == value) for value in range(size)] for column, size in zip(known.T, SIZES, strict=True)
    ]
    random = np.random.default_rng(5)
    sets = []
    for count in (2000, 2000):
        points, labels = [], []
        for _ in range(count):
            which = random.integers(4)
            one = random.integers(1500, size=64)
            rows = [alike[which][value] for value in known[one, which]]
            other = [same[int(u * len(same))] for same, u in zip(rows, random.random(64), strict=True)]
            points.append(np.abs(scaled[one] - scaled[other]).mean(0))
            labels.append(which)
        sets.append((np.stack(points), np.array(labels)))
    accuracy = LogisticRegression().fit(*sets[0]).score(*sets[1])
    found = beta_vae_accuracy(z, factors)
    assert found == pytest.approx(accuracy, abs=0.03)
    assert 0.35 < found < 0.98


def test_they_repeat_themselves_by_seed_and_leave_the_generators_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interventions, "TRAIN", 500)
    monkeypatch.setattr(interventions, "TEST", 300)
    z, factors = entangled(600)
    torch.manual_seed(3)
    np.random.seed(3)
    expected, expected_numpy = torch.rand(1), np.random.rand()
    torch.manual_seed(3)
    np.random.seed(3)
    for score in (dci, factor_vae_score, beta_vae_score):
        assert score(z, factors, seed=1) == score(z, factors, seed=1)  # type: ignore[operator]
        assert score(z, factors, seed=1) != score(z, factors, seed=2)  # type: ignore[operator]
    assert sap(z, factors) == sap(z, factors)
    assert torch.equal(torch.rand(1), expected)
    assert np.random.rand() == expected_numpy


def test_factors_that_do_not_vary_are_left_out_and_one_latent_is_enough() -> None:
    factors = some_factors(900)
    still = torch.cat([torch.full((900, 1), 7), factors], 1)
    z = factors.float() + 0.3 * noise(900, 4)
    for score in (mig, modularity, sap, dci, factor_vae_score, beta_vae_score):
        assert score(z, still) == score(z, factors), score.__name__  # type: ignore[operator]
    one = factors[:, :1]
    assert mig(one.float(), one) == pytest.approx(1)
    assert dci(one.float(), one) == pytest.approx((1, 1, 1))
    assert sap(torch.zeros(900, 2), factors) == 0
    assert dci(torch.zeros(900, 2), factors) == (0, 0, 0)
    assert factor_vae_score(torch.zeros(900, 2), factors) == 0


def test_entropy_of_a_uniform_factor_bounds_what_a_latent_can_know() -> None:
    factors = torch.arange(2000)[:, None] % 5
    both = torch.cat([factors.float(), factors.float()], 1)
    assert mig(both, factors) == 0
    assert mutual_informations(both, factors).max() == pytest.approx(log(5))


def test_user_mistakes_are_named() -> None:
    factors = some_factors(50)
    with pytest.raises(DataError, match="0 of the factors vary"):
        mig(noise(50, 2), torch.ones(50, 2, dtype=torch.int64))
    for score in (modularity, factor_vae_score, beta_vae_score):
        with pytest.raises(DataError, match="needs 2 or more"):
            score(noise(50, 2), factors[:, :1])  # type: ignore[operator]
    with pytest.raises(DataError, match="as many of both"):
        sap(noise(49, 2), factors)
    with pytest.raises(DataError, match="not all finite"):
        dci(noise(50, 2) / 0, factors)
    with pytest.raises(DataError, match="No two samples share a value of factor 1"):
        factor_vae_score(noise(50, 2), torch.stack([factors[:, 0], torch.arange(50)], 1))
