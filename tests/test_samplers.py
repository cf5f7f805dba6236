"""Densities over codes: that they are densities, that they see nothing they must not, and what they learn."""

from __future__ import annotations

from functools import partial
from math import log
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

import variants
from digits_for_tests import digits, train
from lit_ae.batch import DataSpec
from lit_ae.errors import ConfigError, DataError
from lit_ae.jobs.fitted import independent
from lit_ae.models.coded import Coded
from lit_ae.models.vq_vae import VQVAE
from lit_ae.nn.quantizers import FSQ
from lit_ae.samplers import kinds, known
from lit_ae.samplers.codes import CodeSampler, truncated
from lit_ae.samplers.pixelcnn import PixelCNNSampler
from lit_ae.samplers.transformer import TransformerSampler

CLASSES = {"transformer": TransformerSampler, "pixelcnn": PixelCNNSampler}
SMALL: dict[str, Any] = {"width": 16, "layers": 3}
each = pytest.mark.parametrize("kind", CLASSES)


def build(kind: str, num_codes: int, shape: tuple[int, ...], **settings: Any) -> CodeSampler:
    """A sampler with weights large enough for every dependence to show."""
    torch.manual_seed(0)
    sampler = CLASSES[kind](num_codes, shape, **{**SMALL, **settings})
    with torch.no_grad():
        for parameter in sampler.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return sampler.eval()


def every_grid(num_codes: int, *shape: int) -> Tensor:
    return torch.cartesian_prod(*[torch.arange(num_codes)] * int(np.prod(shape))).unflatten(1, shape)


@each
@pytest.mark.parametrize("shape", [(2, 2), (1, 4), (4, 1), (2, 2, 1), (1, 2, 2), (4, 1, 1)])
def test_probabilities_of_all_grids_sum_to_one(kind: str, shape: tuple[int, ...]) -> None:
    grids = every_grid(3, *shape)
    log_p = build(kind, 3, shape).log_prob(grids)
    assert log_p.shape == (81,)
    assert log_p.std() > 0.5  # far from uniform
    torch.testing.assert_close(log_p.exp().sum(), torch.tensor(1.0), atol=1e-5, rtol=0)


@each
@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 3)])
def test_a_code_is_seen_by_all_later_steps_and_by_no_earlier_one(kind: str, shape: tuple[int, ...]) -> None:
    sampler = build(kind, 7, shape, layers=6)
    codes = torch.randint(7, (1, *shape))
    sequence = sampler.ordered(codes)
    assert torch.equal(sampler.grid(sequence), codes)
    before = sampler.logits(sequence)
    for step in range(sampler.length):
        changed = sequence.clone()
        changed[0, step] = (changed[0, step] + 1) % 7
        moved = (sampler.logits(changed) - before).abs().amax(-1)[0]
        assert (moved[: step + 1] < 1e-6).all(), f"step {step} is seen by itself or before"
        assert (moved[step + 1 :] > 1e-6).all(), f"step {step} is not seen by a later one: a blind spot"


def test_steps_go_row_by_row_and_depth_by_depth() -> None:
    sampler = build("transformer", 9, (2, 2, 2))
    codes = torch.tensor([[[[0, 1], [2, 3]], [[4, 5], [6, 7]]]])
    assert sampler.ordered(codes).tolist() == [[0, 4, 1, 5, 2, 6, 3, 7]]


@each
def test_a_prefix_has_the_logits_of_the_whole(kind: str) -> None:
    sampler = build(kind, 5, (2, 3, 3))
    sequence = torch.randint(5, (4, 18))
    whole = sampler.logits(sequence)
    for steps in (1, 2, 7, 17):
        torch.testing.assert_close(sampler.logits(sequence[:, :steps]), whole[:, :steps], atol=1e-5, rtol=1e-5)


@each
@pytest.mark.parametrize("shape", [(2, 2), (2, 1, 2)])
def test_samples_have_the_frequencies_of_the_density(kind: str, shape: tuple[int, ...]) -> None:
    sampler, n = build(kind, 3, shape), 20_000
    codes = sampler.sample(n)
    assert codes.shape == (n, *shape)
    grids = every_grid(3, *shape)
    weights = 3 ** torch.arange(3, -1, -1)
    counts = (codes.flatten(1) * weights).sum(1).bincount(minlength=81)
    expected = n * sampler.log_prob(grids).exp()
    squared = (counts - expected).square() / expected
    assert squared.sum() < 80 + 5 * 160**0.5  # χ² of 80 degrees of freedom


@each
def test_conditions_change_the_density_and_each_sums_to_one(kind: str) -> None:
    sampler, grids = build(kind, 3, (2, 2), condition_shape=(), num_classes=4), every_grid(3, 2, 2)
    totals = torch.stack([sampler.log_prob(grids, torch.full((81,), label)) for label in range(4)])
    torch.testing.assert_close(totals.exp().sum(1), torch.ones(4), atol=1e-5, rtol=0)
    assert (totals[0] - totals[1]).abs().max() > 0.1
    c = torch.arange(4).repeat_interleave(5)
    assert sampler.sample(20, c).shape == (20, 2, 2)
    with pytest.raises(DataError, match="class"):
        sampler.log_prob(grids)
    vector = build(kind, 3, (2, 2), condition_shape=(5,))
    assert vector.log_prob(grids[:2], torch.randn(2, 5)).shape == (2,)


@each
def test_every_parameter_learns(kind: str) -> None:
    sampler = build(kind, 3, (2, 3, 3), condition_shape=(), num_classes=2).train()
    sampler.log_prob(torch.randint(3, (8, 2, 3, 3)), torch.arange(8) % 2).sum().backward()
    silent = [name for name, parameter in sampler.named_parameters() if not parameter.grad.abs().sum() > 0]
    assert not silent


def test_truncation_by_hand() -> None:
    logits = torch.tensor([[0.5, 0.1, 0.3, 0.1]]).log()
    kept = [truncated(logits, top_k=2), truncated(logits, top_p=0.5), truncated(logits, top_p=0.51)]
    assert [row.isfinite().tolist()[0] for row in kept] == [
        [True, False, True, False],
        [True, False, False, False],
        [True, False, True, False],
    ]
    assert torch.equal(truncated(logits, 9, 1.0), logits)
    for wrong in ({"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            truncated(logits, **wrong)


@each
def test_cold_samples_are_the_most_probable(kind: str) -> None:
    sampler = build(kind, 3, (2, 2))
    greedy = sampler.sample(50, top_k=1)
    assert torch.equal(greedy, greedy[:1].expand_as(greedy))
    assert torch.equal(sampler.sample(50, temperature=1e-3), greedy)
    warm, hot = (sampler.log_prob(sampler.sample(2000, temperature=t)).mean() for t in (0.5, 2.0))
    assert warm > hot + 0.3
    with pytest.raises(ConfigError, match="temperature is 0"):
        sampler.sample(2, temperature=0.0)


@pytest.mark.parametrize("name", variants.VARIANTS)
def test_codes_of_a_variant_decode_to_its_reconstruction(name: str) -> None:
    model, batch = variants.build(name).eval(), variants.batch_of(name, 5)
    if not isinstance(model, Coded):
        return
    codes = model.codes(batch.x, batch.c)
    assert (codes.shape, codes.dtype) == ((5, *model.code_shape), torch.int64)
    assert 0 <= codes.min() <= codes.max() < model.num_codes
    torch.testing.assert_close(model.decode_codes(codes, batch.c), model.reconstruct(batch.x, batch.c))
    for cls in CLASSES.values():
        sampler = cls(**cls.facts(model), **SMALL).eval()
        assert sampler.decode(model, sampler.sample(5), batch.c).shape == batch.x.shape
        assert sampler.log_prob(sampler.values(model, batch.x, batch.c)).shape == (5,)


def test_kinds_are_found_by_their_files() -> None:
    latent = {"gmm": "GMMSampler", "knn": "KNNSampler", "maf": "MAFSampler", "spline": "SplineSampler"}
    latent["two_stage"] = "TwoStageSampler"
    found = {kind: entry.name for kind, entry in kinds().items()}
    assert found == latent | {k: cls.__name__ for k, cls in CLASSES.items()}
    assert all(entry.papers for entry in kinds().values())
    with pytest.raises(ConfigError, match="did you mean 'transformer'"):
        known("transfromer")


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("transformer", {"heads": 5}, "does not divide the width"),
        ("transformer", {"dropout": 1.0}, "dropout is 1.0"),
        ("transformer", {"layers": 0}, "layers is 0"),
        ("pixelcnn", {"kernel": 4}, "odd number"),
        ("pixelcnn", {"width": 0}, "width is 0"),
    ],
)
def test_bad_sizes(kind: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        CLASSES[kind](3, (2, 2), **settings)


def test_the_baseline_by_hand() -> None:
    seen = torch.tensor([[0, 1], [0, 0]])  # place 1: 3/4, 1/4 with one more of each; place 2: 1/2, 1/2
    nats = independent(seen, torch.tensor([[0, 1], [1, 1]]), 2)
    assert nats == pytest.approx((log(4 / 3) + log(4)) / 2 + log(2))


# ---- what is learned


@pytest.fixture(scope="module")
def coded() -> VQVAE:
    """An autoencoder with 64 codes at each of four places, trained on the digits."""
    torch.manual_seed(0)
    spec = DataSpec(input_shape=(1, 8, 8), num_classes=10)
    model = VQVAE(spec=spec, latent_dim=3, quantizer=partial(FSQ, levels=(4, 4, 4)))
    return train(model, 10, digits("train")[0]).eval()


def fitted(kind: str, codes: Tensor, c: Tensor | None = None) -> CodeSampler:
    torch.manual_seed(0)
    sampler = CLASSES[kind](64, (2, 2), () if c is not None else None, 10)
    optimizer = torch.optim.AdamW(sampler.parameters(), 2e-3)
    for _ in range(8):
        for rows in torch.randperm(len(codes)).split(64):
            optimizer.zero_grad()
            (-sampler.log_prob(codes[rows], None if c is None else c[rows]).mean()).backward()
            optimizer.step()
    return sampler.eval()


def frechet(a: Tensor, b: Tensor) -> float:
    """Squared Wasserstein distance of the Gaussians with the moments of two sets of samples."""
    (m, s), (n, t) = ((x.flatten(1).double().mean(0), x.flatten(1).double().T.cov()) for x in (a, b))
    values = torch.linalg.eigvals(s @ t).real.clamp(min=0)
    return float((m - n).square().sum() + s.trace() + t.trace() - 2 * values.sqrt().sum())


@pytest.mark.slow
@each
def test_what_it_learns_of_digits(kind: str, coded: VQVAE) -> None:
    x, y = digits("train")
    test, _ = digits("test")
    seen, unseen = coded.codes(x), coded.codes(test)
    sampler = fitted(kind, seen)
    nats = -sampler.log_prob(unseen).mean().item()
    apart = independent(seen, unseen, 64)
    assert nats < apart - 1 < 4 * log(64) - 1
    torch.manual_seed(1)
    drawn = sampler.decode(coded, sampler.sample(500))
    random = coded.decode_codes(torch.randint(64, (500, 2, 2)))
    assert frechet(drawn, test) < 0.5 * frechet(random, test)
    classifier = LogisticRegression(max_iter=100, C=0.1).fit(x.flatten(1).numpy(), y.numpy())
    sure, unsure = (classifier.predict_proba(s.flatten(1).numpy()).max(1).mean() for s in (drawn, random))
    assert sure > unsure + 0.03


@pytest.mark.slow
@each
def test_classes_come_as_they_are_asked_for(kind: str, coded: VQVAE) -> None:
    x, y = digits("train")
    sampler = fitted(kind, coded.codes(x), y)
    torch.manual_seed(1)
    asked = torch.arange(400) % 10
    drawn = sampler.decode(coded, sampler.sample(400, asked))
    classifier = LogisticRegression(max_iter=100, C=0.1).fit(x.flatten(1).numpy(), y.numpy())
    assert (classifier.predict(drawn.flatten(1).numpy()) == asked.numpy()).mean() > 0.6
