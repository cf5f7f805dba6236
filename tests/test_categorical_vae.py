"""The categorical autoencoder: its rate, its relaxed samples, its temperature."""

from __future__ import annotations

from functools import partial
from math import log
from pathlib import Path

import pytest
import torch
from torch.distributions import OneHotCategorical, RelaxedOneHotCategorical, kl_divergence

from datamodules import Digits
from digits_for_tests import digits, mse
from lit_ae.batch import Batch
from lit_ae.callbacks import Schedule
from lit_ae.errors import ConfigError
from lit_ae.likelihoods import DiscretizedLogistic
from lit_ae.models.categorical_vae import CategoricalVAE
from lit_ae.quantized import Codes
from trainer_for_tests import trainer

SPEC = Digits().spec


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_the_rate_is_that_of_torchs_categorical() -> None:
    logits = torch.randn(5, 7, 3, 2)
    q, p = Codes(logits), Codes(torch.zeros(7, 3, 2))
    by_torch = kl_divergence(
        OneHotCategorical(logits=logits.movedim(1, -1)), OneHotCategorical(logits=torch.zeros(3, 2, 7))
    )
    torch.testing.assert_close(kl_divergence(q, p), by_torch.sum((1, 2)))
    certain = Codes(1000 * q.mode)
    torch.testing.assert_close(kl_divergence(certain, p), torch.full((5,), 6 * log(7)))
    torch.testing.assert_close(q.entropy(), 6 * log(7) - kl_divergence(q, p))


def test_samples_have_the_probabilities_of_their_classes() -> None:
    q = Codes(torch.randn(4, 1, 1), temperature=0.3)
    hard, soft = q.sample(torch.Size((20000,))), q.rsample(torch.Size((20000,)))
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(hard.mean(0), q.mean, atol=0.015, rtol=0)
    torch.testing.assert_close(soft.sum(1), torch.ones(20000, 1, 1))
    # the largest of a relaxed sample is class k with the probability of class k (Maddison et al. 2017, prop. 1)
    torch.testing.assert_close(q.one_hot(soft.argmax(1)).mean(0), q.mean, atol=0.015, rtol=0)
    theirs = RelaxedOneHotCategorical(torch.tensor(0.3), logits=q.logits.flatten()).rsample(torch.Size((20000,)))
    torch.testing.assert_close(soft.flatten(1).var(0), theirs.var(0), atol=0.015, rtol=0)
    torch.testing.assert_close(q.log_prob(hard[0]).exp(), (hard[0] * q.mean).sum())


def test_training_relaxes_and_evaluation_does_not() -> None:
    model, batch = CategoricalVAE(spec=SPEC, latent_dim=8), Batch(torch.rand(5, 1, 8, 8))
    assert 0 < model(batch).z.max(2).values.min() < 0.99
    model.eval()
    assert set(model(batch).z.unique().tolist()) == {0.0, 1.0}


def test_a_schedule_anneals_the_temperature(tmp_path: Path) -> None:
    seen = []

    class Spy(CategoricalVAE):
        def encode(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            seen.append(float(self.relaxed))
            return super().encode(*args, **kwargs)

    model = CategoricalVAE(spec=SPEC, latent_dim=8, temperature=0.5)
    model.__class__ = Spy
    schedule = Schedule("temperature", start=2.0, length=4, unit="batches")
    trainer(tmp_path, schedule, limit_train_batches=6, limit_val_batches=0).fit(model, Digits(batch_size=32))
    assert seen == pytest.approx([2.0, 1.625, 1.25, 0.875, 0.5, 0.5])


@pytest.mark.slow
def test_digits_come_back_from_their_classes(tmp_path: Path) -> None:
    train, _ = digits("train")
    x, _ = digits("test")
    likelihood = partial(DiscretizedLogistic, levels=17)
    model = CategoricalVAE(spec=SPEC, latent_dim=32, likelihood=likelihood)
    runner = trainer(tmp_path, epochs=15, num_sanity_val_steps=0)
    runner.fit(model, Digits(batch_size=64))
    mean = (x - train.mean(0)).square().flatten(1).sum(1).mean().item()
    assert mse(model, x) < 0.7 * mean
    assert 1 < runner.callback_metrics["val/rate"] <= 4 * log(32)
    assert model.sample(6).shape == (6, 1, 8, 8)


def test_bad_arguments() -> None:
    with pytest.raises(ConfigError, match="temperature is 0"):
        CategoricalVAE(spec=SPEC, temperature=0.0)
