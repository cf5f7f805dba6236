"""Training on batches that are given, some of them spoilt, for the tests of NonFinite."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule
from torch import Tensor
from torch.optim import SGD
from torch.utils.data import DataLoader

from lit_ae.batch import Batch
from lit_ae.models.ae import AE
from lit_ae.models.base import Autoencoder
from lit_ae.nn import ConvDecoder, ConvEncoder
from trainer_for_tests import trainer
from variants import SPEC, batch_of

NAN, INF = float("nan"), float("inf")
SLOWLY = partial(SGD, lr=1e-3)
State = dict[str, Tensor]


class Given(LightningDataModule):
    """The batches that it is given, in their order."""

    def __init__(self, *batches: Batch) -> None:
        super().__init__()
        self.batches = [*batches]

    def train_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(self.batches, batch_size=None)  # type: ignore[arg-type]


def good(seed: int, n: int = 8) -> Batch:
    return batch_of("AE", n, seed)


def bad(seed: int = 9, value: float = NAN) -> Batch:
    batch = good(seed)
    batch.x[3, 0, 2, 5] = value
    return batch


def model(optimizer: Any = SLOWLY) -> AE:
    """An autoencoder with batch statistics and without noise."""
    torch.manual_seed(0)
    encoder = partial(ConvEncoder, channels=(4,), norm="batch")
    return AE(
        spec=SPEC, latent_dim=4, encoder=encoder, decoder=partial(ConvDecoder, channels=(4,)), optimizer=optimizer
    )


def fit(folder: Path, of: Autoencoder, *batches: Batch, callback: Callback | None = None, **settings: Any) -> State:
    """Train on some batches; the weights and buffers afterwards."""
    callbacks = [] if callback is None else [callback]
    trainer(folder, *callbacks, **settings).fit(of, Given(*batches))
    return of.state_dict()


def equal(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def spoil(variant: Autoencoder, at: int, name: str, value: float, gradient: bool = False) -> None:
    """Let one term of one batch, or its gradient, be not finite."""
    loss, seen = variant.loss, [0]

    def spoilt(*args: Any) -> dict[str, Tensor]:
        terms = loss(*args)
        if variant.trainer.training:
            if seen[0] == at and gradient:
                terms[name] = terms[name].clone()
                terms[name].register_hook(lambda found: torch.full_like(found, value))
            elif seen[0] == at:
                terms[name] = terms[name] + value
            seen[0] += 1
        return terms

    variant.loss = spoilt  # type: ignore[method-assign]
