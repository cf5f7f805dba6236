"""Contractive autoencoders: three ways to one penalty, and what it does to a code."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from datamodules import Digits
from digits_for_tests import digits, train
from lit_ae import functional
from lit_ae.batch import Batch
from lit_ae.errors import ConfigError
from lit_ae.models.contractive_ae import ContractiveAE
from lit_ae.nn import ConvEncoder, Encoder, MLPDecoder, MLPEncoder, RecurrentEncoder, ResNetEncoder

SPEC = Digits().spec
LAYER: dict[str, Any] = {
    "encoder": partial(MLPEncoder, hidden=(), output=nn.Sigmoid),
    "decoder": partial(MLPDecoder, hidden=()),
}
ENCODERS: dict[str, Encoder] = {
    "mlp": MLPEncoder((1, 8, 8), 5, hidden=(16, 12)),
    "conv": ConvEncoder((1, 8, 8), 5, channels=(4, 8)),
    "resnet": ResNetEncoder((1, 8, 8), 5, channels=(4, 8)),
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def terms(model: ContractiveAE, batch: Batch) -> Tensor:
    return model.loss(batch, model(batch), model.coefficients)["contraction"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_closed_form_is_the_exact_one(dtype: torch.dtype) -> None:
    model = ContractiveAE(spec=SPEC, jacobian="closed", **LAYER).to(dtype)
    batch = Batch(torch.rand(7, 1, 8, 8, dtype=dtype))
    closed = terms(model, batch)
    model.jacobian = "exact"
    torch.testing.assert_close(terms(model, batch), closed, rtol=1e-5, atol=1e-5)
    gradients = []
    for jacobian in ("closed", "exact"):
        model.jacobian = jacobian  # type: ignore[assignment]
        gradients.append(torch.autograd.grad(terms(model, batch).sum(), list(model.encoder.parameters())))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_closed_form_leaves_the_condition_out() -> None:
    model = ContractiveAE(spec=replace(SPEC, condition_shape=()), jacobian="closed", **LAYER)
    batch = Batch(torch.rand(7, 1, 8, 8), c=torch.arange(7))
    closed = terms(model, batch)
    model.jacobian = "exact"
    torch.testing.assert_close(terms(model, batch), closed, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_exact_form_is_autograds(name: str) -> None:
    net, x = ENCODERS[name], torch.rand(3, 1, 8, 8)
    exact = functional.exact_contraction(net, x)
    for one, value in zip(x, exact, strict=True):
        jacobian = torch.autograd.functional.jacobian(net, one.unsqueeze(0))
        torch.testing.assert_close(value, jacobian.square().sum(), rtol=1e-5, atol=1e-5)


def test_a_deep_models_term_is_autograds() -> None:
    deep = partial(MLPEncoder, hidden=(16, 12), activation=nn.Tanh)
    model = ContractiveAE(spec=SPEC, latent_dim=4, encoder=deep, contraction=0.5)
    batch = Batch(torch.rand(3, 1, 8, 8))
    for one, value in zip(batch.x, terms(model, batch), strict=True):
        jacobian = torch.autograd.functional.jacobian(model.encoder, one.unsqueeze(0))
        torch.testing.assert_close(value, jacobian.square().sum(), rtol=1e-5, atol=1e-6)


def test_the_estimate_is_unbiased_and_exact_for_one_latent() -> None:
    net, x = ENCODERS["conv"], torch.rand(4, 1, 8, 8)
    exact = functional.exact_contraction(net, x)
    each = torch.stack(
        [
            functional.hutchinson_contraction(net, x, signs.unsqueeze(0))
            for signs in torch.randint(0, 2, (1000, 4, 5)).float() * 2 - 1
        ]
    )
    error = each.std(0) / len(each) ** 0.5
    assert ((each.mean(0) - exact).abs() < 4 * error).all()
    assert (error < 0.05 * exact).all()
    one = MLPEncoder((1, 8, 8), 1)
    for sign in (-1.0, 1.0):
        estimate = functional.hutchinson_contraction(one, x, torch.full((1, 4, 1), sign))
        torch.testing.assert_close(estimate, functional.exact_contraction(one, x))


def test_the_models_estimate_averages_its_probes_of_plus_and_minus_one() -> None:
    model = ContractiveAE(spec=SPEC, latent_dim=6, jacobian="hutchinson", probes=2000, **LAYER)
    batch = Batch(torch.rand(3, 1, 8, 8))
    signs = model(batch).aux["signs"]
    assert signs.shape == (3, 2000, 6)
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    estimate = terms(model, batch)
    model.jacobian = "exact"
    torch.testing.assert_close(terms(model, batch), estimate, rtol=0.1, atol=0)


@pytest.mark.parametrize("name", ENCODERS)
def test_it_reaches_every_parameter_and_works_without_gradients(name: str) -> None:
    net, x = ENCODERS[name], torch.rand(4, 1, 8, 8)
    signs = torch.ones(1, 4, 5)
    for penalty in (functional.exact_contraction, partial(functional.hutchinson_contraction, signs=signs)):
        value = penalty(net, x)
        weights = [parameter for parameter in net.parameters() if parameter.ndim > 1]
        gradients = torch.autograd.grad(value.sum(), weights)
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert gradients[-1].any()  # a residual block that starts at zero holds back what is before it
        with torch.inference_mode():
            torch.testing.assert_close(penalty(net, x), value.detach())


def test_the_code_of_unseen_digits_moves_less_than_the_plain_autoencoders() -> None:
    x, _ = digits("train")
    held_out, _ = digits("test")
    noise = 0.1 * torch.randn(held_out.shape, generator=torch.Generator().manual_seed(1))
    slopes, moves, errors = [], [], []
    for contraction in (0.0, 0.1):
        torch.manual_seed(0)
        model = ContractiveAE(spec=SPEC, latent_dim=256, jacobian="closed", contraction=contraction, **LAYER)
        train(model, 40, x)
        code = model.embed(held_out)
        spread = code.var(0).sum()  # a code of half the size moves half as much, which is worth nothing
        slopes.append((functional.sigmoid_contraction(code, model.encoder.layers[0].weight).mean() / spread).item())
        moves.append(((model.embed(held_out + noise) - code).square().sum(1).mean() / spread).item())
        errors.append((model.reconstruct(held_out) - held_out).square().sum() / (held_out - x.mean(0)).square().sum())
    assert slopes[1] < 0.6 * slopes[0]
    assert moves[1] < 0.6 * moves[0]
    assert errors[1] < 0.25


@pytest.mark.parametrize("encoder", [partial(MLPEncoder, hidden=(8,), output=nn.Sigmoid), MLPEncoder, ConvEncoder])
def test_the_closed_form_refuses_other_encoders(encoder: Any) -> None:
    with pytest.raises(ConfigError, match=r"set --model\.jacobian to exact or hutchinson"):
        ContractiveAE(spec=SPEC, jacobian="closed", encoder=encoder)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"jacobian": "open"}, "set --model.jacobian to closed, exact, hutchinson"),
        ({"contraction": -1.0}, "contraction is -1.0"),
        ({"probes": 0}, "probes is 0"),
        ({"encoder": RecurrentEncoder}, "choose --model.encoder MLPEncoder, ConvEncoder or ResNetEncoder"),
        ({"encoder": partial(ConvEncoder, norm="batch")}, "set --model.encoder.norm to group or none"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ContractiveAE(spec=SPEC, **arguments)
