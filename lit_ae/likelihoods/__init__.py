"""What `decode` returns: distributions over data, and the heads that build them from a network's output."""

from __future__ import annotations

from lit_ae.likelihoods.base import Elements, Likelihood, LikelihoodHead, UnitIntervalHead
from lit_ae.likelihoods.binary import Bernoulli, ContinuousBernoulli
from lit_ae.likelihoods.continuous import Gaussian, Laplace
from lit_ae.likelihoods.discrete import Categorical, DiscretizedLogistic
from lit_ae.likelihoods.mixed import Mixed

__all__ = [
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Elements",
    "Gaussian",
    "Laplace",
    "Likelihood",
    "LikelihoodHead",
    "Mixed",
    "UnitIntervalHead",
]
