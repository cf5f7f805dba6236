"""Models whose parts are trained on different losses: several players, one graph, one step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.optim import Optimizer

from lit_ae.batch import Batch
from lit_ae.models.base import Autoencoder, Coefficients
from lit_ae.models.output import Output
from lit_ae.optim import ChainedOptimizer


class MultiPlayer(Autoencoder, ABC):
    """Each player owns parameters and has a loss of its own; all of them step at once, after one backward pass.

    The first player's loss sees the graph of the forward pass, the later ones' a detached output. Each is built while
    the parameters of the others are frozen, so that the gradients of their sum are those of each loss alone, and
    automatic optimisation holds: precision, accumulation, clipping (per player), several processes. The forward pass
    itself runs before anything is frozen: the first player's loss may read of its output only what its own parameters
    made, and computes the rest anew.
    """

    @property
    @abstractmethod
    def players(self) -> dict[str, list[nn.Module]]:
        """Modules of each player; the first also owns every parameter that no other names."""

    @abstractmethod
    def player_loss(self, player: str, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """Named, unweighted terms of one player, (B,) or (); no name is another player's."""

    def loss(self, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """The terms of all players: the gradient of their weighted sum is each player's own."""
        terms: dict[str, Tensor] = {}
        seen = out
        for player in self.players:
            added = self.alone(player, batch, seen, coef)
            assert not terms.keys() & added.keys()
            terms |= added
            seen = out.detach() if seen is out else seen
        return terms

    def alone(self, player: str, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """The terms of one player, whose gradient reaches no parameter of the others."""
        others = (parameter for name, own in self.owned().items() if name != player for parameter in own)
        with frozen(others):
            return self.player_loss(player, batch, out, coef)

    def owned(self) -> dict[str, list[nn.Parameter]]:
        """Parameters of each player."""
        first, *others = self.players
        owned = {
            player: [parameter for module in self.players[player] for parameter in module.parameters()]
            for player in others
        }
        taken = {id(parameter) for theirs in owned.values() for parameter in theirs}
        return {first: [parameter for parameter in self.parameters() if id(parameter) not in taken], **owned}

    def build_optimizer(self) -> Optimizer:
        """One optimizer per player behind one."""
        return ChainedOptimizer({player: self.make_optimizer(own) for player, own in self.owned().items()})

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip each player's gradients apart: a large loss of one must not still the others."""
        chained = getattr(optimizer, "optimizer", optimizer)
        assert isinstance(chained, ChainedOptimizer)
        for own in chained.optimizers.values():
            self.clip_gradients(own, gradient_clip_val, gradient_clip_algorithm)


@contextmanager
def frozen(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """No gradient reaches these parameters from what is computed inside."""
    still = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in still:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in still:
            parameter.requires_grad_(True)
