"""FactorVAE, the adversarial autoencoder and VAE-GAN: what their critics estimate, and what they make of the codes."""

from __future__ import annotations

from functools import partial
from math import log

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules import Digits
from digits_for_tests import NETS, digits, train
from lit_ae import functional
from lit_ae.batch import Batch
from lit_ae.errors import ConfigError
from lit_ae.likelihoods import Gaussian
from lit_ae.models.adversarial_ae import AdversarialAE
from lit_ae.models.ae import AE
from lit_ae.models.factor_vae import FactorVAE
from lit_ae.models.vae import VAE
from lit_ae.models.vae_gan import VAEGAN
from lit_ae.nn import MLPEncoder
from lit_ae.nn.critic import logit
from variants import SMALL, SPEC

CRITIC = partial(MLPEncoder, hidden=(64, 64))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_permuted_codes_keep_each_dimension_and_lose_their_company() -> None:
    z = torch.randn(4000, 1).expand(-1, 3) + 0.1 * torch.randn(4000, 3)
    mixed = functional.permuted(z)
    assert torch.equal(mixed.sort(0).values, z.sort(0).values)
    assert torch.corrcoef(z.T)[0, 1] > 0.95
    assert torch.corrcoef(mixed.T)[0, 1].abs() < 0.05  # within a sample nothing stays together: not PyTorch-VAE's error
    rows = torch.cdist(mixed, z).min(1).values
    assert (rows < 1e-6).float().mean() < 0.05


@pytest.mark.slow
def test_the_critics_logit_estimates_the_total_correlation() -> None:
    model = FactorVAE(spec=SPEC, **SMALL | {"latent_dim": 2}, critic=CRITIC)
    optimizer = torch.optim.Adam(model.critic.parameters(), lr=3e-3)
    correlation = 0.8
    mix = torch.tensor([[1.0, correlation], [0.0, (1 - correlation**2) ** 0.5]])
    batch, out = Batch(torch.rand(1000, 1, 8, 8)), model(Batch(torch.rand(1000, 1, 8, 8)))
    for _ in range(400):
        z = torch.randn(1000, 2) @ mix
        out = out.__class__(q=out.q, z=z[None], p=out.p, prior=out.prior, aux={"permuted": functional.permuted(z)})
        optimizer.zero_grad()
        model.alone("critic", batch, out.detach(), model.coefficients)["critic"].mean().backward()
        optimizer.step()
    z = torch.randn(20_000, 2) @ mix
    estimate = logit(model.critic, z).mean().item()
    assert estimate == pytest.approx(-0.5 * log(1 - correlation**2), abs=0.06)


def test_the_terms_are_the_papers() -> None:
    model = FactorVAE(spec=SPEC, **SMALL, critic=CRITIC, gamma_tc=7.0)
    batch = Batch(torch.rand(6, 1, 8, 8))
    out = model(batch)
    terms = model.loss(batch, out, model.coefficients)
    score, apart = (model.critic(value).squeeze(1) for value in (out.z[0], out.aux["permuted"]))
    one, zero = torch.ones(6), torch.zeros(6)
    cross_entropy = partial(F.binary_cross_entropy_with_logits, reduction="none")
    torch.testing.assert_close(terms["critic"], (cross_entropy(score, one) + cross_entropy(apart, zero)) / 2)
    torch.testing.assert_close(terms["total_correlation"], score)
    plain = VAE(spec=SPEC, **SMALL)
    plain.load_state_dict(model.state_dict(), strict=False)
    beside = plain.loss(batch, out, plain.coefficients)
    torch.testing.assert_close(terms["rate"], beside["rate"])
    torch.testing.assert_close(terms["distortion"], beside["distortion"])
    assert model.coefficients["total_correlation"] == 7.0


def test_the_adversaries_cross_entropies_are_the_papers() -> None:
    model = AdversarialAE(spec=SPEC, **SMALL, critic=CRITIC)
    batch = Batch(torch.rand(6, 1, 8, 8))
    out = model(batch)
    terms = model.loss(batch, out, model.coefficients)
    code, drawn = (model.critic(value).squeeze(1).sigmoid() for value in (out.z[0], out.aux["drawn"]))
    torch.testing.assert_close(terms["critic"], -(drawn.log() + (1 - code).log()) / 2)
    torch.testing.assert_close(terms["adversarial"], -code.log())
    assert out.aux["drawn"].shape == (6, 4)


def gaussian_total_correlation(z: Tensor) -> float:
    """Of a Gaussian with the covariance of z: Σ ½ log var − ½ log det."""
    covariance = torch.cov(z.T)
    return (0.5 * covariance.diagonal().log().sum() - 0.5 * torch.logdet(covariance)).item()


@pytest.mark.slow
def test_latents_that_pay_for_their_total_correlation_depend_less_on_each_other() -> None:
    x, _ = digits("train")
    found = []
    for gamma in (0.0, 20.0):
        torch.manual_seed(0)
        sharp = partial(Gaussian, sigma=0.1)
        model = FactorVAE(spec=Digits().spec, latent_dim=4, likelihood=sharp, critic=CRITIC, gamma_tc=gamma, **NETS)
        train(model, 30, x)
        found.append(gaussian_total_correlation(model.encode(x).sample()))
    assert found[0] > 0.03
    assert found[1] < 0.5 * found[0]


@pytest.mark.slow
def test_codes_come_to_look_like_draws_of_the_prior() -> None:
    x, _ = digits("train")
    spec = Digits().spec
    free = train(AE(spec=spec, latent_dim=2, **NETS), 40, x).embed(x)
    torch.manual_seed(0)
    model = AdversarialAE(spec=spec, latent_dim=2, critic=CRITIC, adversarial=1.0, **NETS)
    held = train(model, 80, x).embed(x)

    def apart(z: Tensor) -> float:  # Kolmogorov-Smirnov distance from N(0, 1), the worse of both dimensions
        expected = torch.special.ndtr(z.sort(0).values)
        return (expected - torch.linspace(0, 1, len(z))[:, None]).abs().max().item()

    assert apart(free) > 0.15
    assert apart(held) < 0.5 * apart(free), (apart(held), apart(free))


def test_the_encoder_of_a_vae_gan_does_not_try_to_fool_the_critic() -> None:
    model = VAEGAN(spec=SPEC, **SMALL, critic=CRITIC, critic_features=8)
    batch = Batch(torch.rand(6, 1, 8, 8))
    terms = model.loss(batch, model(batch), model.coefficients)
    terms["adversarial"].sum().backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    assert all(parameter.grad is None for parameter in model.critic.parameters())
    assert all(parameter.grad is not None for parameter in model.decoder.parameters())
    terms["feature"].sum().backward()
    assert all(parameter.grad is not None for parameter in model.encoder.parameters())
    assert all(parameter.grad is None for parameter in model.critic.parameters())


def test_the_terms_of_a_vae_gan_are_the_papers() -> None:
    model = VAEGAN(spec=SPEC, **SMALL, critic=CRITIC, critic_features=8)
    batch = Batch(torch.rand(6, 1, 8, 8))
    out = model(batch)
    terms = model.loss(batch, out, model.coefficients)
    rebuilt, drawn = out.p.mean[0], model.decode(out.aux["drawn"]).mean
    features = {name: F.leaky_relu(model.critic(x), 0.2) for name, x in (("real", batch.x), ("made", rebuilt))}
    torch.testing.assert_close(terms["feature"], (features["real"] - features["made"]).square().sum(1) / 2)
    real, made, prior = (model.judge(x)[1].sigmoid() for x in (batch.x, rebuilt, drawn))
    torch.testing.assert_close(terms["adversarial"], -(made.log() + prior.log()) / 2)
    torch.testing.assert_close(terms["critic"], -(2 * real.log() + (1 - made).log() + (1 - prior).log()) / 4)


def test_a_vae_gan_without_its_critic_is_a_vae() -> None:
    x, _ = digits("train")
    models = []
    for build in (partial(VAE), partial(VAEGAN, feature=0.0, adversarial=0.0, critic=CRITIC)):
        torch.manual_seed(0)
        models.append(build(spec=Digits().spec, latent_dim=4, **NETS))
    batch = Batch(x[:20])
    for model in models:
        torch.manual_seed(1)
        model.weigh(model.loss(batch, model(batch), model.coefficients), model.coefficients).backward()
    for name, parameter in models[0].named_parameters():
        torch.testing.assert_close(models[1].get_parameter(name).grad, parameter.grad)


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [(VAEGAN, {"feature": -1.0}), (FactorVAE, {"gamma_tc": -1.0}), (AdversarialAE, {"adversarial": -1.0})],
)
def test_bad_arguments(cls: type, wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        cls(spec=SPEC, **SMALL, **wrong)
