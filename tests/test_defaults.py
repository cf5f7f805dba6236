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
    defaults: dict[str, set[str]] = {}
    for cls in final(base):
        effective: dict[str, str] = {}
        for ancestor in reversed(cls.__mro__):  # a class's own default replaces that of the one it passes it on to
            for name, parameter in inspect.signature(ancestor.__init__).parameters.items():  # type: ignore[misc]
                if parameter.default is not inspect.Parameter.empty:
                    effective[name] = repr(parameter.default)
        for name, default in effective.items():
            defaults.setdefault(name, set()).add(default)
    clashes = {name: values for name, values in defaults.items() if len(values) > 1}
    assert defaults or base in (PosteriorHead, Prior, Transform)
    assert not clashes
