"""Importance-weighted bounds and the gradients of the models trained on them."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from math import exp, log
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, StudentT

from digits_for_tests import NETS, digits, train
from lit_ae import importance
from lit_ae.batch import Batch, DataSpec, Shape
from lit_ae.errors import ConfigError
from lit_ae.likelihoods import Gaussian
from lit_ae.metrics import nll
from lit_ae.models.ciwae import CIWAE
from lit_ae.models.importance_weighted import ImportanceWeighted
from lit_ae.models.iwae import IWAE
from lit_ae.models.latent import VectorVariational
from lit_ae.models.miwae import MIWAE
from lit_ae.models.output import Output
from lit_ae.models.piwae import PIWAE
from lit_ae.models.vae import VAE
from lit_ae.nn import MLPDecoder, MLPEncoder
from lit_ae.posteriors import DiagonalGaussian, PosteriorHead

SMALL: dict[str, Any] = {
    "spec": DataSpec((1, 8, 8)),
    "latent_dim": 3,
    "encoder": partial(MLPEncoder, hidden=(16,)),
    "decoder": partial(MLPDecoder, hidden=(16,), activation=nn.Tanh),
    "likelihood": partial(Gaussian, sigma=0.5, learned="scalar"),
}


class StudentHead(PosteriorHead):
    """A posterior whose KL to the prior has no closed form: rates are sampled."""

    def raw_shape(self) -> Shape:
        return (2 * self.shape[0],)

    def forward(self, raw: Tensor) -> Independent:
        loc, log_scale = raw.chunk(2, -1)
        return Independent(StudentT(10.0, loc, log_scale.exp(), validate_args=False), 1, validate_args=False)


@pytest.fixture
def x() -> Tensor:
    return digits("test")[0][:12]


def twins(*builders: partial[VectorVariational]) -> list[VectorVariational]:
    """Models with the same parameters."""
    torch.manual_seed(0)
    models = [build(**{**SMALL, **build.keywords}) for build in builders]
    for model in models[1:]:
        model.load_state_dict(models[0].state_dict())
    return models


def backward(model: VectorVariational, x: Tensor, seed: int = 1) -> tuple[Output, Tensor]:
    """One pass with the noise of a seed: gradients are left behind, the loss is returned."""
    torch.manual_seed(seed)
    model.zero_grad()
    out = model(Batch(x))
    loss = model.weigh(model.loss(Batch(x), out, model.coefficients), model.coefficients)
    loss.backward()
    return out, loss.detach()


def slopes(model: VectorVariational, part: str = "") -> dict[str, Tensor]:
    """Gradients of the parameters whose name starts so."""
    found = {name: p.grad.clone() for name, p in model.named_parameters() if name.startswith(part)}  # type: ignore[union-attr]
    assert found
    return found


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-4, atol=1e-5 * float(value.abs().max()), msg=name)


def log_weights(model: VectorVariational, x: Tensor, out: Output) -> Tensor:
    """log p(x|z) + log p(z) − log q(z|x), (K, B), anew."""
    assert out.prior is not None
    return out.p.log_prob(x) + out.prior.log_prob(out.z) - out.q.log_prob(out.z)  # type: ignore[union-attr, arg-type]


@pytest.mark.parametrize(("groups", "sizes"), [(1, [6]), (2, [3, 3]), (3, [2, 2, 2]), (4, [2, 2, 1, 1]), (9, [1] * 6)])
def test_each_group_is_normalised_by_its_own_size(groups: int, sizes: list[int]) -> None:
    torch.manual_seed(0)
    log_w = 2 * torch.randn(6, 5, dtype=torch.float64)
    members = [list(range(group, 6, len(sizes))) for group in range(len(sizes))]
    assert [len(group) for group in members] == sizes
    for column, value in enumerate(importance.bound(log_w, groups)):
        by_hand = [log(sum(exp(log_w[k, column]) for k in group) / len(group)) for group in members]
        assert value == pytest.approx(sum(by_hand) / len(sizes), abs=1e-12)


@pytest.mark.parametrize("groups", [1, 2, 3, 4])
def test_the_weights_are_the_derivative_of_the_bound(groups: int) -> None:
    log_w = torch.randn(6, 5, requires_grad=True)
    (slope,) = torch.autograd.grad(importance.bound(log_w, groups).sum(), log_w)
    torch.testing.assert_close(importance.weights(log_w.detach(), groups), slope)
    torch.testing.assert_close(slope.sum(0), torch.ones(5))


def test_the_bound_rises_with_k_to_log_p_and_not_with_m() -> None:
    torch.manual_seed(0)
    log_w = torch.randn(200, 20_000) - 0.5  # log-normal weights with mean 1: log p = 0
    means = [importance.bound(log_w[:k]).mean().item() for k in (1, 2, 5, 10, 50, 200)]
    assert means[0] == pytest.approx(-0.5, abs=0.03)
    assert all(low + 0.003 < high for low, high in pairwise(means))
    assert -0.01 < means[-1] < 0.001
    assert importance.bound(log_w[:50], 10).mean() == pytest.approx(means[2], abs=0.01)  # 10 groups of 5


@pytest.mark.parametrize("model", [IWAE, MIWAE])
def test_a_models_loss_falls_with_k(model: type[ImportanceWeighted], x: Tensor) -> None:
    torch.manual_seed(0)
    many = Batch(x[:1].expand(2000, *x.shape[1:]))
    losses = []
    for k in (1, 3, 10):
        (built,) = twins(partial(model, samples=k))
        torch.manual_seed(1)
        with torch.no_grad():
            losses.append(built.loss(many, built(many), built.coefficients)["nll_bound"].mean().item())
    assert losses[0] > losses[1] + 0.2 > losses[2] + 0.4


def test_with_one_sample_iwae_is_the_vae_with_a_sampled_rate(x: Tensor) -> None:
    vae, iwae = twins(partial(VAE, posterior=StudentHead), partial(IWAE, posterior=StudentHead, samples=1))
    (_, one), (_, other) = backward(vae, x), backward(iwae, x)
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
    for name, slope in slopes(vae).items():
        torch.testing.assert_close(slope, slopes(iwae)[name], rtol=1e-6, atol=1e-6 * float(slope.abs().max()))


def test_with_one_sample_iwae_is_the_vae_in_expectation(x: Tensor) -> None:
    vae, iwae = twins(partial(VAE), partial(IWAE, samples=1))
    many = Batch(x[:1].expand(20_000, *x.shape[1:]))
    torch.manual_seed(0)
    with torch.no_grad():
        bound = iwae.loss(many, iwae(many), iwae.coefficients)["nll_bound"]
        terms = vae.loss(many, vae(many), vae.coefficients)
    elbo = terms["distortion"] + terms["rate"]
    error = (bound.var() + elbo.var()).sqrt() / len(bound) ** 0.5
    assert (bound.mean() - elbo.mean()).abs() < 4 * error < 1.0


def test_its_gradient_follows_the_normalised_weights_and_the_best_sample_most(x: Tensor) -> None:
    (model,) = twins(partial(IWAE, samples=4))
    out, _ = backward(model, x)
    got = slopes(model)
    torch.manual_seed(1)
    log_w = log_weights(model, x, model(Batch(x)))
    normalised = (log_w - log_w.amax(0)).exp().detach()
    normalised = normalised / normalised.sum(0)
    assert normalised.amax(0).mean() > 0.4  # the samples differ, so that the sign of the exponent matters
    model.zero_grad()
    (-(normalised * log_w).sum(0).mean()).backward()
    assert_same(slopes(model), got)
    assert out.z.shape[0] == 4  # type: ignore[union-attr]


def test_all_samples_are_decoded_in_one_pass(x: Tensor) -> None:
    doubly = partial(IWAE, samples=6, gradient="doubly")
    for build in (partial(IWAE, samples=6), doubly, partial(PIWAE, samples=3, groups=2)):
        (model,) = twins(build)
        sizes: list[int] = []
        model.decoder.register_forward_hook(lambda net, given, raw, sizes=sizes: sizes.append(len(raw)))
        backward(model, x)
        assert sizes == [6 * len(x)]


@pytest.mark.parametrize("build", [IWAE, MIWAE, PIWAE])
def test_the_doubly_reparameterised_gradient_is_unbiased_and_less_noisy(
    build: type[ImportanceWeighted], x: Tensor
) -> None:
    standard, doubly = twins(partial(build, samples=32), partial(build, samples=32, gradient="doubly"))
    many = x[:1].expand(4000, *x.shape[1:])
    draws = []
    for model in (standard, doubly):
        torch.manual_seed(1)
        model.zero_grad()
        out = model(Batch(many))
        assert isinstance(out.q, DiagonalGaussian)
        out.q.loc.retain_grad()
        out.q.scale.retain_grad()
        model.loss(Batch(many), out, model.coefficients)["nll_bound"].sum().backward()
        assert out.q.loc.grad is not None
        assert out.q.scale.grad is not None
        draws.append(torch.cat([out.q.loc.grad, out.q.scale.grad], 1))  # one estimate per row
    one, other = draws
    error = ((one.var(0) + other.var(0)) / len(one)).sqrt()
    assert ((one.mean(0) - other.mean(0)).abs() < 4 * error).all()
    assert (other.var(0) < 0.5 * one.var(0)).all()
    assert (other.mean(0).abs() > 4 * other.std(0) / len(other) ** 0.5).any()  # there is something to agree about
    for part in ("decoder", "likelihood"):
        assert_same(slopes(standard, part), slopes(doubly, part))


def test_miwae_is_the_mean_of_ms_bounds_of_k(x: Tensor) -> None:
    (model,) = twins(partial(MIWAE, samples=5, groups=3))
    out, loss = backward(model, x)
    assert isinstance(out.z, Tensor)
    assert len(out.z) == 15
    log_w = log_weights(model, x, out)
    by_hand = torch.stack([log_w[group::3].double().exp().mean(0).log() for group in range(3)])
    torch.testing.assert_close(loss.double(), -by_hand.mean(), rtol=1e-5, atol=1e-5)
    one_group, one_each = twins(partial(MIWAE, samples=15, groups=1), partial(MIWAE, samples=1, groups=15))
    (iwae,) = twins(partial(IWAE, samples=15))
    assert backward(one_group, x)[1] == backward(iwae, x)[1]
    assert backward(one_each, x)[1] > loss > backward(iwae, x)[1]


@pytest.mark.parametrize("k", [1, 2, 7, 13])
@pytest.mark.parametrize("build", [IWAE, MIWAE, PIWAE, CIWAE])
def test_evaluation_may_use_any_number_of_samples(build: type[ImportanceWeighted], k: int, x: Tensor) -> None:
    (model,) = twins(partial(build, samples=3))
    with torch.no_grad():
        out = model(Batch(x), k)
        got = model.loss(Batch(x), out, model.coefficients)["nll_bound"]
        log_w = log_weights(model, x, out)
    groups = min(k, 4) if build is MIWAE else 1
    by_hand = [log_w[group::groups].logsumexp(0) - log(len(log_w[group::groups])) for group in range(groups)]
    torch.testing.assert_close(got, -torch.stack(by_hand).mean(0))


@pytest.mark.parametrize("gradient", ["standard", "doubly"])
@pytest.mark.parametrize("sigma", [0.5, 0.02], ids=["weights alike", "weights hundreds of nats apart"])
def test_piwae_trains_the_decoder_as_iwae_and_the_encoder_as_miwae(gradient: str, sigma: float, x: Tensor) -> None:
    likelihood = partial(Gaussian, sigma=sigma, learned="scalar", min_sigma=0.001)
    given: dict[str, Any] = {"gradient": gradient, "likelihood": likelihood}
    piwae, miwae, iwae = twins(
        partial(PIWAE, samples=5, groups=3, **given),
        partial(MIWAE, samples=5, groups=3, **given),
        partial(IWAE, samples=15, **given),
    )
    (_, one), _, (_, other) = backward(piwae, x), backward(miwae, x), backward(iwae, x)
    assert_same(slopes(iwae, "decoder"), slopes(piwae, "decoder"))
    assert_same(slopes(iwae, "likelihood"), slopes(piwae, "likelihood"))
    assert_same(slopes(miwae, "encoder"), slopes(piwae, "encoder"))
    torch.testing.assert_close(one, other)
    apart = slopes(iwae, "encoder")["encoder.layers.0.weight"] - slopes(miwae, "encoder")["encoder.layers.0.weight"]
    assert apart.abs().max() > 1e-3  # the two bounds do not agree by chance


def test_ciwae_is_between_the_vae_and_iwae(x: Tensor) -> None:
    iwae, none, some, all_ = twins(
        partial(IWAE, samples=6), *(partial(CIWAE, samples=6, elbo_weight=beta) for beta in (0.0, 0.3, 1.0))
    )
    losses = [backward(model, x)[1] for model in (iwae, none, some, all_)]
    assert losses[0] == losses[1]
    torch.testing.assert_close(losses[2], 0.7 * losses[1] + 0.3 * losses[3])
    (vae,) = twins(partial(VAE))
    torch.manual_seed(1)
    out = vae(Batch(x), 6)
    terms = vae.loss(Batch(x), out, vae.coefficients)
    torch.testing.assert_close(losses[3], vae.weigh(terms, vae.coefficients).detach())
    vae.weigh(terms, vae.coefficients).backward()
    assert_same(slopes(vae), slopes(all_))
    for name, slope in slopes(some).items():
        mixed = 0.7 * slopes(iwae)[name] + 0.3 * slopes(vae)[name]
        torch.testing.assert_close(slope, mixed, rtol=1e-4, atol=1e-5 * float(mixed.abs().max()))


@pytest.mark.slow
def test_many_samples_make_held_out_digits_likelier() -> None:
    held_out, likelihood = Batch(digits("test")[0]), partial(Gaussian, sigma=0.2)
    nats = []
    for build in (VAE, partial(IWAE, samples=20), partial(IWAE, samples=20, gradient="doubly")):
        torch.manual_seed(0)
        model = train(build(spec=SMALL["spec"], latent_dim=2, likelihood=likelihood, **NETS), 30, digits("train")[0])
        nats.append(nll(model, held_out, samples=1000).nats.mean().item())
    vae, iwae, doubly = nats
    assert max(iwae, doubly) < vae - 2.0
    assert abs(iwae - doubly) < 1.0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (partial(IWAE, samples=0), "--model.samples"),
        (partial(MIWAE, groups=0), "--model.groups"),
        (partial(PIWAE, gradient="triply"), "--model.gradient"),
        (partial(CIWAE, elbo_weight=1.5), "--model.elbo_weight"),
        (partial(IWAE, free_bits=0.5), "--model.free_bits"),
    ],
)
def test_user_mistakes_are_named(build: partial[ImportanceWeighted], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**SMALL)
