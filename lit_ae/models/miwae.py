"""The multiply importance-weighted autoencoder."""

from __future__ import annotations

from typing import Any

from lit_ae.models.importance_weighted import Gradient, ImportanceWeighted


class MIWAE(ImportanceWeighted):
    """Multiply importance-weighted autoencoder: the mean of M bounds from K samples each.

    The bound is as tight as that of K samples; its gradient has the signal-to-noise ratio of M · K, which for the
    inference net falls with K and rises with M (Rainforth et al., section 4). Another number of samples than M · K, in
    evaluation, is dealt to the M groups in turn.

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
