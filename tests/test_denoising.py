"""Denoising autoencoders: what the noise is, and that it teaches to restore."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, get_args

import pytest
import torch
from torch import nn

from datamodules import Digits
from digits_for_tests import NETS, digits, train
from lit_ae import functional
from lit_ae.batch import Batch
from lit_ae.errors import ConfigError
from lit_ae.models.ae import AE
from lit_ae.models.denoising_ae import DenoisingAE
from lit_ae.nn import MLPDecoder, MLPEncoder

SPEC = Digits().spec
LAYER: dict[str, Any] = {  # the networks of configs/denoising_ae.yaml
    "encoder": partial(MLPEncoder, hidden=(), output=nn.ReLU),
    "decoder": partial(MLPDecoder, hidden=()),
}
LEVELS: dict[functional.Noise, float] = {"gaussian": 0.3, "masking": 0.3, "salt_and_pepper": 0.2}

every_noise = pytest.mark.parametrize("noise", LEVELS)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_gaussian_noise_has_the_level_as_its_standard_deviation() -> None:
    x = torch.rand(200, 1, 20, 20)
    noise = functional.corrupted(x, "gaussian", 0.3) - x
    assert noise.mean().abs() < 0.005
    assert abs(noise.std() - 0.3) < 0.005


def test_masking_sets_elements_to_zero_and_leaves_the_others() -> None:
    x = torch.rand(200, 1, 20, 20) + 1
    seen = functional.corrupted(x, "masking", 0.25)
    assert abs((seen == 0).float().mean() - 0.25) < 0.01
    assert torch.equal(seen[seen != 0], x[seen != 0])


def test_salt_and_pepper_are_the_ends_of_the_range_in_equal_parts() -> None:
    x = torch.rand(200, 1, 20, 20)
    seen = functional.corrupted(x, "salt_and_pepper", 0.4, (-1.0, 2.0))
    assert abs((seen == -1).float().mean() - 0.2) < 0.01
    assert abs((seen == 2).float().mean() - 0.2) < 0.01
    kept = (seen != -1) & (seen != 2)
    assert torch.equal(seen[kept], x[kept])


@pytest.mark.parametrize(("known", "wanted"), [((-1.0, 2.0), {-1.0, 2.0}), (None, {0.0, 1.0})])
def test_the_model_takes_the_ends_from_the_data(known: tuple[float, float] | None, wanted: set[float]) -> None:
    model = DenoisingAE(spec=replace(SPEC, value_range=known), noise="salt_and_pepper", level=1.0, **NETS)
    seen, aux = model.corrupt(Batch(torch.rand(20, 1, 8, 8)))
    assert set(seen.x.unique().tolist()) == wanted
    assert torch.equal(aux["corrupted"], seen.x)


@every_noise
def test_the_encoder_sees_the_noise_and_the_loss_does_not(noise: functional.Noise) -> None:
    model, batch = DenoisingAE(spec=SPEC, noise=noise, **NETS), Batch(torch.rand(20, 1, 8, 8))
    out = model(batch)
    seen = out.aux["corrupted"]
    assert not torch.equal(seen, batch.x)
    assert torch.equal(out.z[0], model.encode(seen).mode)
    torch.testing.assert_close(model.loss(batch, out, {})["distortion"], -out.p.log_prob(batch.x)[0])
    assert torch.equal(model.embed(batch.x), model.encode(batch.x).mode)
    assert torch.equal(model.reconstruct(batch.x), model.decode(model.encode(batch.x).mode).mean)
    assert not torch.equal(model(batch).aux["corrupted"], seen)  # anew at every look


@every_noise
def test_without_noise_it_is_the_plain_autoencoder(noise: functional.Noise) -> None:
    x, _ = digits("train")
    states = []
    for build in (AE, partial(DenoisingAE, noise=noise, level=0.0)):
        torch.manual_seed(0)
        states.append(train(build(spec=SPEC, latent_dim=4, **NETS), 2, x).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_it_restores_corrupted_digits_better_than_the_plain_autoencoder() -> None:
    x, _ = digits("train")
    held_out, _ = digits("test")
    plain = train(AE(spec=SPEC, latent_dim=256, **LAYER), 40, x)
    for noise, level in LEVELS.items():
        torch.manual_seed(0)
        model = train(DenoisingAE(spec=SPEC, latent_dim=256, noise=noise, level=level, **LAYER), 40, x)
        torch.manual_seed(1)
        seen = functional.corrupted(held_out, noise, level)
        errors = [
            (restored - held_out).square().flatten(1).sum(1).mean().item()
            for restored in (seen, plain.reconstruct(seen), model.reconstruct(seen))
        ]
        assert errors[2] < 0.5 * errors[1], (noise, errors)
        assert errors[2] < 0.5 * errors[0], (noise, errors)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"noise": "poisson"}, "noise is 'poisson': set --model.noise to " + ", ".join(get_args(functional.Noise))),
        ({"level": -0.1}, "level is -0.1"),
        ({"noise": "masking", "level": 1.5}, "level is 1.5: with noise masking, set --model.level to a probability"),
        ({"noise": "salt_and_pepper", "level": 1.5}, "probability from 0 to 1"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        DenoisingAE(spec=SPEC, **arguments)


def test_a_standard_deviation_may_be_above_one() -> None:
    assert DenoisingAE(spec=SPEC, level=2.0).level == 2
