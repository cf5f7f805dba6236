"""What a condition may be, and what is said where it does not fit."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from conftest import Console
from lit_ae.batch import Batch, DataError, DataSpec
from lit_ae.errors import ConfigError
from lit_ae.models.ae import AE
from lit_ae.models.cvae import CVAE
from lit_ae.models.vae import VAE
from lit_ae.nn import ConvDecoder, ConvEncoder
from variants import SMALL, SPEC

CLASSES = replace(SPEC, condition_shape=())
SHORT = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--trainer.enable_progress_bar=false")


@pytest.mark.parametrize("shape", [(), (5,), (2, 3)], ids=["class", "vector", "array"])
@pytest.mark.parametrize("nets", ["mlp", "conv"])
def test_the_condition_reaches_encoder_and_decoder(shape: tuple[int, ...], nets: str) -> None:
    conv = {"encoder": partial(ConvEncoder, channels=(4,)), "decoder": partial(ConvDecoder, channels=(4,))}
    torch.manual_seed(0)
    model = VAE(spec=replace(SPEC, condition_shape=shape), latent_dim=3, **(conv if nets == "conv" else {}))
    x = torch.rand(1, 1, 8, 8).expand(2, -1, -1, -1)
    c = torch.randn(2, *shape) if shape else torch.tensor([3, 7])
    one, other = model.embed(x, c)
    assert not torch.allclose(one, other)
    z = torch.zeros(4, 2, 3)
    pictures = model.decode(z, c).mean
    assert pictures.shape == (4, 2, 1, 8, 8)
    assert not torch.allclose(pictures[:, 0], pictures[:, 1])
    torch.testing.assert_close(pictures[0], pictures[3])
    assert model.sample(2, c).shape == (2, 1, 8, 8)


def test_sequences_and_tables_take_conditions() -> None:
    for shape in ((6,), (3, 9)):
        model = AE(spec=DataSpec(input_shape=shape, num_classes=4, condition_shape=()), latent_dim=2)
        assert model.reconstruct(torch.randn(5, *shape), torch.arange(5) % 4).shape == (5, *shape)


@pytest.mark.parametrize(
    ("c", "words"),
    [
        (None, "trained with a condition"),
        (torch.tensor([0, 10]), "condition 10 is out of range"),
        (torch.tensor([-1, 3]), "condition -1 is out of range"),
        (torch.randn(2, 3), "conditions of shape"),
    ],
    ids=["missing", "too large", "negative", "shape"],
)
def test_a_condition_that_does_not_fit(c: torch.Tensor | None, words: str) -> None:
    model = CVAE(**SMALL, spec=CLASSES)
    batch = Batch(torch.rand(2, 1, 8, 8), c=c)
    with pytest.raises(DataError, match=words):
        model.check(batch)
    with pytest.raises(DataError, match=words):
        model(batch)
    with pytest.raises(DataError, match=words):
        model.sample(2, c)


def test_a_condition_of_nan() -> None:
    model = CVAE(**SMALL, spec=replace(SPEC, condition_shape=(3,)))
    with pytest.raises(DataError, match="NaN"):
        model.check(Batch(torch.rand(2, 1, 8, 8), c=torch.tensor([[0.0, 1.0, float("nan")]] * 2)))


def test_a_conditional_vae_without_conditions() -> None:
    with pytest.raises(ConfigError, match=r"--data\.condition label"):
        CVAE(**SMALL, spec=SPEC)


def test_status_of_a_missing_condition(lit_ae: Console) -> None:
    done = lit_ae("fit", "--model=CVAE", "--data=Digits", *SHORT)
    assert done.status == 2
    assert done.err.strip().count("\n") == 0
    assert "--data.condition label" in done.err


def test_status_of_data_that_lost_their_condition(lit_ae: Console) -> None:
    assert lit_ae("fit", "--config=cvae", *SHORT, "--trainer.limit_val_batches=1", "--trainer.callbacks=[]").status == 0
    done = lit_ae("test", "runs/cvae/0", "--data.condition=null", "--trainer.enable_progress_bar=false")
    assert done.status == 3
    assert "trained with a condition" in done.err
