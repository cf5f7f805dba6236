"""Sparse autoencoders: the rate is met, k latents stay, and two processes see one batch."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from lightning.pytorch import Trainer
from torch.distributions import Bernoulli, kl_divergence
from torch.utils.data import DataLoader

from datamodules import Digits
from digits_for_tests import digits, train
from lit_ae import functional
from lit_ae.batch import Batch
from lit_ae.errors import ConfigError
from lit_ae.models.sparse_ae import SparseAE
from lit_ae.nn import MLPDecoder, MLPEncoder

SPEC = Digits().spec
SHIPPED: dict[str, Any] = {  # the networks of configs/sparse_ae.yaml
    "latent_dim": 256,
    "encoder": partial(MLPEncoder, hidden=(256,)),
    "decoder": partial(MLPDecoder, hidden=(256,)),
}
SMALL: dict[str, Any] = {
    "latent_dim": 8,
    "encoder": partial(MLPEncoder, hidden=(16,)),
    "decoder": partial(MLPDecoder, hidden=(16,)),
    "optimizer": partial(torch.optim.SGD, lr=0.01),
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_the_gap_is_the_divergence_of_bernoulli_units() -> None:
    rate, rho = torch.rand(7), 0.1
    by_torch = kl_divergence(Bernoulli(torch.full_like(rate, rho)), Bernoulli(rate)).sum()
    torch.testing.assert_close(functional.rate_gap(rate, rho), by_torch)
    assert functional.rate_gap(torch.full((3,), rho), rho).abs() < 1e-6


def test_the_gap_of_units_that_never_or_always_act_is_finite() -> None:
    rate = torch.tensor([0.0, 1.0], requires_grad=True)
    gap = functional.rate_gap(rate, 0.05)
    gap.backward()
    assert gap.isfinite()
    assert rate.grad is not None
    assert rate.grad.isfinite().all()


def test_the_term_is_that_of_the_mean_code_and_not_the_mean_of_terms() -> None:
    model, batch = SparseAE(spec=SPEC, rho=0.2, **SMALL), Batch(torch.rand(6, 1, 8, 8))
    out = model(batch)
    term = model.loss(batch, out, model.coefficients)["sparsity"]
    rate = torch.sigmoid(model.encoder(batch.x)).mean(0)
    by_hand = 0.2 * (0.2 / rate).log() + 0.8 * (0.8 / (1 - rate)).log()
    torch.testing.assert_close(term, by_hand.sum())
    torch.testing.assert_close(out.q.mode.mean(), model.metrics(batch, out)["active"].mean())


def test_the_measured_rate_reaches_the_target() -> None:
    x, _ = digits("train")
    held_out, _ = digits("test")
    model = train(SparseAE(spec=SPEC, rho=0.05, **SHIPPED), 60, x)
    batch = Batch(held_out)
    measured = model.metrics(batch, model(batch))["active"].mean().item()
    assert abs(measured - 0.05) < 0.2 * 0.05
    each = model.embed(x).mean(0)
    assert ((each - 0.05).abs() < 0.2 * 0.05).float().mean() > 0.9  # every unit, not their mean alone
    free = train(SparseAE(spec=SPEC, sparsity=0.0, **SHIPPED), 5, x)
    assert free.embed(held_out).mean() > 0.3


def test_exactly_k_latents_are_active_ties_or_not() -> None:
    x, _ = digits("test")
    model = SparseAE(spec=SPEC, latent_dim=32, penalty="topk", k=5)
    batch = Batch(x)
    out = model(batch)
    assert torch.equal((model.embed(x) != 0).sum(1), torch.full((len(x),), 5))
    torch.testing.assert_close(model.metrics(batch, out)["active"], torch.full((len(x),), 5 / 32))
    assert set(model.loss(batch, out, model.coefficients)) == {"distortion"}
    assert "sparsity" not in model.coefficients
    tied = functional.top_k(torch.ones(3, 6), 2)
    assert torch.equal((tied != 0).sum(1), torch.full((3,), 2))


def test_the_largest_latents_stay_and_learn() -> None:
    z = torch.tensor([[0.5, -3.0, 2.0, 1.0], [-1.0, -2.0, -3.0, -4.0]], requires_grad=True)
    kept = functional.top_k(z, 2)
    assert kept.tolist() == [[0.0, 0.0, 2.0, 1.0], [-1.0, -2.0, 0.0, 0.0]]
    kept.sum().backward()
    assert z.grad is not None
    assert z.grad.tolist() == [[0, 0, 1, 1], [1, 1, 0, 0]]


def test_a_sum_of_magnitudes_empties_rectified_codes() -> None:
    x, _ = digits("train")
    held_out, _ = digits("test")
    nets = {"encoder": partial(MLPEncoder, hidden=(), output=torch.nn.ReLU), "decoder": partial(MLPDecoder, hidden=())}
    shares = []
    for sparsity in (0.0, 0.03):
        torch.manual_seed(0)
        model = SparseAE(spec=SPEC, latent_dim=128, penalty="l1", sparsity=sparsity, **nets)
        train(model, 20, x)
        batch = Batch(held_out)
        out = model(batch)
        torch.testing.assert_close(model.loss(batch, out, {})["sparsity"], out.q.mode.abs().sum(1))
        shares.append(model.metrics(batch, out)["active"].mean().item())
    assert shares[1] < 0.6 * shares[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rho": 0.0}, "rho is 0.0"),
        ({"rho": 1.0}, "rho is 1.0"),
        ({"penalty": "topk"}, "k is None"),
        ({"penalty": "topk", "k": 0}, "k is 0"),
        ({"penalty": "topk", "k": 17}, "k is 17: set --model.k from 1 to latent_dim, which is 16"),
        ({"sparsity": -1.0}, "sparsity is -1.0"),
        ({"penalty": "l2"}, "penalty is 'l2'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SparseAE(spec=SPEC, **arguments)


def trained(folder: str, batches: list[Batch], devices: int = 1) -> dict[str, torch.Tensor]:
    """Weights after one step of SGD per batch."""
    torch.manual_seed(0)
    model = SparseAE(spec=SPEC, sparsity=5.0, **SMALL)
    Trainer(
        accelerator="cpu", devices=devices, strategy="auto" if devices == 1 else "ddp", max_epochs=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        use_distributed_sampler=False,
    ).fit(model, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]  # fmt: skip
    return model.state_dict()


def batches() -> list[Batch]:
    """Nine samples each: two processes cannot share them evenly."""
    x, _ = digits("train")
    return [Batch(part) for part in x[:36].split(9)]


def one_of_two(rank: int, folder: str) -> None:
    """What each process does: its share of every batch."""
    os.environ |= {"LOCAL_RANK": str(rank), "RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    shares = [batch.x[rank::2] for batch in batches()]
    state = trained(folder, [Batch(share, weight=len(share) * 2 / 9) for share in shares], devices=2)
    torch.save(state, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    alone = trained(str(tmp_path), batches())
    mp.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    for rank in range(2):
        for name, value in torch.load(tmp_path / f"{rank}.pt", weights_only=True).items():
            torch.testing.assert_close(value, alone[name], rtol=1e-5, atol=1e-6, msg=name)
