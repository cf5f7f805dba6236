"""What densities over latents learn of the latents of digits."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from digits_for_tests import NETS, digits, train
from latents_for_tests import each, fitted
from lit_ae.batch import DataSpec
from lit_ae.jobs.fitted import gaussian
from lit_ae.models.ae import AE


@pytest.fixture(scope="module")
def model() -> AE:
    """An autoencoder with 6 latents, trained on the digits."""
    torch.manual_seed(0)
    return train(AE(spec=DataSpec(input_shape=(1, 8, 8), num_classes=10), latent_dim=6, **NETS), 15, digits("train")[0])


def frechet(a: Tensor, b: Tensor) -> float:
    """Squared Wasserstein distance of the Gaussians with the moments of two sets of features."""
    (m, s), (n, t) = ((x.double().mean(0), x.double().T.cov()) for x in (a, b))
    values = torch.linalg.eigvals(s @ t).real.clamp(min=0)
    return float((m - n).square().sum() + s.trace() + t.trace() - 2 * values.sqrt().sum())


@pytest.mark.slow
@each
def test_what_it_learns_of_the_latents_of_digits(kind: str, model: AE) -> None:
    (x, y), (test, _) = digits("train"), digits("test")
    seen, unseen = model.eval().embed(x), model.embed(test)
    sampler = fitted(kind, seen, epochs=15)
    assert -sampler.log_prob(unseen).mean().item() < gaussian([seen], unseen) - 0.3
    torch.manual_seed(1)
    drawn = sampler.decode(model, sampler.sample(500))
    normal = model.decode(torch.randn(500, 6)).mean.detach()
    classifier = LogisticRegression(max_iter=100, C=0.1).fit(x.flatten(1).numpy(), y.numpy())
    new, other, real = (
        torch.from_numpy(classifier.decision_function(s.flatten(1).numpy())) for s in (drawn, normal, test)
    )
    assert frechet(new, real) < 0.2 * frechet(other, real)
    nearest = [torch.cdist(s.flatten(1), x.flatten(1)).amin(1).mean() for s in (drawn, normal)]
    assert nearest[0] < 0.8 * nearest[1]


@pytest.mark.slow
@each
def test_classes_come_as_they_are_asked_for(kind: str, model: AE) -> None:
    x, y = digits("train")
    sampler = fitted(kind, model.eval().embed(x), y, epochs=15)
    torch.manual_seed(1)
    asked = torch.arange(400) % 10
    drawn = sampler.decode(model, sampler.sample(400, asked))
    classifier = LogisticRegression(max_iter=100, C=0.1).fit(x.flatten(1).numpy(), y.numpy())
    assert (classifier.predict(drawn.flatten(1).numpy()) == asked.numpy()).mean() > 0.75
