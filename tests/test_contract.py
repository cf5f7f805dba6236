"""What every variant keeps, whatever it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.distributions import Distribution

from lit_ae import catalog
from lit_ae.batch import Batch, key
from lit_ae.functional import levels
from lit_ae.likelihoods import Likelihood
from lit_ae.models.base import Autoencoder
from lit_ae.models.generative import Generative, Variational
from lit_ae.models.multiplayer import MultiPlayer
from lit_ae.models.output import Latent
from trainer_for_tests import trainer as quiet
from variants import SPEC, VARIANTS, batch_of, build, digits

every_variant = pytest.mark.parametrize("name", VARIANTS)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


LIMITS = {"limit_train_batches": 3, "limit_val_batches": 2, "limit_test_batches": 2, "num_sanity_val_steps": 0}


def trainer(folder: Path, **settings: Any) -> Trainer:
    return quiet(folder, **{**LIMITS, **settings})


def rows(z: Latent, *index: int | slice) -> Latent:
    """Part of the latents, of every level where there are several."""
    return tuple(level[index] for level in z) if isinstance(z, tuple) else z[index]


def test_every_variant_has_a_row() -> None:
    assert {entry.name for entry in catalog.variants()} == {cls.__name__ for cls, _ in VARIANTS.values()}


@every_variant
def test_shapes(name: str) -> None:
    model, batch = build(name), batch_of(name, 5)
    out = model(batch, k=3)
    if name == "EBM-grid":
        pytest.skip("a grid has as many points as it has")
    for level, (q, z) in enumerate(zip(levels(out.q), levels(out.z), strict=True)):
        assert isinstance(q, Distribution)
        assert q.batch_shape == ((3, 5) if level else (5,))
        assert z.shape == (3, 5, *q.event_shape)
    assert isinstance(out.p, Likelihood)
    assert (out.p.batch_shape, out.p.event_shape) == ((3, 5), SPEC.input_shape)
    assert model.embed(batch.x, batch.c).shape == (5, *model.encode(batch.x, batch.c).event_shape)
    assert model.reconstruct(batch.x, batch.c).shape == batch.x.shape
    assert model.decode(rows(out.z, 0), batch.c).batch_shape == (5,)


@every_variant
def test_terms_are_per_sample_in_float32_and_weighted_once(name: str) -> None:
    model, batch = build(name), batch_of(name, 5)
    out = model(batch)
    terms = model.loss(batch, out, model.coefficients)
    assert all(term.shape in ((5,), ()) and term.dtype == torch.float32 for term in terms.values())
    by_hand = sum(model.coefficients.get(term, 1.0) * value.mean() for term, value in terms.items())
    torch.testing.assert_close(model.weigh(terms, model.coefficients), by_hand)
    assert all(not value.requires_grad or value.isfinite().all() for value in out.aux.values())


@every_variant
def test_the_loss_of_a_sample_does_not_depend_on_the_size_of_the_batch(name: str) -> None:
    if name == "VAE-free-bits":
        pytest.skip("the floor of free bits holds for the batch mean")
    model, batch = build(name), batch_of(name, 6)
    torch.manual_seed(1)
    out = model(batch)
    terms = model.loss(batch, out, model.coefficients)
    one = Batch(*(None if part is None else part[:1] for part in batch[:4]))  # type: ignore[arg-type]
    alone = replace(
        out,
        q=model.encode(one.x, one.c),
        z=(z := rows(out.z, slice(None), slice(1))),
        p=model.decode(z, one.c),
        aux={key: value[:1] for key, value in out.aux.items()},
    )
    if isinstance(out.q, tuple):
        q, prior = model.conditionals(one.x, one.c, None, z)
        alone = replace(alone, q=q, prior=prior)
    for term, value in model.loss(one, alone, model.coefficients).items():
        if value.ndim:
            torch.testing.assert_close(value[0], terms[term][0], rtol=1e-5, atol=1e-4)


@every_variant
def test_every_parameter_gets_a_finite_gradient(name: str) -> None:
    model, batch = build(name), batch_of(name, 5)
    model.weigh(model.loss(batch, model(batch), model.coefficients), model.coefficients).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name


@every_variant
def test_a_batch_of_one_trains(name: str) -> None:
    model, batch = build(name), batch_of(name, 1)
    loss = model.weigh(model.loss(batch, model(batch), model.coefficients), model.coefficients)
    assert loss.isfinite()


@every_variant
def test_embed_and_reconstruct_never_sample(name: str) -> None:
    model, batch = build(name), batch_of(name, 5)
    x, c = batch.x, batch.c
    assert torch.equal(model.embed(x, c), model.embed(x, c))
    assert torch.equal(model.reconstruct(x, c), model.reconstruct(x, c))
    assert torch.equal(model.embed(x, c), model.encode(x, c).mode)


@every_variant
def test_output_detaches(name: str) -> None:
    out = build(name)(batch_of(name, 3)).detach()
    assert not any(z.requires_grad for z in levels(out.z))
    assert not any(q.mode.requires_grad for q in levels(out.q))
    assert not out.p.mean.requires_grad


@every_variant
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_trains_validates_tests_and_logs_the_same_names(name: str, precision: str, tmp_path: Path) -> None:
    model = build(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    runner = trainer(tmp_path, precision=precision)
    data = digits(name, 32)
    runner.fit(model, data)
    logged = set(runner.callback_metrics)
    wanted = {"train/loss", "train/distortion", "val/loss", "val/distortion", "val/mse"}
    if isinstance(model, Variational):
        wanted |= {"train/rate", "train/elbo", "val/rate", "val/elbo"}
    assert wanted <= logged
    assert all(value.isfinite() for value in runner.callback_metrics.values())
    assert any(not torch.equal(before[key], value) for key, value in model.state_dict().items())
    (result,) = runner.test(model, data, verbose=False)
    assert {name.replace("val/", "test/") for name in wanted if name.startswith("val/")} <= set(result)
    predictions = runner.predict(model, data)
    assert predictions[0]["z"].shape[0] == len(predictions[0]["y"]) == 32


@every_variant
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_gradients_are_clipped_in_any_precision(name: str, precision: str, tmp_path: Path) -> None:
    runner = trainer(tmp_path, precision=precision, gradient_clip_val=1.0)
    runner.fit(build(name), digits(name, 32))
    assert runner.global_step == 3
    assert runner.callback_metrics["val/loss"].isfinite()


@every_variant
def test_elbo_is_minus_distortion_minus_rate(name: str, tmp_path: Path) -> None:
    model = build(name)
    if not isinstance(model, Variational):
        pytest.skip("has no rate")
    runner = trainer(tmp_path)
    runner.fit(model, digits(name, 32))
    for stage in ("train", "val"):
        value = {term: runner.callback_metrics[f"{stage}/{term}"] for term in ("elbo", "distortion", "rate")}
        torch.testing.assert_close(value["elbo"], -value["distortion"] - value["rate"])


@every_variant
def test_evaluation_repeats_itself_and_leaves_training_alone(name: str, tmp_path: Path) -> None:
    model, data = build(name), digits(name, 32)
    first = trainer(tmp_path).validate(model, data, verbose=False)
    torch.manual_seed(99)
    assert trainer(tmp_path).validate(model, data, verbose=False) == first


@every_variant
def test_same_seed_same_weights(name: str, tmp_path: Path) -> None:
    weights = []
    for _ in range(2):
        torch.manual_seed(3)
        model = build(name)
        trainer(tmp_path, max_epochs=2).fit(model, digits(name, 32))
        weights.append(model.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@every_variant
@pytest.mark.parametrize("loader", ["own class", "any class"])
def test_a_model_built_in_python_reloads_without_pickle(name: str, loader: str, tmp_path: Path) -> None:
    model = build(name)
    runner = trainer(tmp_path, max_epochs=1)
    runner.fit(model, digits(name, 32))
    runner.save_checkpoint(tmp_path / "model.ckpt")
    cls = type(model) if loader == "own class" else LightningModule
    again = cls.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert type(again) is type(model)
    assert again.coefficients == model.coefficients
    batch = batch_of(name, 4)
    assert torch.equal(again.embed(batch.x, batch.c), model.cpu().embed(batch.x, batch.c))


@every_variant
@pytest.mark.parametrize("steps", [3, 6, 8], ids=["within an epoch", "between epochs", "within the last epoch"])
def test_a_resumed_run_ends_with_the_same_weights(name: str, steps: int, tmp_path: Path) -> None:
    settings = {"max_epochs": 2, "limit_train_batches": 1.0, "limit_val_batches": 0, "enable_checkpointing": True}
    keep = ModelCheckpoint(tmp_path, "at-{step}", every_n_train_steps=steps, save_top_k=-1)
    whole, resumed = build(name), build(name)
    runner = trainer(tmp_path, **settings, callbacks=[keep])
    runner.fit(whole, digits(name, 256))
    assert runner.global_step == 12
    runner = trainer(tmp_path, **settings, callbacks=[ModelCheckpoint(tmp_path, "again")])
    runner.fit(resumed, digits(name, 256), ckpt_path=tmp_path / f"at-step={steps}.ckpt", weights_only=True)
    assert runner.global_step == 12
    for parameter_name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[parameter_name], value), parameter_name


@every_variant
def test_generative_models_sample(name: str) -> None:
    model = build(name)
    if not isinstance(model, Generative):
        assert not hasattr(model, "sample")
        return
    c = batch_of(name, 7).c
    assert model.sample(7, c).shape == (7, *SPEC.input_shape)
    batch = batch_of(name, 2)
    assert model.prior(c).event_shape == model.encode(batch.x, batch.c).event_shape


@every_variant
def test_a_players_loss_leaves_the_others_alone(name: str) -> None:
    model, batch = build(name), batch_of(name, 5)
    if not isinstance(model, MultiPlayer):
        pytest.skip("has one loss")
    owned = model.owned()
    assert sum(len(own) for own in owned.values()) == len(list(model.parameters()))
    torch.manual_seed(0)
    together = model(batch)
    model.weigh(model.loss(batch, together, model.coefficients), model.coefficients).backward()
    both = {path: parameter.grad.clone() for path, parameter in model.named_parameters()}
    for number, player in enumerate(owned):
        model.zero_grad(set_to_none=True)
        torch.manual_seed(0)
        out = model(batch) if number == 0 else model(batch).detach()
        model.weigh(model.alone(player, batch, out, model.coefficients), model.coefficients).backward()
        for path, parameter in model.named_parameters():
            mine = any(parameter is other for other in owned[player])
            assert (parameter.grad is not None) == mine, (player, path)
            if mine:
                torch.testing.assert_close(parameter.grad, both[path])


def test_keys_do_not_collide() -> None:
    keys = {
        key(seed, epoch, batch, rank)
        for seed in range(3)
        for epoch in range(10)
        for batch in range(50)
        for rank in (0, 1)
    }
    assert len(keys) == 3 * 10 * 50 * 2
    assert all(0 <= value < 2**63 for value in keys)


def test_capabilities_are_types() -> None:
    assert not issubclass(VARIANTS["AE"][0], Generative)
    assert issubclass(VARIANTS["VAE"][0], Variational)
    assert issubclass(Variational, Generative)
    assert issubclass(Generative, Autoencoder)
