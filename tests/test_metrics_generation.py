"""FID, KID, precision, recall, density and coverage: torchmetrics, closed forms, and definitions written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from lit_ae.errors import DataError
from lit_ae.metrics import fid, generation, kid, prdc


def sets(n: int = 300, m: int = 250, width: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=generator) / 3
    real = torch.randn(n, width, generator=generator) @ mixing
    return real, 1.3 * torch.randn(m, width, generator=generator) @ mixing.T + 0.4


class Identity(nn.Module):
    num_features = 12

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_fid_agrees_with_torchmetrics() -> None:
    real, fake = sets()
    reference = FrechetInceptionDistance(feature=Identity())
    reference.update(real, real=True)
    reference.update(fake, real=False)
    assert fid(real, fake) == pytest.approx(reference.compute().item(), rel=1e-4)
    assert fid(real, fake) == pytest.approx(fid(fake, real))


@pytest.mark.parametrize("n", [300, 8])
def test_fid_of_identical_sets_is_zero(n: int) -> None:
    real, _ = sets(n)
    real = 50 * real + 1000
    assert fid(real, real) == pytest.approx(0, abs=1e-8)
    assert fid(real, real.flip(0)) == pytest.approx(0, abs=1e-8)


def test_fid_of_gaussians_with_known_moments() -> None:
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3).double()  # mean 0, covariance I · 8/7
    scale, other, shift = torch.tensor([[1.0, 2.0, 3.0], [2.0, 2.0, 0.5], [1.0, -2.0, 0.0]]).double()
    expected = shift.square().sum() + ((scale - other).square() * 8 / 7).sum()  # axes agree: ‖μ₁ − μ₂‖² + ‖σ₁ − σ₂‖²
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).double()).Q
    assert fid(signs * scale @ turn, (signs * other + shift) @ turn) == pytest.approx(expected.item(), rel=1e-9)


def test_kid_agrees_with_torchmetrics() -> None:
    real, fake = sets(250, 250)
    reference = KernelInceptionDistance(feature=Identity(), subsets=1, subset_size=250)
    reference.update(real, real=True)
    reference.update(fake, real=False)
    whole = kid(real, fake, subsets=3, size=1000)
    assert whole.mean == pytest.approx(reference.compute()[0].item(), rel=1e-3)
    assert whole.std == pytest.approx(0, abs=1e-9)
    torch.manual_seed(0)
    reference = KernelInceptionDistance(feature=Identity(), subsets=200, subset_size=60)
    reference.update(real, real=True)
    reference.update(fake, real=False)
    mean, std = (value.item() for value in reference.compute())
    found = kid(real, fake, subsets=200, size=60)
    assert found.mean == pytest.approx(mean, abs=5 * std / 200**0.5)
    assert found.std == pytest.approx(std, rel=0.2)


def test_kid_is_unbiased() -> None:
    one, other = sets(1000, seed=1)[0].chunk(2)
    found = kid(one, other, subsets=100, size=100)
    assert abs(found.mean) < 0.3 * found.std
    assert kid(one, 1.5 * other, size=100).mean > 2 * found.std


def everything(real: Tensor, fake: Tensor, k: int) -> tuple[float, ...]:
    """Naeem et al. 2020, eqs. 2-6, by loops over all pairs."""

    def reach(own: Tensor) -> list[float]:
        return [sorted((own - x).norm(dim=1).tolist())[k] for x in own]

    near, fake_near = reach(real), reach(fake)
    gap = [[(x - y).norm().item() for y in fake] for x in real]
    n, m = len(real), len(fake)
    precision = sum(any(gap[i][j] < near[i] for i in range(n)) for j in range(m)) / m
    recall = sum(any(gap[i][j] < fake_near[j] for j in range(m)) for i in range(n)) / n
    density = sum(gap[i][j] < near[i] for i in range(n) for j in range(m)) / (k * m)
    coverage = sum(any(gap[i][j] < near[i] for j in range(m)) for i in range(n)) / n
    return precision, recall, density, coverage


@pytest.mark.parametrize("budget", [2**25, 8 * 70 * 9, 1])
def test_prdc_is_the_published_definition_in_parts_of_any_size(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "BUDGET", budget)
    real, fake = (part.double() for part in sets(70, 60, 3))
    expected = everything(real, fake, 3)
    assert prdc(real, fake, k=3) == pytest.approx(expected)
    assert len(set(expected)) == 4
    assert all(0.05 < value < 0.95 for value in expected)


def test_prdc_at_its_ends() -> None:
    real, _ = sets(200)
    assert prdc(real, real)[::3] == (1, 1)
    assert prdc(real, real).recall == 1
    assert prdc(real, real + 1000) == (0, 0, 0, 0)
    one = prdc(real, real[:1] + 1e-3 * torch.randn(200, 12))  # all at one place
    assert one.precision == 1
    assert one.density > 1
    assert one.recall < 0.1 > one.coverage


def test_features_in_half_precision_are_computed_in_double() -> None:
    real, fake = (part.half() for part in sets())
    assert fid(real, fake) == pytest.approx(fid(real.double(), fake.double()))
    assert kid(real, fake) == kid(real.double(), fake.double())
    assert prdc(real, fake) == prdc(real.double(), fake.double())


def test_kid_repeats_itself_by_seed_and_leaves_the_generators_alone() -> None:
    real, fake = sets()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    assert kid(real, fake, size=50, seed=1) == kid(real, fake, size=50, seed=1)
    assert kid(real, fake, size=50, seed=1) != kid(real, fake, size=50, seed=2)
    assert torch.equal(torch.rand(1), expected)


def test_user_mistakes_are_named() -> None:
    real, fake = sets()
    with pytest.raises(DataError, match="same columns"):
        fid(real, fake[:, :3])
    with pytest.raises(DataError, match="give 6 or more"):
        prdc(real, fake[:5])
    with pytest.raises(DataError, match="give 2 or more"):
        kid(real[:1], fake)
    with pytest.raises(DataError, match="not all finite"):
        fid(real, fake / 0)
