"""Recurrent networks: sequences of any length in one batch, and padding that nothing depends on."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from lit_ae.batch import Batch, DataSpec, Shape
from lit_ae.errors import ConfigError
from lit_ae.likelihoods import Gaussian
from lit_ae.models.ae import AE
from lit_ae.models.vae import VAE
from lit_ae.nn import RecurrentDecoder, RecurrentEncoder

F, T = 3, 9
LENGTHS = torch.tensor([9, 1, 4, 7, 2])
KINDS: list[dict[str, Any]] = [
    {"cell": "gru"},
    {"cell": "lstm"},
    {"cell": "gru", "layers": 2, "bidirectional": True},
    {"cell": "lstm", "layers": 2, "bidirectional": True},
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def nets(**kind: Any) -> dict[str, Any]:
    plain = {name: value for name, value in kind.items() if name != "bidirectional"}
    return {
        "encoder": partial(RecurrentEncoder, width=8, **kind),
        "decoder": partial(RecurrentDecoder, width=8, **plain),
    }


def padded(steps: int, padding: float, dtype: torch.dtype = torch.float32) -> Batch:
    """The same five sequences, padded to `steps` with a value."""
    x = torch.full((len(LENGTHS), F, steps), padding, dtype=dtype)
    mask = (torch.arange(steps) < LENGTHS[:, None, None]).expand_as(x)
    values = torch.randn(len(LENGTHS), F, T, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x[..., :T] = torch.where(mask[..., :T], values.to(dtype), padding)
    return Batch(x, mask=mask)


def model_for(steps: int, **kind: Any) -> AE:
    return AE(
        spec=DataSpec(input_shape=(F, steps)),
        latent_dim=4,
        likelihood=partial(Gaussian, learned="pixel"),
        **nets(**kind),
    )


@every_kind
@pytest.mark.parametrize("shape", [(F, T), (1, 1), (3, 5, 4), (1, 8, 8)])
def test_any_sequence_or_picture_is_read_and_written(kind: dict[str, Any], shape: Shape) -> None:
    built = nets(**kind)
    encoder, decoder = built["encoder"](shape, 6), built["decoder"](4, shape)
    raw, out = encoder(torch.rand(2, *shape)), decoder(torch.randn(2, 4))
    assert raw.shape == (2, 6)
    assert out.shape == (2, *shape)
    (raw.square().sum() + out.square().sum()).backward()
    for net in (encoder, decoder):
        assert [name for name, parameter in net.named_parameters() if parameter.grad is None] == []


@every_kind
@pytest.mark.parametrize(("steps", "padding"), [(T, 7.0), (T, float("nan")), (14, 0.0), (40, -1e6)])
def test_neither_the_value_nor_the_amount_of_padding_matters(kind: dict[str, Any], steps: int, padding: float) -> None:
    short, long = model_for(T, **kind), model_for(steps, **kind)
    long.load_state_dict(short.state_dict())
    found = []
    for model, batch in ((short, padded(T, 0.0)), (long, padded(steps, padding))):
        terms = model.loss(batch, model(batch), model.coefficients)
        model.weigh(terms, model.coefficients).backward()
        code, back = model.embed(batch.x, mask=batch.mask), model.reconstruct(batch.x, mask=batch.mask)
        gradients = [parameter.grad for parameter in model.parameters()]
        assert batch.mask is not None
        found.append([code, back[..., :T].where(batch.mask[..., :T], 0.0), terms["distortion"], *gradients])
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-6)


@every_kind
def test_a_padded_batch_equals_its_sequences_one_by_one(kind: dict[str, Any]) -> None:
    encoder, batch = nets(**kind)["encoder"]((F, T), 6), padded(T, 7.0)
    alone = [encoder(x[None, :, :n]) for x, n in zip(batch.x, LENGTHS.tolist(), strict=True)]
    torch.testing.assert_close(encoder(batch.x, batch.mask), torch.cat(alone), rtol=1e-5, atol=1e-6)


@every_kind
def test_without_a_mask_all_is_observed(kind: dict[str, Any]) -> None:
    encoder, x = nets(**kind)["encoder"]((F, T), 6), torch.randn(5, F, T)
    torch.testing.assert_close(encoder(x), encoder(x, torch.ones_like(x, dtype=torch.bool)), rtol=1e-5, atol=1e-6)


def test_every_step_is_read_and_every_step_is_written_from_the_latent() -> None:
    encoder, decoder = RecurrentEncoder((F, T), 6), RecurrentDecoder(4, (F, T))
    x = torch.randn(2, F, T, requires_grad=True)
    encoder(x).square().sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).all()
    one, other = decoder(torch.randn(2, 4))
    assert (one != other).all()
    assert (one[:, 1:] != one[:, :-1]).all()


def test_holes_count_as_zeros_and_a_sequence_without_a_value_as_one_of_them() -> None:
    encoder, x = RecurrentEncoder((F, T), 6), torch.randn(4, F, T)
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[0, :, 3] = False  # a whole step amid the sequence
    mask[1, 0] = False  # one channel all along
    mask[2] = False
    expected = [encoder(x.where(mask, 0.0))[:2], encoder(torch.zeros(1, F, 1)), encoder(x[3:])]
    torch.testing.assert_close(encoder(x.where(mask, float("nan")), mask), torch.cat(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cls", [AE, VAE])
def test_conditions_lie_beside_every_step(cls: type[AE | VAE]) -> None:
    spec, batch = DataSpec(input_shape=(F, T), num_classes=2, condition_shape=()), padded(T, 7.0)
    model = cls(spec=spec, latent_dim=4, **nets(cell="gru"))
    zeros, ones = (torch.full((5,), c) for c in (0, 1))
    codes = [model.embed(batch.x, c, batch.mask) for c in (zeros, ones)]
    assert ((codes[0] - codes[1]).abs().amax(1) > 1e-3).all()
    torch.testing.assert_close(model.embed(padded(T, 0.0).x, ones, batch.mask), codes[1])


@every_kind
def test_bfloat16_is_finite_and_close(kind: dict[str, Any]) -> None:
    built, batch, z = nets(**kind), padded(T, 7.0), torch.randn(5, 4)
    encoder, decoder = built["encoder"]((F, T), 6), built["decoder"](4, (F, T))
    with torch.autocast("cpu", torch.bfloat16):
        raw, out = encoder(batch.x, batch.mask), decoder(z)
        (raw.float().square().sum() + out.float().square().sum()).backward()
    assert raw.dtype == out.dtype == torch.bfloat16
    for net in (encoder, decoder):
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    torch.testing.assert_close(raw.float(), encoder(batch.x, batch.mask), atol=0.03, rtol=0.03)
    torch.testing.assert_close(out.float(), decoder(z), atol=0.03, rtol=0.03)


def collated(rows: list[tuple[Tensor, Tensor]]) -> Batch:
    x, mask = (torch.stack(part) for part in zip(*rows, strict=True))
    return Batch(x, mask=mask)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true", "64-true"])
def test_padded_sequences_train_in_any_precision(precision: Any, tmp_path: Path) -> None:
    model, batch = model_for(T, cell="lstm", layers=2, bidirectional=True), padded(T, float("nan"))
    assert batch.mask is not None
    loader = DataLoader(list(zip(batch.x, batch.mask, strict=True)), 2, collate_fn=collated)
    runner = Trainer(
        default_root_dir=tmp_path, accelerator="cpu", precision=precision, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, max_epochs=2, num_sanity_val_steps=0,
        gradient_clip_val=1.0,
    )  # fmt: skip
    before = {name: value.clone() for name, value in model.state_dict().items()}
    runner.fit(model, loader, loader)
    assert runner.callback_metrics["val/loss"].isfinite()
    assert all(not torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RecurrentEncoder((7,), 2), r"sequences of shape \(F, T\).*\(7,\): use MLPEncoder"),
        (lambda: RecurrentDecoder(2, (7,)), "use MLPDecoder"),
        (lambda: RecurrentEncoder((3, 7), 2, width=0), "width=0"),
        (lambda: RecurrentDecoder(2, (3, 7), layers=0), "layers=0"),
        (lambda: RecurrentDecoder(0, (3, 7)), "in_features=0"),
        (lambda: RecurrentEncoder((3, 7), 2, cell="rnn"), "cell='rnn': use gru, lstm"),  # type: ignore[arg-type]
        (lambda: RecurrentDecoder(2, (3, 7), cell="rnn"), "cell='rnn': use gru, lstm"),  # type: ignore[arg-type]
    ],
)
def test_bad_arguments_name_themselves(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_parameters_are_counted_by_hand() -> None:
    def count(net: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in net.parameters())

    # a gate has weights from the input and from the state, and torch gives each a bias
    assert count(RecurrentEncoder((3, 99), 6, width=8)) == 3 * 8 * (3 + 8 + 2) + 6 * (8 + 1)
    assert count(RecurrentDecoder(4, (3, 99), cell="lstm", width=8)) == 4 * 8 * (4 + 8 + 2) + 2 * 8 * 5 + 3 * (8 + 1)
