"""The partially importance-weighted autoencoder."""

from __future__ import annotations

from typing import Any

from lit_ae.models.importance_weighted import Gradient, ImportanceWeighted


class PIWAE(ImportanceWeighted):
    """Partially importance-weighted autoencoder: a tight bound for the decoder, a less noisy one for the encoder.

    From the same M · K samples, decoder, likelihood and prior follow the gradient of IWAE with M · K, the encoder that
    of MIWAE with M groups of K (Rainforth et al., section 5). The loss that is reported is the decoder's.

    Args:
        samples: Samples per group, K.
        groups: Groups, M.
        gradient: "standard", or "doubly" reparameterised (Tucker et al. 2019).

    Reference:
        Rainforth et al., "Tighter Variational Bounds are Not Necessarily Better", ICML 2018. https://arxiv.org/abs/1802.04537
    """

    def __init__(self, *args: Any, groups: int = 4, gradient: Gradient = "standard", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.choose(gradient, groups)
        self.groups = (groups, 1)
