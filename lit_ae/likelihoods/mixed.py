"""A likelihood per column of a table: numbers, zeros and ones, and classes side by side."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import torch
from torch import Tensor
from torch.distributions import OneHotCategorical

from lit_ae.batch import DataSpec, Shape
from lit_ae.errors import ConfigError
from lit_ae.functional import full_precision
from lit_ae.likelihoods.base import Elements, Likelihood, LikelihoodHead
from lit_ae.likelihoods.binary import BernoulliElements
from lit_ae.likelihoods.continuous import GaussianElements, Learned, Scale


class ClassElements(Elements):
    """One-hot columns of k classes each.

    Args:
        logits: Unnormalised log probabilities, (*B, n · k): column by column.
        k: Number of classes.
    """

    def __init__(self, logits: Tensor, k: int) -> None:
        super().__init__(logits.shape)
        self.k, self.log_p = k, logits.unflatten(-1, (-1, k)).log_softmax(-1)

    def nats(self, x: Tensor) -> Tensor:
        """−x_j log p_j, whose sum over a column is its cross-entropy."""
        return -x * self.log_p.flatten(-2)

    @property
    def mean(self) -> Tensor:
        """p_j."""
        return self.log_p.exp().flatten(-2)

    @property
    def variance(self) -> Tensor:
        """p_j (1 − p_j)."""
        return (self.log_p.exp() * -self.log_p.expm1()).flatten(-2)

    def draw(self, shape: torch.Size) -> Tensor:
        """Draw one class per column."""
        repeats = shape[: len(shape) - len(self.batch_shape)]
        return OneHotCategorical(logits=self.log_p, validate_args=False).sample(repeats).flatten(-2)


class MixedElements(Elements):
    """Elements of several kinds.

    Args:
        parts: Distributions of the elements of one kind, (*B, D_i), in any order.
        order: Position in x of the elements of all parts, one after another, (D,).
        place: Position among these of each element of x, (D,).
    """

    def __init__(self, parts: list[Elements], order: Tensor, place: Tensor) -> None:
        super().__init__((*parts[0].batch_shape[:-1], len(order)))
        self.parts, self.order, self.place = parts, order, place

    def nats(self, x: Tensor) -> Tensor:
        """−log p of each element by its own kind."""
        pieces = iter(x.index_select(-1, self.order).split([part.batch_shape[-1] for part in self.parts], -1))
        return self._join(lambda part: part.nats(next(pieces)))

    @property
    def mean(self) -> Tensor:
        """Real values, and the probabilities of ones and of classes."""
        return self._join(lambda part: part.mean)

    @property
    def variance(self) -> Tensor:
        """The variance of each element by its own kind."""
        return self._join(lambda part: part.variance)

    def draw(self, shape: torch.Size) -> Tensor:
        """Draw real values, zeros and ones, and one-hot classes."""
        return self._join(lambda part: part.draw(shape[:-1] + part.batch_shape[-1:]))

    def _join(self, of: Callable[[Elements], Tensor]) -> Tensor:
        return torch.cat([of(part) for part in self.parts], -1).index_select(-1, self.place)


class Mixed(LikelihoodHead):
    """Each column of a table by its kind: squared error for numbers, cross-entropy for zeros and ones and for classes.

    A number is Gaussian around its mean, a column of two classes is one Bernoulli element, and one of k classes has k
    elements with the nats −Σ x_j log p_j. All are nats, hence comparable, which a squared error of one-hot columns is
    not. The columns come from the data: `--data Arrays` or `Bundled`, with `--data.categorical`.

    Args:
        shape: Shape of one sample, (D,).
        sigma: Standard deviation σ of the columns of numbers; where learned, its value to start from.
        learned: "fixed", "scalar" (one σ, a parameter) or "pixel" (one per number, from the decoder).
        min_sigma: Lower bound of a learned σ.
    """

    order: Tensor
    place: Tensor

    def __init__(
        self, shape: Shape, sigma: float = 0.5**0.5, learned: Learned = "fixed", min_sigma: float = 1e-3
    ) -> None:
        super().__init__(shape)
        self.scale = Scale(sigma, learned, min_sigma, "sigma")
        self._learn([0] * shape[0])

    def suit(self, spec: DataSpec) -> None:
        """Learn the columns.

        Raises:
            ConfigError: The data have none, or none of numbers for a learned σ.
        """
        super().suit(spec)
        if spec.columns is None or len(self.shape) != 1:
            raise ConfigError(
                f"Mixed is a likelihood of tables, and the data, of shape {self.shape}, have no columns: choose "
                "--model.likelihood Gaussian or Bernoulli."
            )
        self._learn(spec.columns)
        if self.scale.learned != "fixed" and 0 not in self.sizes:
            raise ConfigError("The data have no column of numbers: leave --model.likelihood.learned out.")

    def _learn(self, columns: list[int]) -> None:
        """Sort the elements of x by the kind of their column."""
        widths = [kind if kind > 2 else 1 for kind in columns]
        starts = accumulate(widths, initial=0)
        if sum(widths) != self.shape[0] or 1 in columns or min(columns) < 0:
            raise ConfigError(
                f"The columns {columns} are not those of samples of shape {self.shape}: give 0 for a number, 2 for a "
                "zero or one, k for k elements of which one is 1."
            )
        places: dict[int, list[int]] = {}
        for kind, width, start in zip(columns, widths, starts, strict=False):
            places.setdefault(kind, []).extend(range(start, start + width))
        self.sizes = {kind: len(elements) for kind, elements in sorted(places.items())}
        order = torch.tensor([element for kind in self.sizes for element in places[kind]])
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("place", order.argsort(), persistent=False)

    def raw_shape(self) -> Shape:
        """(D,), and one more per number where the decoder yields σ."""
        return (self.shape[0] + (self.sizes.get(0, 0) if self.scale.learned == "pixel" else 0),)

    def forward(self, raw: Tensor) -> Likelihood:
        """Build p(x|z) from means and logits, in the order of x, and then each number's σ where it is learned."""
        raw = full_precision(raw)
        each, more = raw.split([self.shape[0], raw.shape[-1] - self.shape[0]], -1)
        pieces = each.index_select(-1, self.order).split([*self.sizes.values()], -1)
        parts: list[Elements] = []
        for kind, piece in zip(self.sizes, pieces, strict=True):
            if kind == 0:
                parts.append(GaussianElements(*self.scale(torch.cat([piece, more], -1), 1)))
            else:
                parts.append(BernoulliElements(piece) if kind == 2 else ClassElements(piece, kind))
        return Likelihood(MixedElements(parts, self.order, self.place), 1)

    def check_values(self, x: Tensor) -> None:
        """Refuse columns of classes that are no zeros and ones; missing cells (nan) pass."""
        classes = x.index_select(-1, self.order)[:, self.sizes.get(0, 0) :].nan_to_num(nan=0.0)
        if bool(((classes != 0) & (classes != 1)).any()):
            raise ConfigError(
                "A column of classes holds other values than 0 and 1: let --data.transforms leave such columns alone."
            )
