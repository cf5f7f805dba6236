"""Every number on docs/worked_example.md is lit_ae's own."""

# ruff: noqa: RUF001 (the page's own names)
from __future__ import annotations

import importlib.util
import re
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from lit_ae.batch import Batch, DataSpec
from lit_ae.models import VAE, BetaVAE
from lit_ae.models.latent import VectorVariational
from lit_ae.nn import MLPDecoder, MLPEncoder

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    specification = importlib.util.spec_from_file_location("worked_example", DOCS / "worked_example.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def build(variant: type[VectorVariational], p: dict[str, float], **kwargs: float) -> VectorVariational:
    model = variant(
        spec=DataSpec(input_shape=(2,)),
        latent_dim=1,
        encoder=partial(MLPEncoder, hidden=()),
        decoder=partial(MLPDecoder, hidden=()),
        **kwargs,
    ).double()
    with torch.no_grad():
        for name, parameter in named(model).items():
            parameter.copy_(torch.tensor(p[name], dtype=torch.float64))
    return model


def layers(model: VectorVariational) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    encoder, decoder = (dict(net.named_parameters()) for net in (model.encoder, model.decoder))
    assert len(encoder) == len(decoder) == 2
    return *encoder.values(), *decoder.values()  # type: ignore[return-value]


def named(model: VectorVariational, gradients: bool = False) -> dict[str, Tensor]:
    """The ten parameters, or their gradients, by the page's names."""
    parameters = layers(model)
    weight, bias, out_weight, out_bias = [p.grad if gradients else p for p in parameters]  # type: ignore[misc]
    return {
        "a1": weight[0, 0], "a2": weight[0, 1], "a0": bias[0],
        "b1": weight[1, 0], "b2": weight[1, 1], "b0": bias[1],
        "w1": out_weight[0, 0], "w2": out_weight[1, 0], "d1": out_bias[0], "d2": out_bias[1],
    }  # fmt: skip


def passed(model: VectorVariational, given: dict[str, float]) -> tuple[dict[str, Tensor], Tensor]:
    """Every number of the forward pass by the page's names, with the gradients of the inner ones kept; and the loss."""
    batch = Batch(torch.tensor([[given["x1"], given["x2"]]], dtype=torch.float64))
    out = model(batch)
    terms = model.loss(batch, out, model.coefficients)
    loss = model.weigh(terms, model.coefficients)
    error = (batch.x - out.p.mean).square().sum()
    values = {
        "μ": out.q.loc[0, 0], "σ": out.q.scale[0, 0], "ℓ": 2 * out.q.scale[0, 0].log(), "z": out.z[0, 0, 0],
        "x̂1": out.p.mean[0, 0, 0], "x̂2": out.p.mean[0, 0, 1],
        "error": error, "constant": terms["distortion"][0] - error,
        "C": terms["distortion"][0], "KL": terms["rate"][0], "L": loss,
    }  # fmt: skip
    return values, loss


@pytest.fixture
def noise(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every normal number that torch's distributions draw is the page's ε."""
    eps = example.GIVEN["ε"]
    monkeypatch.setattr(
        "torch.distributions.normal._standard_normal",
        lambda shape, dtype, device: torch.full(shape, eps, dtype=dtype, device=device),
    )


def plain(values: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in values.items()}


def test_the_page_is_what_the_generator_writes(example: ModuleType) -> None:
    assert (DOCS / "worked_example.md").read_text(encoding="utf-8") == example.page(), "run make example"


def test_what_the_page_says_of_its_numbers_is_so(example: ModuleType) -> None:
    p, beta = example.PARAMETERS, example.GIVEN["β"]
    values = example.forward(p)
    hand = example.backward(p, values)
    assert hand["z"] > 0  # both want a smaller mean
    assert beta * hand["∂KL/∂μ"] > 0
    assert hand["z"] * hand["∂z/∂ℓ"] > 0 > beta * hand["∂KL/∂ℓ"]  # they disagree about the variance
    assert example.forward(example.step(p, hand))["L"] < values["L"]


@pytest.mark.usefixtures("noise")
def test_the_forward_pass(example: ModuleType) -> None:
    model = build(BetaVAE, example.PARAMETERS, beta=example.GIVEN["β"])
    assert plain(passed(model, example.GIVEN)[0]) == pytest.approx(example.forward(example.PARAMETERS), abs=1e-6)


@pytest.mark.usefixtures("noise")
def test_a_vae_has_the_same_terms_with_beta_one(example: ModuleType) -> None:
    hand = example.forward(example.PARAMETERS, {**example.GIVEN, "β": 1.0})
    assert plain(passed(build(VAE, example.PARAMETERS), example.GIVEN)[0]) == pytest.approx(hand, abs=1e-6)


@pytest.mark.usefixtures("noise")
def test_every_gradient_and_the_step(example: ModuleType) -> None:
    p, given = example.PARAMETERS, example.GIVEN
    hand = example.backward(p, example.forward(p))
    model = build(BetaVAE, p, beta=given["β"])
    values, loss = passed(model, given)
    loss.backward()
    grads = plain(named(model, gradients=True))
    assert grads == pytest.approx({name: hand[name] for name in grads}, abs=1e-6)
    torch.optim.SGD(model.parameters(), lr=given["η"]).step()
    stepped = example.step(p, hand)
    assert plain(named(model)) == pytest.approx(stepped, abs=1e-6)
    later = plain(passed(model, given)[0])
    assert later == pytest.approx(example.forward(stepped), abs=1e-6)
    assert later["L"] < float(values["L"].detach())


def test_gradients_between_the_layers(example: ModuleType) -> None:
    p, given = example.PARAMETERS, example.GIVEN
    hand = example.backward(p, example.forward(p))
    model = build(BetaVAE, p, beta=given["β"])
    x = torch.tensor([[given["x1"], given["x2"]]], dtype=torch.float64)
    raw = model.encoder(x).detach().requires_grad_()
    q = model.posterior(raw)
    z = q.loc + q.scale * given["ε"]
    (by_raw,) = torch.autograd.grad(z.sum(), raw, retain_graph=True)
    rate = torch.distributions.kl_divergence(q, model.prior())
    (of_rate,) = torch.autograd.grad(rate.sum(), raw, retain_graph=True)
    decoded = model.decoder(z)
    cost = -model.likelihood(decoded).log_prob(x)
    of_cost = torch.autograd.grad(cost.sum(), (z, decoded), retain_graph=True)
    (whole,) = torch.autograd.grad((cost + given["β"] * rate).sum(), raw)
    found = {
        "x̂1": of_cost[1][0, 0], "x̂2": of_cost[1][0, 1], "z": of_cost[0][0, 0], "∂z/∂ℓ": by_raw[0, 1],
        "∂KL/∂μ": of_rate[0, 0], "∂KL/∂ℓ": of_rate[0, 1], "μ": whole[0, 0], "ℓ": whole[0, 1],
    }  # fmt: skip
    assert plain(found) == pytest.approx({name: hand[name] for name in found}, abs=1e-6)
    assert set(hand) == set(found) | set(p)  # nothing on the page goes unchecked


def test_the_snippet_on_the_page_gives_the_page_its_numbers(
    example: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "worked_example.md").read_text(encoding="utf-8"), re.DOTALL)
    found: dict[str, object] = {}
    exec(compile(code, "worked_example.md", "exec"), found)
    model, loss = found["model"], found["loss"]
    assert isinstance(model, BetaVAE)
    assert isinstance(loss, Tensor)
    values = example.forward(example.PARAMETERS)
    assert float(loss.detach()) == pytest.approx(values["L"], abs=1e-6)
    hand = example.backward(example.PARAMETERS, values)
    grads = plain(named(model, gradients=True))
    assert grads == pytest.approx({name: hand[name] for name in grads}, abs=1e-6)
    assert f"{values['L']:.4f}" in capsys.readouterr().out
