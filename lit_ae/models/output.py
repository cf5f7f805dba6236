"""What one pass through an autoencoder yields."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor
from torch.distributions import Distribution

from lit_ae.functional import detached
from lit_ae.likelihoods import Likelihood
from lit_ae.posteriors import Posterior

Latent = Tensor | tuple[Tensor, ...]  # a tuple only for hierarchical models


@dataclass(frozen=True)
class Output:
    """All that losses, metrics and callbacks read of one pass.

    Args:
        q: Posterior q(z|x), batch (B,), event D; a tuple for a hierarchy, top level first.
        z: Samples of q, (K, B, *D).
        p: Likelihood p(x|z), batch (K, B), event E.
        prior: p(z), batch () or (B,); None where the model has none.
        log_q: log q(z|x), (K, B), where q has a density only at its own samples (flows).
        aux: Whatever else a variant's loss reads: corrupted input, masks, codes.
    """

    q: Posterior | tuple[Posterior, ...]
    z: Latent
    p: Likelihood
    prior: Distribution | tuple[Distribution, ...] | None = None
    log_q: Tensor | None = None
    aux: dict[str, Tensor] = field(default_factory=dict)

    def detach(self) -> Output:
        """The same values, cut from the graph: what later players of one step receive."""
        return Output(**{name: detached(value) for name, value in vars(self).items()})
