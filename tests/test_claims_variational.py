"""What a course says of VAEs, conditional VAEs and target propagation, trained for on the embedded digits."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise_distances
from sklearn.svm import SVC
from torch import Tensor

from datamodules import Digits
from digits_for_tests import NETS, digits, mse, train
from lit_ae import functional
from lit_ae.batch import Batch
from lit_ae.likelihoods import Gaussian
from lit_ae.models.ae import AE
from lit_ae.models.beta_vae import BetaVAE
from lit_ae.models.cvae import CVAE
from lit_ae.models.target_prop import TargetProp
from lit_ae.models.vae import VAE
from lit_ae.nn import MLPDecoder
from lit_ae.posteriors import DeltaHead, DiagonalGaussian
from lit_ae.priors import StandardNormal

SPEC = Digits().spec
SHARP = partial(Gaussian, sigma=0.3)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def precision_and_density(real: Tensor, made: Tensor, k: int = 5) -> tuple[float, float]:
    """Share of samples within reach of real data, and in reach of how many (Naeem et al. 2020, eq. 2 and 3)."""
    real_, made_ = real.flatten(1).numpy(), made.detach().flatten(1).numpy()
    reach = np.sort(pairwise_distances(real_), axis=1)[:, k]
    within = pairwise_distances(real_, made_) < reach[:, None]
    return within.any(0).mean(), within.sum(0).mean() / k


def test_the_analytic_rate_equals_its_monte_carlo_estimate() -> None:
    q = DiagonalGaussian(torch.randn(6, 4), torch.rand(6, 4) + 0.2)
    prior = StandardNormal((4,))()
    z = q.sample((200_000,))
    ratios = q.log_prob(z) - prior.log_prob(z)
    exact = functional.rate(q, prior, z)
    error = ratios.std(0) / len(z) ** 0.5
    assert ((ratios.mean(0) - exact).abs() < 4 * error).all()
    assert (error < 0.02 * exact).all()


@pytest.mark.slow
def test_samples_of_the_prior_look_like_data_and_random_codes_of_the_plain_autoencoder_do_not() -> None:
    x, _ = digits("train")
    vae = train(VAE(spec=SPEC, latent_dim=16, likelihood=SHARP, **NETS), 40, x)
    ae = train(AE(spec=SPEC, latent_dim=16, **NETS), 40, x)
    torch.manual_seed(1)
    noise = torch.randn(1000, 16)
    codes = ae.embed(x)
    near, dense = precision_and_density(x, vae.sample(1000))
    assert near > 0.8
    assert dense > 0.7
    for random in (noise, codes.mean(0) + codes.std(0) * noise):  # the second: the right mean and spread even
        near, dense = precision_and_density(x, ae.decode(random).mean)
        assert near < 0.4
        assert dense < 0.2


def test_with_a_delta_posterior_the_free_energy_is_the_plain_autoencoders() -> None:
    x, _ = digits("train")
    models = []
    for build in (partial(AE), partial(BetaVAE, posterior=DeltaHead, beta=3.0)):
        torch.manual_seed(0)
        models.append(train(build(spec=SPEC, latent_dim=4, **NETS), 2, x))
    plain, free = models
    batch = Batch(x[:50])
    one, other = (model.loss(batch, model(batch), model.coefficients) for model in models)
    assert one.keys() == other.keys()
    assert torch.equal(one["distortion"], other["distortion"])
    for name, value in plain.state_dict().items():
        assert torch.equal(free.state_dict()[name], value), name


def test_without_a_rate_the_bubbles_shrink_or_fly_apart() -> None:
    x, _ = digits("train")
    model = BetaVAE(spec=SPEC, latent_dim=4, beta=0.0, likelihood=SHARP, **NETS)
    before = model.encode(x)
    train(model, 40, x)
    after = model.encode(x)
    assert isinstance(before, DiagonalGaussian)
    assert isinstance(after, DiagonalGaussian)

    def apart(q: DiagonalGaussian) -> float:
        return (q.loc.std(0) / q.scale.mean(0)).min().item()

    assert (before.scale.mean() > 0.8) & (apart(before) < 1)
    assert after.scale.square().mean() < 0.1 * before.scale.square().mean() or after.loc.norm(dim=1).mean() > 10
    assert apart(after) > 10


def test_with_a_rate_the_unused_dimensions_return_to_the_prior() -> None:
    x, _ = digits("train")
    model = train(BetaVAE(spec=SPEC, latent_dim=10, beta=4.0, likelihood=SHARP, **NETS), 60, x)
    held_out, _ = digits("test")
    q = model.encode(held_out)
    assert isinstance(q, DiagonalGaussian)
    v = q.scale.square()
    used = functional.active_units(q.loc)
    assert int((~used).sum()) >= 3
    spread = (v - v.log() - 1).mean(0)  # twice the part of the rate that the variance pays
    assert (v.mean(0)[~used] - 1).abs().max() < 0.05
    assert spread[~used].max() < 0.01
    assert (v.mean(0) < 0.6).sum() >= 2
    assert spread[v.mean(0) < 0.6].min() > 0.05


def test_samples_drawn_for_a_class_are_classified_as_it() -> None:
    x, y = digits("train")
    held_out, labels = digits("test")
    judge = SVC().fit(x.flatten(1), y)
    assert judge.score(held_out.flatten(1), labels) > 0.97
    spec = replace(SPEC, condition_shape=())
    model = train(CVAE(spec=spec, latent_dim=8, likelihood=SHARP, **NETS), 40, x, c=y)
    wanted = torch.arange(1000) % 10
    torch.manual_seed(1)
    drawn = model.sample(1000, wanted)
    assert judge.score(drawn.flatten(1), wanted) > 0.9
    assert drawn[wanted == 3].std(0).mean() > 0.05  # of many hands, not one picture per class


def test_a_condition_may_be_a_vector() -> None:
    x, y = digits("train")
    torch.manual_seed(0)
    embedding = torch.randn(10, 12)[y]  # what an embedding of another picture of the class may look like
    spec = replace(SPEC, condition_shape=(12,))
    model = train(CVAE(spec=spec, latent_dim=8, likelihood=SHARP, **NETS), 30, x, c=embedding)
    judge = SVC().fit(x.flatten(1), y)
    assert judge.score(model.sample(len(y), embedding).flatten(1), y) > 0.9


@pytest.mark.slow
def test_target_propagation_trains_to_the_autoencoders_error() -> None:
    x, _ = digits("train")
    held_out, _ = digits("test")
    plain = mse(train(AE(spec=SPEC, latent_dim=8, **NETS), 60, x), held_out)
    apart = mse(train(TargetProp(spec=SPEC, latent_dim=8, **NETS), 60, x), held_out)
    assert plain < 1.3  # of a variance of 19 per picture
    assert abs(apart - plain) < 0.1 * plain


@pytest.mark.parametrize("shrinkage", [0.0, 3.0])
def test_the_encoders_target_is_where_cost_distance_and_size_balance(shrinkage: float) -> None:
    x, _ = digits("test")
    smooth = partial(MLPDecoder, hidden=(128,), activation=torch.nn.Tanh)  # no kinks to stop at
    nets = NETS | {"decoder": smooth}
    model = TargetProp(
        spec=SPEC, latent_dim=3, distance=2.0, target_steps=500, step_size=0.02, shrinkage=shrinkage, **nets
    )
    batch = Batch(x[:20])
    out = model(batch)
    target = out.aux["target"].clone().requires_grad_()
    (slope,) = torch.autograd.grad(-model.decode(target).log_prob(batch.x).sum(), target)
    pull = 2 * 2.0 * (out.q.mode - out.aux["target"]) - shrinkage * out.aux["target"]
    torch.testing.assert_close(slope, pull, atol=0.01, rtol=0.01)
    assert slope.abs().max() > 0.1


def test_the_decoder_learns_at_the_target_and_the_encoder_its_way_there() -> None:
    x, _ = digits("test")
    model = TargetProp(spec=SPEC, latent_dim=3, **NETS)
    batch = Batch(x[:20])
    out = model(batch)
    target, guess = out.aux["target"], out.q.mode
    assert (target - guess).abs().max() > 0.01
    terms = model.loss(batch, out, model.coefficients)
    torch.testing.assert_close(terms["distortion"], -model.decode(target).log_prob(batch.x))
    torch.testing.assert_close(terms["distance"], (guess - target).square().sum(1))
    assert (terms["distortion"] < -out.p.log_prob(batch.x)[0]).all()  # the descent has lowered it
