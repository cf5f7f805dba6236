"""What every sampler answers, whatever it is a density of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from lit_ae.batch import Shape
from lit_ae.models.base import Autoencoder


class Sampler(nn.Module, ABC):
    """A density over what a trained model makes of its data: codes, or latents. Drawn from it, they are decoded.

    Args:
        condition_shape: Shape of one condition; () is the number of a class, None is no condition.
        num_classes: Number of classes where the condition is one.

    Attributes:
        needs: The capability of models that this kind can serve.
        of: What it is a density of, in one word.
    """

    needs: ClassVar[type[Autoencoder]]
    of: ClassVar[str]

    def __init__(self, condition_shape: Shape | None, num_classes: int) -> None:
        super().__init__()
        self.condition_shape = None if condition_shape is None else tuple(condition_shape)
        self.num_classes = num_classes

    @property
    def conditional(self) -> bool:
        """Whether it is a density given a condition."""
        return self.condition_shape is not None

    @classmethod
    @abstractmethod
    def facts(cls, model: Autoencoder) -> dict[str, Any]:
        """What the constructor must know of a model that has what the kind needs: plain values, by argument."""

    @abstractmethod
    def values(self, model: Autoencoder, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """What a model makes of samples, (B, *S): what this is a density of."""

    @abstractmethod
    def decode(self, model: Autoencoder, values: Tensor, c: Tensor | None = None) -> Tensor:
        """The model's samples, (B, *E), of values, (B, *S); c is the model's own condition."""

    @abstractmethod
    def log_prob(self, values: Tensor, c: Tensor | None = None) -> Tensor:
        """Log density in nats, (B,), of values, (B, *S), given conditions, (B, *C)."""

    def bound(self, values: Tensor, c: Tensor | None = None) -> Tensor:
        """What training maximises, in nats, (B,): the log density, or a lower bound of it where that is cheaper."""
        return self.log_prob(values, c)

    @abstractmethod
    def sample(self, n: int, c: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """n values, (n, *S), given conditions, (n, *C): sharper below a temperature of 1, wilder above."""


class Estimator(Sampler, ABC):
    """A density that is found from all training values at once, where others learn from batch after batch."""

    @abstractmethod
    def estimate(self, values: Tensor, c: Tensor | None, seed: int) -> None:
        """Find the density of values, (N, *S), given conditions, (N, *C).

        Raises:
            ConfigError: The settings ask for more than these values can tell.
        """
