"""Autoencoders with codes: what they learn, what is logged, and what is refused."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from datamodules import Digits
from digits_for_tests import digits, mse
from lit_ae.batch import Batch, DataSpec
from lit_ae.callbacks.codebook import CodebookMonitor
from lit_ae.errors import ConfigError
from lit_ae.models.ae import AE
from lit_ae.models.vq_vae import VQVAE, code_use
from lit_ae.nn.grid import GridDecoder, GridEncoder
from lit_ae.nn.quantizers import FSQ, LFQ, EMAVectorQuantizer, Quantizer, ResidualVQ, VectorQuantizer
from trainer_for_tests import trainer

SPEC = Digits().spec
QUANTIZERS: dict[str, tuple[int, Any]] = {
    "ema": (16, partial(EMAVectorQuantizer, num_codes=64)),
    "gradient": (16, partial(VectorQuantizer, num_codes=64)),
    "residual": (16, partial(ResidualVQ, num_codes=32, depth=2)),
    "fsq": (4, FSQ),
    "lfq": (10, LFQ),
}
each = pytest.mark.parametrize("name", QUANTIZERS)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def build(name: str, **settings: Any) -> VQVAE:
    dim, quantizer = QUANTIZERS[name]
    return VQVAE(spec=SPEC, latent_dim=dim, quantizer=quantizer, **settings)


def fit(model: VQVAE, folder: Path, epochs: int, **settings: Any) -> Trainer:
    runner = trainer(folder, CodebookMonitor(), epochs=epochs, num_sanity_val_steps=0, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runner.fit(model, Digits(batch_size=64))
    return runner


@pytest.mark.slow
@each
def test_digits_come_back_from_their_codes(name: str, tmp_path: Path) -> None:
    train, _ = digits("train")
    x, _ = digits("test")
    model = build(name)
    runner = fit(model, tmp_path, 15)
    mean = (x - train.mean(0)).square().flatten(1).sum(1).mean().item()
    assert mse(model, x) < 0.5 * mean
    assert 0 < runner.callback_metrics["val/codes_used"] <= 1
    assert runner.callback_metrics["val/codes_perplexity"] > 4
    codes = model.encode(x).codes
    torch.testing.assert_close(model.decode_codes(codes), model.reconstruct(x))


@each
def test_trains_in_bf16_without_nan(name: str, tmp_path: Path) -> None:
    model = build(name)
    runner = fit(model, tmp_path, 1, precision="bf16-mixed")
    assert all(value.isfinite() for value in runner.callback_metrics.values())
    started = [bool(value) for path, value in model.state_dict().items() if path.endswith("started")]
    assert started == {"ema": [True], "gradient": [True], "residual": [True, True]}.get(name, [])


@each
def test_terms_are_taken_in_float32_under_bf16(name: str) -> None:
    model, batch = build(name), Batch(torch.rand(5, 1, 8, 8))
    with torch.autocast("cpu", torch.bfloat16):
        out = model(batch)
        terms = model.loss(batch, out, {})
    assert model.raw(batch.x).dtype == torch.float32
    assert all(term.dtype == torch.float32 for term in terms.values())
    again = model.quantizer.terms(out.q.continuous, out.q.codes)
    assert out.q.continuous.dtype == torch.float32
    for term, value in again.items():
        torch.testing.assert_close(terms[term], value)


@each
def test_the_distortion_reaches_the_encoder(name: str) -> None:
    model, batch = build(name), Batch(torch.rand(5, 1, 8, 8))
    out = model(batch)
    assert torch.equal(out.aux["codes"], out.q.codes)
    model.loss(batch, out, {})["distortion"].sum().backward()
    assert all(parameter.grad is not None for parameter in model.encoder.parameters())
    assert any(parameter.grad.abs().sum() > 0 for parameter in model.encoder.parameters())
    assert all(parameter.grad is None for parameter in model.quantizer.parameters())


def test_usage_by_hand() -> None:
    usage, perplexity = code_use(torch.tensor([[0, 0], [1, 1]]), 8)
    torch.testing.assert_close(usage, torch.tensor(0.25))
    torch.testing.assert_close(perplexity, torch.tensor(2.0))
    usage, perplexity = code_use(torch.tensor([[[0, 0], [0, 1]]]), 4, depth=2)
    torch.testing.assert_close(usage, torch.tensor((0.25 + 0.5) / 2))
    torch.testing.assert_close(perplexity, torch.tensor(1.5))


def test_a_collapse_is_told_once(tmp_path: Path) -> None:
    model = VQVAE(spec=SPEC, quantizer=partial(VectorQuantizer, num_codes=64, kmeans_steps=0, revive=0))
    with torch.no_grad():
        model.quantizer.codebook[1:] = 1e4
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runner = trainer(tmp_path, CodebookMonitor(patience=2), epochs=3, num_sanity_val_steps=0, limit_train_batches=2)
        runner.fit(model, Digits(batch_size=64))
    told = [str(warning.message) for warning in caught if "Codebook collapse" in str(warning.message)]
    assert len(told) == 1
    assert "1.6% of 64 codes" in told[0]
    with pytest.raises(ConfigError, match="AE has no codes"):
        trainer(tmp_path, CodebookMonitor()).fit(AE(spec=SPEC), Digits())


@pytest.mark.parametrize("size", [(1, 8, 8), (3, 7, 5), (1, 1, 9)])
@pytest.mark.parametrize("upsample", ["transposed", "resize"])
def test_grids_of_any_size(size: tuple[int, int, int], upsample: Any) -> None:
    encoder, decoder = GridEncoder(size, 5, (4, 8)), GridDecoder(5, size, (8, 4), upsample=upsample)
    z = encoder(torch.rand(2, *size))
    assert z.shape == (2, 5, *encoder.grid)
    assert decoder(z).shape == (2, *size)
    assert encoder.grid == decoder.grid


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="takes pictures"):
        VQVAE(spec=DataSpec(input_shape=(12,)))
    with pytest.raises(ConfigError, match="same number of stages"):
        VQVAE(spec=SPEC, grid_encoder=partial(GridEncoder, channels=(8,)))
    with pytest.raises(ConfigError, match="latent_dim is 0"):
        VQVAE(spec=SPEC, latent_dim=0)
    with pytest.raises(ConfigError, match="used between 0 and 1"):
        CodebookMonitor(used=2.0)
    assert isinstance(build("fsq").quantizer, Quantizer)
