"""A class may replace another of its kind: `--model.encoder ResNetEncoder`.

The command line then hands the old class's arguments on where the new one knows their names, defaults included. So
arguments of one name must have one default within a kind; otherwise a default that nobody chose would slip in.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

import datamodules
from datamodules.base import DataModule
from datamodules.transforms import Transform
from lit_ae.launch import import_classes
from lit_ae.likelihoods import LikelihoodHead
from lit_ae.models.base import Autoencoder
from lit_ae.nn import Decoder, Encoder
from lit_ae.posteriors import PosteriorHead
from lit_ae.priors import Prior


def final(base: type) -> Iterator[type]:
    for cls in base.__subclasses__():
        if cls.__module__.startswith(("lit_ae.", "datamodules.")) and not inspect.isabstract(cls):
            yield cls
        yield from final(cls)


@pytest.mark.parametrize(
    "base", [Autoencoder, DataModule, Encoder, Decoder, LikelihoodHead, PosteriorHead, Prior, Transform]
)
def test_one_name_one_default(base: type) -> None:
    import_classes()
    assert datamodules.__name__ == "datamodules"
    defaults: dict[str, dict[str, str]] = {}
    for cls in final(base):
        for constructor in {c.__init__ for c in cls.__mro__ if "__init__" in vars(c)}:  # type: ignore[misc]
            for name, parameter in inspect.signature(constructor).parameters.items():
                if parameter.default is not inspect.Parameter.empty:
                    defaults.setdefault(name, {})[cls.__name__] = repr(parameter.default)
    clashes = {name: owners for name, owners in defaults.items() if len(set(owners.values())) > 1}
    assert defaults or base in (PosteriorHead, Prior, Transform)
    assert not clashes
