"""Active units and mutual information: closed forms, and the sum over all pairs written out."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Laplace, Normal

from lit_ae.errors import ConfigError
from lit_ae.metrics import active_units, latents, mutual_information
from lit_ae.models.joint import Joint
from lit_ae.posteriors import Delta, DiagonalGaussian
from lit_ae.quantized import Codes, Quantized


def gaussian(n: int, scale: tuple[float, ...], shape: tuple[int, ...] = (), seed: int = 0) -> DiagonalGaussian:
    """z = x + σ ε with x ~ N(0, I), a linear-Gaussian encoder."""
    width = torch.tensor(scale)
    x = torch.randn(n, len(scale), generator=torch.Generator().manual_seed(seed))
    shape = shape or (len(scale),)
    return DiagonalGaussian(x.reshape(n, *shape), width.expand(n, -1).reshape(n, *shape), len(shape))


def test_active_units_are_those_whose_mean_varies() -> None:
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(5000, 6, generator=generator) * torch.tensor([1.0, 0.2, 0.11, 0.09, 0.01, 0.0]) + 50
    assert active_units(means) == 3
    assert active_units(means, threshold=0.03) == 2
    assert active_units(means.unflatten(1, (2, 3))) == 3
    assert active_units(means[:1]) == 0


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1)])
def test_a_linear_gaussian_encoder_has_the_information_of_a_gaussian_channel(shape: tuple[int, ...]) -> None:
    scale = (0.5, 1.0, 4.0)
    exact = sum(log(1 + 1 / sigma**2) / 2 for sigma in scale)
    assert mutual_information(gaussian(4000, scale, shape), samples=2) == pytest.approx(exact, abs=0.06)
    assert exact > 1


def test_it_lies_between_nothing_and_the_logarithm_of_the_number_of_samples() -> None:
    n = 300
    same = DiagonalGaussian(torch.full((n, 2), 3.0), torch.ones(n, 2))
    assert mutual_information(same) == pytest.approx(0, abs=1e-6)
    assert mutual_information(gaussian(n, (1e-6, 1e-6))) == pytest.approx(log(n), abs=1e-6)


def written_out(q: Independent, seed: int) -> float:
    """Σ_i (log q(z_i|x_i) − log (1/N) Σ_j q(z_i|x_j)) / N with the same noise, by a loop."""
    n = q.batch_shape[0]
    drawn: list[Tensor] = []
    original = type(q).sample

    def spy(self: Independent, *args: object) -> Tensor:
        drawn.append(original(self, *args))  # type: ignore[arg-type]
        return drawn[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(q), "sample", spy)
        found = mutual_information(q, seed=seed)
    total = 0.0
    for number, z in enumerate(drawn[-1]):
        densities = q.log_prob(z.expand(n, *z.shape)).double()
        total += (densities[number] - densities.logsumexp(0) + log(n)).item()
    assert found == pytest.approx(total / n, abs=1e-4)
    return found


@pytest.mark.parametrize("budget", [2**25, 5000, 1])
def test_all_pairs_are_summed_in_parts_of_any_size(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latents, "BUDGET", budget)
    generator = torch.Generator().manual_seed(1)
    loc, scale = torch.randn(53, 4, generator=generator), torch.rand(53, 4, generator=generator) + 0.1
    gauss = written_out(DiagonalGaussian(loc + 100, scale), seed=2)
    other = written_out(Independent(Laplace(loc, scale), 1), seed=2)
    assert 0.5 < other != gauss
    plain = mutual_information(Independent(Normal(loc, scale), 1), seed=2)  # not known as a product of matrices
    assert plain == pytest.approx(mutual_information(DiagonalGaussian(loc, scale), seed=2), abs=1e-5)


def test_codes_carry_what_their_distribution_says() -> None:
    logits = torch.randn(40, 5, 2, 3, generator=torch.Generator().manual_seed(0))
    q = Codes(logits)
    assert 1 < mutual_information(q) < log(40)
    small = Codes(logits[..., :1, :1])
    assert mutual_information(small, samples=400) == pytest.approx(all_codes(small), abs=0.02)
    sharp = Codes(1000 * logits[..., :1, :1])
    counts = sharp.codes.flatten().bincount().double() / 40
    assert mutual_information(sharp) == pytest.approx(
        -(counts[counts > 0] * counts[counts > 0].log()).sum().item(), abs=1e-3
    )


def all_codes(q: Codes) -> float:
    """H(E[p]) − E[H(p)] of one code per sample."""
    share = q.mean.mean(0).flatten()
    return (-(share * share.log()).sum() - q.entropy().mean()).item()


def test_codes_without_noise_carry_their_entropy() -> None:
    codes = torch.tensor([[[0, 1]], [[0, 1]], [[1, 0]], [[1, 1]]])
    value = torch.zeros(4, 3, 1, 2)
    exact = log(2) / 2 + 2 * log(4) / 4
    assert mutual_information(Quantized(value, value, codes)) == pytest.approx(exact)


def test_it_repeats_itself_by_seed_and_leaves_the_generators_alone() -> None:
    q = gaussian(50, (0.5, 0.5))
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    assert mutual_information(q, seed=1) == mutual_information(q, seed=1)
    assert mutual_information(q, seed=1) != mutual_information(q, seed=2)
    assert torch.equal(torch.rand(1), expected)


def test_posteriors_without_a_density_are_refused() -> None:
    with pytest.raises(ConfigError, match="no density"):
        mutual_information(Delta(torch.randn(5, 2)))
    with pytest.raises(ConfigError, match="hierarchy"):
        mutual_information(Joint(lambda _: ((), ()), torch.Size((5,)), [(2,)]))
