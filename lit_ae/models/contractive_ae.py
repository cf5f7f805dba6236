"""The contractive autoencoder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lit_ae import functional
from lit_ae.batch import Batch
from lit_ae.errors import ConfigError
from lit_ae.models.base import Coefficients
from lit_ae.models.latent import PointLatent
from lit_ae.models.output import Output
from lit_ae.nn import MLPEncoder
from lit_ae.posteriors import Delta

Jacobian = Literal["closed", "exact", "hutchinson"]


class ContractiveAE(PointLatent):
    """Contractive autoencoder: distortion + λ · ‖∂Enc/∂x‖²_F, so that the code hardly moves with the input.

    Small codes and a large decoder would do as well, so decay the weights, or keep them tied as the paper does.

    Args:
        jacobian: How the term is computed: `closed` is the formula for one sigmoid layer, that is
            `MLPEncoder(hidden=(), output=torch.nn.Sigmoid)`; `exact` takes a backward pass per latent, for any encoder;
            `hutchinson` takes one per probe and is an unbiased estimate, for large inputs.
        probes: Random vectors per sample, for `hutchinson`.
        contraction: Weight λ of the term.

    Reference:
        Rifai et al., "Contractive Auto-Encoders: Explicit Invariance During Feature Extraction", ICML 2011.
    """

    def __init__(
        self, *args: Any, jacobian: Jacobian = "exact", probes: int = 1, contraction: float = 0.1, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if jacobian not in get_args(Jacobian):
            raise ConfigError(f"jacobian is {jacobian!r}: set --model.jacobian to {', '.join(get_args(Jacobian))}.")
        if contraction < 0 or probes < 1:
            raise ConfigError(
                f"contraction is {contraction} and probes is {probes}: set --model.contraction to 0 or more and "
                "--model.probes to 1 or more."
            )
        name = type(self.encoder).__name__
        if jacobian == "closed" and self.layer is None:
            raise ConfigError(
                f"jacobian closed is the formula for one sigmoid layer, MLPEncoder with hidden [] and output "
                f"torch.nn.Sigmoid, not for this {name}: set --model.jacobian to exact or hutchinson."
            )
        if any(isinstance(module, nn.RNNBase) for module in self.encoder.modules()):
            raise ConfigError(
                f"ContractiveAE differentiates its encoder twice, and torch cannot do so with the recurrent {name}: "
                "choose --model.encoder MLPEncoder, ConvEncoder or ResNetEncoder."
            )
        if any(isinstance(module, _BatchNorm) for module in self.encoder.modules()):
            raise ConfigError(
                f"ContractiveAE needs samples that are encoded one by one, and this {name} normalises over the batch: "
                "set --model.encoder.norm to group or none."
            )
        self.jacobian, self.probes = jacobian, probes
        self.coefficients["contraction"] = contraction

    @property
    def layer(self) -> nn.Linear | None:
        """The affine map of an encoder that is one sigmoid layer, None for any other encoder."""
        if isinstance(self.encoder, MLPEncoder) and isinstance(self.encoder.output, nn.Sigmoid):
            first, *others = self.encoder.layers
            return first if isinstance(first, nn.Linear) and not others else None
        return None

    def forward(self, batch: Batch, k: int | None = None) -> Output:
        """One pass, with the random signs of `hutchinson`, (B, probes, D), in `aux`."""
        out = super().forward(batch, k)
        if self.jacobian != "hutchinson":
            return out
        assert isinstance(out.q, Delta)
        z = out.q.mode
        signs = torch.randint(0, 2, (len(z), self.probes, z.shape[1]), device=z.device).to(z.dtype) * 2 - 1
        return replace(out, aux={**out.aux, "signs": signs})

    def loss(self, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """Distortion in nats and contraction in squared units of z per unit of x, (B,)."""
        assert isinstance(out.q, Delta)
        terms = super().loss(batch, out, coef)

        def code(x: Tensor) -> Tensor:
            return self.encode(x, batch.c, batch.mask).mode

        if self.jacobian == "closed":
            assert self.layer is not None
            weight = self.layer.weight[:, : batch.x[0].numel()]  # conditions come after, and are no input
            terms["contraction"] = functional.sigmoid_contraction(out.q.mode, functional.full_precision(weight))
        elif self.jacobian == "exact":
            terms["contraction"] = functional.exact_contraction(code, batch.x)
        else:
            terms["contraction"] = functional.hutchinson_contraction(code, batch.x, out.aux["signs"].transpose(0, 1))
        return terms
