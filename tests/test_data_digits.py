"""The embedded digits keep their 17 levels and a fixed test split."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits

from datamodules import Digits
from datamodules.samples import Resident


def test_digits_keep_their_levels_and_their_range() -> None:
    data = Digits(batch_size=100)
    spec = data.spec
    assert (spec.input_shape, spec.num_train, spec.num_classes, spec.value_range) == ((1, 8, 8), 1294, 10, (0.0, 1.0))
    loader = data.train_dataloader()
    assert isinstance(loader.source, Resident)
    assert loader.source.samples.x.dtype == torch.uint8
    levels = torch.cat([batch.x for batch in loader]).unique()
    assert torch.equal(levels, torch.arange(17) / 16)


def test_all_digits_are_used_and_the_test_split_is_stratified_and_fixed() -> None:
    first, second = Digits(seed=0), Digits(seed=1)
    train, test = first.load("train"), first.load("test")
    assert (len(train.x), len(test.x)) == (1437, 360)
    assert torch.equal(test.x, second.load("test").x)
    pictures = torch.from_numpy(load_digits().data).to(torch.uint8)
    together = torch.cat([train.x, test.x]).flatten(1)
    assert sorted(map(bytes, together.numpy())) == sorted(map(bytes, pictures.numpy()))
    assert test.y is not None
    counts = test.y.bincount()
    assert counts.min() >= 34
    assert counts.max() <= 38
