"""Write docs/worked_example.md, one step of a VAE by hand: `make example`. Plain arithmetic, no autograd."""

# ruff: noqa: RUF001 (σ, ℓ and − are what the page is written in)
from __future__ import annotations

from math import exp, log, pi
from pathlib import Path

PAGE = Path(__file__).with_name("worked_example.md")
Numbers = dict[str, float]

GIVEN: Numbers = {"x1": 1.0, "x2": 0.5, "ε": 0.5, "β": 0.5, "η": 0.1}
PARAMETERS: Numbers = {
    "a1": 0.5, "a2": -0.3, "a0": 0.1,
    "b1": 0.2, "b2": 0.4, "b0": -0.6,
    "w1": 0.6, "w2": -0.4,
    "d1": 0.2, "d2": 0.1,
}  # fmt: skip


def forward(p: Numbers, given: Numbers = GIVEN) -> Numbers:
    """Every number from the input to the loss."""
    x1, x2, eps, beta = (given[name] for name in ("x1", "x2", "ε", "β"))
    mu = p["a1"] * x1 + p["a2"] * x2 + p["a0"]
    ell = p["b1"] * x1 + p["b2"] * x2 + p["b0"]
    sigma = exp(ell / 2)
    z = mu + sigma * eps
    xhat1, xhat2 = p["w1"] * z + p["d1"], p["w2"] * z + p["d2"]
    error = (xhat1 - x1) ** 2 + (xhat2 - x2) ** 2
    constant = log(pi)  # (D/2) log 2πσ² with D = 2 and σ² = ½
    rate = (mu**2 + sigma**2 - ell - 1) / 2
    return {
        "μ": mu, "ℓ": ell, "σ": sigma, "z": z, "x̂1": xhat1, "x̂2": xhat2,
        "error": error, "constant": constant, "C": error + constant, "KL": rate,
        "L": error + constant + beta * rate,
    }  # fmt: skip


def backward(p: Numbers, v: Numbers, given: Numbers = GIVEN) -> Numbers:
    """Every gradient by the chain rule, from the loss back to the parameters, of the numbers v of `forward`."""
    x1, x2, eps, beta = (given[name] for name in ("x1", "x2", "ε", "β"))
    dxhat1, dxhat2 = 2 * (v["x̂1"] - x1), 2 * (v["x̂2"] - x2)
    dz = p["w1"] * dxhat1 + p["w2"] * dxhat2
    dz_dell = v["σ"] * eps / 2
    dkl_dmu, dkl_dell = v["μ"], (v["σ"] ** 2 - 1) / 2
    dmu, dell = dz + beta * dkl_dmu, dz * dz_dell + beta * dkl_dell
    return {
        "x̂1": dxhat1, "x̂2": dxhat2, "z": dz,
        "∂z/∂ℓ": dz_dell, "∂KL/∂μ": dkl_dmu, "∂KL/∂ℓ": dkl_dell, "μ": dmu, "ℓ": dell,
        "a1": dmu * x1, "a2": dmu * x2, "a0": dmu,
        "b1": dell * x1, "b2": dell * x2, "b0": dell,
        "w1": dxhat1 * v["z"], "w2": dxhat2 * v["z"],
        "d1": dxhat1, "d2": dxhat2,
    }  # fmt: skip


def step(p: Numbers, g: Numbers, given: Numbers = GIVEN) -> Numbers:
    """The parameters after one step of gradient descent."""
    return {name: value - given["η"] * g[name] for name, value in p.items()}


def t(value: float) -> str:
    """A given number, as short as it is."""
    return f"{value:g}".replace("-", "−")


def n(value: float) -> str:
    """A computed number, to four decimals."""
    return f"{value:.4f}".replace("-", "−")


def s(value: float) -> str:
    """A given number inside a product or a sum; a negative one in brackets."""
    return f"({t(value)})" if value < 0 else t(value)


def m(value: float) -> str:
    """A computed number inside a product or a sum; a negative one in brackets."""
    return f"({n(value)})" if value < 0 else n(value)


SNIPPET = """
from functools import partial

import torch

from lit_ae.batch import Batch, DataSpec
from lit_ae.models import BetaVAE
from lit_ae.models.output import Output
from lit_ae.nn import MLPDecoder, MLPEncoder

model = BetaVAE(
    spec=DataSpec(input_shape=(2,)),
    latent_dim=1,
    beta={beta},
    encoder=partial(MLPEncoder, hidden=()),
    decoder=partial(MLPDecoder, hidden=()),
)
encoder, decoder = model.encoder.layers[0], model.decoder.layers[0]
with torch.no_grad():
    encoder.weight.copy_(torch.tensor({encoder_weight}))
    encoder.bias.copy_(torch.tensor({encoder_bias}))
    decoder.weight.copy_(torch.tensor({decoder_weight}))
    decoder.bias.copy_(torch.tensor({decoder_bias}))

batch = Batch(torch.tensor([{x}]))
q = model.encode(batch.x)
z = q.loc + q.scale * {eps}  # what q.rsample() does with a random ε
out = Output(q=q, z=z[None], p=model.decode(z[None]), prior=model.prior())
terms = model.loss(batch, out, model.coefficients)  # distortion C and rate KL
loss = model.weigh(terms, model.coefficients)
loss.backward()
print(loss, encoder.weight.grad, decoder.weight.grad)
"""


def snippet(p: Numbers = PARAMETERS, given: Numbers = GIVEN) -> str:
    """Python that computes the same with lit_ae."""
    return SNIPPET.strip().format(
        beta=given["β"],
        encoder_weight=[[p["a1"], p["a2"]], [p["b1"], p["b2"]]],
        encoder_bias=[p["a0"], p["b0"]],
        decoder_weight=[[p["w1"]], [p["w2"]]],
        decoder_bias=[p["d1"], p["d2"]],
        x=[given["x1"], given["x2"]],
        eps=given["ε"],
    )


def page() -> str:
    """The page."""
    p, k = PARAMETERS, GIVEN
    v = forward(p)
    g = backward(p, v)
    after = step(p, g)
    w = forward(after)
    change = "\n".join(f"| {sub(name)} | {n(p[name])} | {n(g[name])} | {n(after[name])} |" for name in p)
    rows = {"z": "z", "x̂1": "x̂₁", "x̂2": "x̂₂", "error": "‖x − x̂‖²", "C": "C", "KL": "KL", "L": "**L = C + β KL**"}
    again = "\n".join(f"| {title} | {n(v[name])} | {n(w[name])} |" for name, title in rows.items())
    return f"""# One step of a VAE, by hand

One sample with two features goes through the smallest variational autoencoder there is: one latent, one affine layer
each way, ten parameters. You need a pocket calculator, the chain rule and ten minutes. `docs/worked_example.py` writes
this page and computes each number on it in plain Python; `tests/test_worked_example.py` holds every one of them against
lit_ae's own code and autograd. Numbers are shown to four decimals and computed with all of them.

## What is given

| What | Value | Where it goes |
|---|---|---|
| sample | x = ({t(k["x1"])}, {t(k["x2"])}) | to be rebuilt as x̂ |
| encoder, mean | a₁ = {t(p["a1"])}, a₂ = {t(p["a2"])}, bias a₀ = {t(p["a0"])} | μ = a₁x₁ + a₂x₂ + a₀ |
| encoder, log variance | b₁ = {t(p["b1"])}, b₂ = {t(p["b2"])}, bias b₀ = {t(p["b0"])} | ℓ = log σ² = b₁x₁ + b₂x₂ + b₀ |
| decoder, first feature | w₁ = {t(p["w1"])}, bias d₁ = {t(p["d1"])} | x̂₁ = w₁z + d₁ |
| decoder, second feature | w₂ = {t(p["w2"])}, bias d₂ = {t(p["d2"])} | x̂₂ = w₂z + d₂ |
| noise, drawn once | ε = {t(k["ε"])} | z = μ + σε |
| weight of the KL | β = {t(k["β"])} | L = C + β KL |
| learning rate | η = {t(k["η"])} | θ ← θ − η ∂L/∂θ |

## Forwards

**1. Encode.** The encoder does not answer with a point but with a Gaussian, q(z|x) = N(μ, σ²). It says the logarithm of
the variance, which may be any number, so that the variance is always positive.

- μ = {s(p["a1"])} · {s(k["x1"])} + {s(p["a2"])} · {s(k["x2"])} + {s(p["a0"])} = **{n(v["μ"])}**
- ℓ = {s(p["b1"])} · {s(k["x1"])} + {s(p["b2"])} · {s(k["x2"])} + {s(p["b0"])} = **{n(v["ℓ"])}**
- σ = exp(ℓ / 2) = exp({n(v["ℓ"] / 2)}) = **{n(v["σ"])}**

**2. Reparameterise.** To draw z from this Gaussian, stretch and shift standard noise. All chance is in ε, and z is a
smooth function of μ and σ: gradients can pass.

- z = μ + σε = {n(v["μ"])} + {n(v["σ"])} · {s(k["ε"])} = **{n(v["z"])}**

**3. Decode.**

- x̂₁ = {s(p["w1"])} · {n(v["z"])} + {s(p["d1"])} = **{n(v["x̂1"])}**
- x̂₂ = {s(p["w2"])} · {n(v["z"])} + {s(p["d2"])} = **{n(v["x̂2"])}**

**4. The cost of the reconstruction** is C = −log p(x|z). With a Gaussian of variance ½ around x̂, each feature costs
(x − x̂)² / (2 · ½) + ½ log(2π · ½): a squared error, and a constant that no parameter changes.

- ‖x − x̂‖² = ({n(v["x̂1"] - k["x1"])})² + ({n(v["x̂2"] - k["x2"])})² = **{n(v["error"])}**
- constant = 2 · ½ log π = log π = **{n(v["constant"])}**
- C = {n(v["error"])} + {n(v["constant"])} = **{n(v["C"])}** nats

**5. The price of the code** is how far q(z|x) is from the prior N(0, 1).

- KL = ½ (μ² + σ² − ℓ − 1) = ½ ({n(v["μ"] ** 2)} + {n(v["σ"] ** 2)} − {m(v["ℓ"])} − 1) = **{n(v["KL"])}** nats

**6. The loss.**

- L = C + β KL = {n(v["C"])} + {s(k["β"])} · {n(v["KL"])} = **{n(v["L"])}** nats

## Backwards

Read the same steps from the end. Each gradient is the one that came before, times one local derivative.

**7. At the reconstruction** only the squared error speaks: ∂L/∂x̂ = 2 (x̂ − x).

- ∂L/∂x̂₁ = 2 · ({n(v["x̂1"])} − {s(k["x1"])}) = **{n(g["x̂1"])}**
- ∂L/∂x̂₂ = 2 · ({n(v["x̂2"])} − {s(k["x2"])}) = **{n(g["x̂2"])}**

**8. The decoder's parameters.** x̂ᵢ = wᵢz + dᵢ, so ∂x̂ᵢ/∂wᵢ = z and ∂x̂ᵢ/∂dᵢ = 1.

- ∂L/∂w₁ = {m(g["x̂1"])} · {n(v["z"])} = **{n(g["w1"])}**, and ∂L/∂d₁ = **{n(g["d1"])}**
- ∂L/∂w₂ = {m(g["x̂2"])} · {n(v["z"])} = **{n(g["w2"])}**, and ∂L/∂d₂ = **{n(g["d2"])}**

**9. The latent** is in both features, so that their gradients add up: ∂C/∂z = w₁ ∂L/∂x̂₁ + w₂ ∂L/∂x̂₂.

- ∂C/∂z = {s(p["w1"])} · {m(g["x̂1"])} + {s(p["w2"])} · {m(g["x̂2"])} = **{n(g["z"])}**

**10. Mean and log variance** are reached by two paths: through z, because ∂z/∂μ = 1 and
∂z/∂ℓ = ½σε = {n(g["∂z/∂ℓ"])}, and straight from the KL, because ∂KL/∂μ = μ and ∂KL/∂ℓ = ½ (σ² − 1).

| | through z, from C | from β KL | together |
|---|---|---|---|
| ∂L/∂μ | {n(g["z"])} · 1 = {n(g["z"])} | {s(k["β"])} · {m(g["∂KL/∂μ"])} = {n(k["β"] * g["∂KL/∂μ"])} | **{n(g["μ"])}** |
| ∂L/∂ℓ | {n(g["z"])} · {m(g["∂z/∂ℓ"])} = {n(g["z"] * g["∂z/∂ℓ"])} | {s(k["β"])} · {m(g["∂KL/∂ℓ"])} = \
{n(k["β"] * g["∂KL/∂ℓ"])} | **{n(g["ℓ"])}** |

A step goes against the gradient. Both want a smaller mean here. About the variance they disagree: the reconstruction
wants less noise, the KL, which pulls every variance towards 1 and every mean towards 0, wants more. With β = 0 nobody
would ask for noise.

**11. The encoder's parameters.** μ = a₁x₁ + a₂x₂ + a₀, so ∂μ/∂aᵢ = xᵢ and ∂μ/∂a₀ = 1; the same for ℓ.

- ∂L/∂a₁ = {m(g["μ"])} · {s(k["x1"])} = **{n(g["a1"])}**, ∂L/∂a₂ = {m(g["μ"])} · {s(k["x2"])} = **{n(g["a2"])}**, \
∂L/∂a₀ = **{n(g["a0"])}**
- ∂L/∂b₁ = {m(g["ℓ"])} · {s(k["x1"])} = **{n(g["b1"])}**, ∂L/∂b₂ = {m(g["ℓ"])} · {s(k["x2"])} = **{n(g["b2"])}**, \
∂L/∂b₀ = **{n(g["b0"])}**

## One step

Every parameter goes {s(k["η"])} times its gradient downhill.

| parameter θ | before | ∂L/∂θ | after |
|---|---|---|---|
{change}

The same sample with the same ε, through the new parameters:

| | before | after |
|---|---|---|
{again}

The loss has fallen by {n(v["L"] - w["L"])} nats. Training is this, many thousand times, with other samples and fresh
noise.

## The same in lit_ae

```python
{snippet()}
```
"""


def sub(name: str) -> str:
    """A name with its digit as an index."""
    return name.translate(str.maketrans("012", "₀₁₂"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
