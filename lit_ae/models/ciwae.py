"""The combination importance-weighted autoencoder."""

from __future__ import annotations

from typing import Any

from lit_ae.errors import ConfigError
from lit_ae.models.importance_weighted import ImportanceWeighted


class CIWAE(ImportanceWeighted):
    """Combination importance-weighted autoencoder: a mix of the ELBO and the bound from K samples.

    Minimises −β ELBO − (1 − β) log (1/K) Σ_k w_k over the same samples (Rainforth et al., section 5), the ELBO with the
    rate in closed form where there is one. β = 0 is IWAE, β = 1 a VAE whose distortion is averaged over K samples.

    Args:
        samples: Samples, K.
        elbo_weight: Weight of the ELBO, β, from 0 to 1.

    Reference:
        Rainforth et al., "Tighter Variational Bounds are Not Necessarily Better", ICML 2018. https://arxiv.org/abs/1802.04537
    """

    def __init__(self, *args: Any, elbo_weight: float = 0.5, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not 0 <= elbo_weight <= 1:
            raise ConfigError(f"elbo_weight is {elbo_weight}: set --model.elbo_weight from 0 to 1.")
        self.coefficients |= {"nll_bound": 1.0 - elbo_weight, "distortion": elbo_weight, "rate": elbo_weight}
