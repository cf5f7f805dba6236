"""What every quantizer answers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from lit_ae.errors import ConfigError
from lit_ae.functional import full_precision


class Quantizer(nn.Module, ABC):
    """Replaces each vector of a grid by one of finitely many, and passes the gradient on as if it had not.

    Channels come first: vectors are (B, D, *S), their codes (B, *S), or (B, depth, *S) where a vector has several.

    Args:
        features: Number of features of one vector, D.

    Attributes:
        num_codes: Number of values that one code takes.
        depth: Number of codes per vector.
        coefficients: Weights of the terms.
    """

    num_codes: int
    depth = 1

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        self.coefficients: dict[str, float] = {}

    @abstractmethod
    def encode(self, z: Tensor) -> Tensor:
        """Codes, int64, of vectors (B, D, *S), without a gradient."""

    @abstractmethod
    def lookup(self, codes: Tensor) -> Tensor:
        """The vectors, (B, D, *S), that codes stand for."""

    def project(self, z: Tensor) -> Tensor:
        """What the gradient passes through unchanged, (B, D, *S): the vectors themselves, unless they are bounded."""
        return z

    def terms(self, z: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """Terms of the loss, (B,), summed over features and positions."""
        return {}

    def update(self, z: Tensor, codes: Tensor) -> None:
        """Learn from a training batch what no gradient tells."""

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Quantised vectors, (B, D, *S), exactly those of the codebook, with the gradient of z; and their codes."""
        z = full_precision(z)
        codes, passed = self.encode(z.detach()), self.project(z)
        vectors = self.lookup(codes).detach().to(passed.dtype)
        return vectors + (passed - passed.detach()), codes


def check(quantizer: nn.Module, **low: tuple[float, float]) -> None:
    """Refuse arguments below their least value, each given as (value, least).

    Raises:
        ConfigError: A value is too small.
    """
    for name, (value, least) in low.items():
        if value < least:
            raise ConfigError(f"{name} is {value}: set --model.quantizer.{name} to {least} or more.")


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Squared distance of samples, (B,), summed over features and positions."""
    return (a - b).square().flatten(1).sum(1)
