"""Models whose parts are trained on different losses: several players, one graph, one step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lit_ae.batch import Batch
from lit_ae.errors import ConfigError
from lit_ae.models.base import Autoencoder, Coefficients
from lit_ae.models.output import Output
from lit_ae.optim import ChainedOptimizer, PlayerSchedulers


class MultiPlayer(Autoencoder, ABC):
    """Each player owns parameters and has a loss of its own; all of them step at once, after one backward pass.

    The first player's loss sees the graph of the forward pass, the later ones' a detached output. Each is built while
    the parameters of the others are frozen, so that the gradients of their sum are those of each loss alone, and
    automatic optimisation holds: precision, accumulation, clipping (per player), several processes. The forward pass
    itself runs before anything is frozen: the first player's loss may read of its output only what its own parameters
    made, and computes the rest anew.

    Args:
        optimizers: Builds a player's optimizer, by the player's name; `optimizer` is the others'.
        lr_schedulers: Builds a player's learning-rate scheduler, by its name; `lr_scheduler` is the others'.
        every: Steps of the optimizer for one step of a player, by its name: {"autoencoder": 5} gives its critic five
            steps for each of its own. A resting player's terms are still logged.

    Raises:
        ConfigError: A name is no player's, or a number is not positive.
    """

    def __init__(
        self,
        *args: Any,
        optimizers: dict[str, Callable[[Iterable[Tensor]], Optimizer]] | None = None,
        lr_schedulers: dict[str, Callable[[Optimizer], LRScheduler]] | None = None,
        every: dict[str, int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.make_optimizers, self.make_lr_schedulers = optimizers or {}, lr_schedulers or {}
        self.every = every or {}
        if min(self.every.values(), default=1) < 1:
            raise ConfigError(f"every is {self.every}: set --model.every to 1 or more steps for each player.")

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
        seen, resting = out, self.resting()
        for player in self.players:
            added = self.alone(player, batch, seen, coef)
            assert not terms.keys() & added.keys()
            if player in resting:  # in the graph, as every process's reducer wants all parameters, but without a say
                added = {name: term.detach() + 0 * term for name, term in added.items()}
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

    def resting(self) -> frozenset[str]:
        """Players that the optimizer's next step leaves out: a function of the number of steps, so nothing to save."""
        if not self.every or not self.training or self._trainer is None or not self.trainer.training:
            return frozenset()
        step = self.trainer.global_step  # counted once, whatever the number of players
        return frozenset(player for player, period in self.every.items() if step % period)

    def build_optimizer(self) -> Optimizer:
        """One optimizer per player behind one."""
        owned = self.owned()
        for name in {*self.make_optimizers, *self.make_lr_schedulers, *self.every} - owned.keys():
            raise ConfigError(f"{type(self).__name__} has no player {name!r}: there are {', '.join(owned)}.")
        makers = {player: self.make_optimizers.get(player, self.make_optimizer) for player in owned}
        return ChainedOptimizer({player: makers[player](own) for player, own in owned.items()})

    def build_schedulers(self, optimizer: Optimizer) -> list[LRScheduler]:
        """One for all players, or one for each where a player has its own."""
        if not self.make_lr_schedulers:
            return super().build_schedulers(optimizer)
        assert isinstance(optimizer, ChainedOptimizer)
        makers = {player: self.make_lr_schedulers.get(player, self.make_lr_scheduler) for player in self.players}
        own = {name: make(optimizer.optimizers[name]) for name, make in makers.items() if make is not None}
        return [PlayerSchedulers(optimizer, own)]

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Step the players that are due."""
        chained(optimizer).resting = self.resting()
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip each player's gradients apart: a large loss of one must not still the others."""
        for own in chained(optimizer).optimizers.values():
            self.clip_gradients(own, gradient_clip_val, gradient_clip_algorithm)


def chained(optimizer: Optimizer | LightningOptimizer) -> ChainedOptimizer:
    """The optimizer under Lightning's wrapper."""
    inner = getattr(optimizer, "optimizer", optimizer)
    assert isinstance(inner, ChainedOptimizer)
    return inner


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
