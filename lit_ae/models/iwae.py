"""The importance-weighted autoencoder."""

from __future__ import annotations

from typing import Any

from lit_ae.models.importance_weighted import Gradient, ImportanceWeighted


class IWAE(ImportanceWeighted):
    """Importance-weighted autoencoder: a bound from K samples, tighter than the ELBO.

    Minimises −E log (1/K) Σ_k w_k with w_k = p(x, z_k) / q(z_k|x) and z_k ~ q(z|x) (Burda et al., eq. 8). Its gradient
    is Σ_k w̃_k ∂log w_k with normalised weights w̃ (eq. 14): the best sample counts most. K = 1 is a VAE whose rate is
    sampled.

    Args:
        samples: Samples, K.
        gradient: "standard", or "doubly" reparameterised (Tucker et al.): less noise for the inference net at large K,
            through Σ_k w̃_k² ∂log w_k/∂z_k ∂z_k.

    Reference:
        Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", ICLR 2016. https://arxiv.org/abs/1509.00519
        Tucker et al., "Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives", ICLR 2019. https://arxiv.org/abs/1810.04152
    """

    def __init__(self, *args: Any, gradient: Gradient = "standard", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.choose(gradient)
