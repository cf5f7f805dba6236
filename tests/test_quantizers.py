"""Quantizers: closed forms, an independent package, two processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor

from lit_ae.errors import ConfigError
from lit_ae.nn.quantizers import FSQ, LFQ, EMAVectorQuantizer, Quantizer, ResidualVQ, VectorQuantizer

ALL = [EMAVectorQuantizer, VectorQuantizer, ResidualVQ, FSQ, LFQ]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def grid(n: int = 6, features: int = 4) -> Tensor:
    return torch.randn(n, features, 3, 2)


@pytest.mark.parametrize("cls", ALL)
def test_a_code_stands_for_its_vector(cls: type[Quantizer]) -> None:
    quantizer, z = cls(4), grid()
    quantizer.update(z, quantizer(z)[1])
    value, codes = quantizer(z)
    assert codes.dtype == torch.int64
    assert codes.shape == ((6, 4, 3, 2) if cls is ResidualVQ else (6, 3, 2))
    assert 0 <= codes.min() <= codes.max() < quantizer.num_codes
    assert torch.equal(quantizer.lookup(codes), value)
    if cls is not ResidualVQ:
        fixed = quantizer.lookup(torch.arange(quantizer.num_codes)[None])
        assert len(fixed[0].T.unique(dim=0)) == quantizer.num_codes or cls in (EMAVectorQuantizer, VectorQuantizer)


@pytest.mark.parametrize("cls", [EMAVectorQuantizer, VectorQuantizer, ResidualVQ, LFQ])
def test_the_gradient_passes_straight_through(cls: type[Quantizer]) -> None:
    quantizer, z, weight = cls(4), grid().requires_grad_(), grid()
    (quantizer(z)[0] * weight).sum().backward()
    assert z.grad is not None
    assert torch.equal(z.grad, weight)
    assert all(parameter.grad is None for parameter in quantizer.parameters())


def test_the_gradient_of_fsq_is_that_of_its_bound() -> None:
    quantizer, z = FSQ(4, (8, 5, 5, 5)), grid().requires_grad_()
    (ours,) = torch.autograd.grad(quantizer(z)[0].sum(), z)
    (bound,) = torch.autograd.grad(quantizer.project(z).sum(), z)
    assert torch.equal(ours, bound)


def test_terms_by_hand() -> None:
    quantizer, z = VectorQuantizer(4, 16, kmeans_steps=0), grid().requires_grad_()
    value, codes = quantizer(z)
    terms = quantizer.terms(z, codes)
    by_hand = torch.stack([(z[i] - value[i]).detach().square().sum() for i in range(6)])
    torch.testing.assert_close(terms["commitment"], by_hand)
    torch.testing.assert_close(terms["codebook"], by_hand)
    (to_z,) = torch.autograd.grad(terms["commitment"].sum(), z, retain_graph=True)
    torch.testing.assert_close(to_z, 2 * (z - value).detach())
    (to_book,) = torch.autograd.grad(terms["codebook"].sum(), quantizer.codebook)
    flat, numbers = z.detach().movedim(1, -1).reshape(-1, 4), codes.reshape(-1)
    wanted = torch.zeros(16, 4).index_add_(0, numbers, 2 * (quantizer.codebook.detach()[numbers] - flat))
    torch.testing.assert_close(to_book, wanted)
    assert torch.autograd.grad(quantizer.terms(z, codes)["codebook"].sum(), z, allow_unused=True) == (None,)


@pytest.mark.parametrize("cls", ALL)
def test_terms_do_not_depend_on_the_size_of_the_batch(cls: type[Quantizer]) -> None:
    quantizer, z = cls(4), grid()
    whole = quantizer.terms(z, quantizer(z)[1])
    for name, term in quantizer.terms(z[:2], quantizer(z[:2])[1]).items():
        if term.ndim:
            torch.testing.assert_close(term, whole[name][:2])


@pytest.mark.parametrize("cls", [EMAVectorQuantizer, VectorQuantizer])
def test_kmeans_finds_clusters_and_dead_codes_revive(cls: type[EMAVectorQuantizer]) -> None:
    centres = 10 * torch.randn(8, 4)
    z = (centres.repeat(32, 1) + 0.1 * torch.randn(256, 4)).T.reshape(4, 8, 32).movedim(1, 0)
    quantizer = cls(4, 8, decay=0.5)
    for _ in range(20):
        quantizer.update(z, quantizer.encode(z))
    assert len(quantizer.encode(z).unique()) >= 7
    with torch.no_grad():
        quantizer.codebook[3:] = 1e4  # out of reach
        quantizer.counts[3:] = 0
    assert len(quantizer.encode(z).unique()) <= 3
    for _ in range(20):
        quantizer.update(z, quantizer.encode(z))
    assert len(quantizer.encode(z).unique()) >= 7
    idle = cls(4, 8, revive=0, kmeans_steps=0)
    with torch.no_grad():
        idle.codebook[3:] = 1e4
    idle.update(z, idle.encode(z))
    assert len(idle.encode(z).unique()) <= 3


@pytest.mark.parametrize("cls", [EMAVectorQuantizer, VectorQuantizer])
def test_a_revived_code_has_time_to_find_its_vectors(cls: type[EMAVectorQuantizer]) -> None:
    quantizer, z = cls(4, 8, decay=0.9, kmeans_steps=0), grid(64)
    with torch.no_grad():
        quantizer.counts[3:] = 0
    only_the_first = torch.zeros(64, 3, 2, dtype=torch.long)
    quantizer.update(z, only_the_first)
    revived = quantizer.codebook[3:].clone()
    assert torch.cdist(revived, z.movedim(1, -1).reshape(-1, 4)).min(1).values.max() < 1e-5  # vectors of the batch
    quantizer.update(grid(64), only_the_first)
    torch.testing.assert_close(quantizer.codebook[3:], revived)


@pytest.mark.parametrize("cls", ALL)
def test_no_nan_in_bf16(cls: type[Quantizer]) -> None:
    quantizer, z = cls(4), 100 * grid()
    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(3):
            quantizer.update(z.bfloat16(), quantizer(z.bfloat16())[1])
        value, codes = quantizer(z.bfloat16())
    assert value.dtype == torch.float32
    assert value.isfinite().all()
    assert torch.equal(codes, quantizer.encode(z.bfloat16().float()))
    assert all(term.isfinite().all() for term in quantizer.terms(value, codes).values())


def test_the_package_gives_the_same_codebook() -> None:
    theirs_of = pytest.importorskip("vector_quantize_pytorch").VectorQuantize
    theirs = theirs_of(
        dim=4, codebook_size=16, decay=0.9, threshold_ema_dead_code=0, commitment_weight=1.0, accept_image_fmap=True
    )
    ours = EMAVectorQuantizer(4, 16, decay=0.9, revive=0, kmeans_steps=0)
    book = torch.randn(16, 4)
    theirs._codebook.embed.copy_(book[None])
    theirs._codebook.embed_avg.copy_(book[None])
    ours.place(book, torch.ones(16))
    for _ in range(3):
        z = grid()
        value, codes = ours(z)
        commitment = ours.terms(z, codes)["commitment"]
        ours.update(z, codes)
        their_value, their_codes, their_loss = theirs(z)  # its loss is a mean over batch, positions and features
        assert torch.equal(codes, their_codes)
        torch.testing.assert_close(value, their_value)
        torch.testing.assert_close(commitment.mean() / z[0].numel(), their_loss.squeeze())
        torch.testing.assert_close(ours.codebook, theirs._codebook.embed[0])
        torch.testing.assert_close(ours.counts, theirs._codebook.cluster_size[0])


def test_the_package_gives_the_same_fixed_codes() -> None:
    package = pytest.importorskip("vector_quantize_pytorch")
    z = 2 * grid(64)
    value, codes = FSQ(4, (8, 5, 5, 5))(z)
    their_value, their_codes = package.FSQ(levels=[8, 5, 5, 5])(z)
    assert torch.equal(codes, their_codes.long())
    torch.testing.assert_close(value, their_value)
    value, codes = LFQ(4)(z)
    their_value, their_codes, _ = package.LFQ(dim=4, codebook_size=16)(z)
    assert torch.equal(codes, their_codes.long())
    torch.testing.assert_close(value, their_value)


def test_the_package_gives_the_same_residual_codes() -> None:
    package = pytest.importorskip("vector_quantize_pytorch")
    theirs = package.ResidualVQ(dim=4, codebook_size=16, num_quantizers=3).eval()
    ours = ResidualVQ(4, 16, depth=3, kmeans_steps=0)
    for mine, layer in zip(ours.books, theirs.layers, strict=True):
        book = torch.randn(16, 4)
        layer._codebook.embed.copy_(book[None])
        mine.place(book, torch.ones(16))
    z = grid()
    value, codes = ours(z)
    their_value, their_codes, _ = theirs(z.flatten(2).mT)
    assert torch.equal(codes.flatten(2).mT, their_codes)
    torch.testing.assert_close(value.flatten(2).mT, their_value)


def test_the_package_trains_the_same_residual_codebooks() -> None:
    package = pytest.importorskip("vector_quantize_pytorch")
    settings = {"decay": 0.9, "threshold_ema_dead_code": 0, "commitment_weight": 1.0}
    theirs = package.ResidualVQ(dim=4, codebook_size=16, num_quantizers=3, **settings)
    ours = ResidualVQ(4, 16, depth=3, decay=0.9, revive=0, kmeans_steps=0)
    for mine, layer in zip(ours.books, theirs.layers, strict=True):
        book = torch.randn(16, 4)
        layer._codebook.embed.copy_(book[None])
        layer._codebook.embed_avg.copy_(book[None])
        mine.place(book, torch.ones(16))
    for _ in range(3):
        z = grid()
        value, codes = ours(z)
        commitment = ours.terms(z, codes)["commitment"]
        ours.update(z, codes)
        their_value, their_codes, their_losses = theirs(z.flatten(2).mT)
        assert torch.equal(codes.flatten(2).mT, their_codes)
        torch.testing.assert_close(value.flatten(2).mT, their_value)
        torch.testing.assert_close(commitment.mean() / z[0].numel(), their_losses.sum())
        for mine, layer in zip(ours.books, theirs.layers, strict=True):
            torch.testing.assert_close(mine.codebook, layer._codebook.embed[0])


def test_a_first_batch_starts_each_depth_on_what_the_one_before_left() -> None:
    z = 10 * torch.randint(-2, 3, (64, 2, 1, 1)).float() + torch.randint(-2, 3, (64, 2, 1, 1)).float()
    quantizer = ResidualVQ(2, 25, depth=2, kmeans_steps=20)
    for _ in range(2):
        quantizer.update(z, quantizer.encode(z))
    first = quantizer.books[0].lookup(quantizer.books[0].encode(z))
    rest = (z - quantizer(z)[0]).square().mean()
    assert rest < 0.3 * (z - first).square().mean()


def test_entropy_of_signs_by_enumeration() -> None:
    quantizer, z = LFQ(3, temperature=0.7), torch.randn(5, 3, 2, 2)
    terms = quantizer.terms(z, quantizer.encode(z))
    book = quantizer.lookup(torch.arange(8)[None])[0].T
    flat = z.movedim(1, -1).reshape(5, 4, 3)
    q = (-(flat[:, :, None] - book).square().sum(-1) / 0.7).softmax(-1)
    torch.testing.assert_close(terms["entropy"], -(q * q.log()).sum((1, 2)))
    mean = q.mean((0, 1))
    torch.testing.assert_close(terms["diversity"], 4 * (mean * mean.log()).sum())


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: FSQ(16), "FSQ has 4 levels.*latent_dim is 16"),
        (lambda: FSQ(2, (1, 5)), "levels is 1"),
        (lambda: LFQ(16), "LFQ has 2"),
        (lambda: LFQ(4, temperature=0), "temperature is 0"),
        (lambda: EMAVectorQuantizer(4, 0), "num_codes is 0"),
        (lambda: EMAVectorQuantizer(4, decay=1.0), "decay is 1.0"),
        (lambda: ResidualVQ(4, depth=0), "depth is 0"),
    ],
)
def test_bad_arguments(build, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=words):
        build()


def trained(batches: list[Tensor], kmeans_steps: int, revive: float) -> dict[str, Tensor]:
    torch.manual_seed(0)
    quantizer = EMAVectorQuantizer(4, 16, decay=0.9, kmeans_steps=kmeans_steps, revive=revive)
    for z in batches:
        quantizer.update(z, quantizer.encode(z))
    return quantizer.state_dict()


def parts() -> list[Tensor]:
    return list(torch.randn(5, 7, 4, 3, 2, generator=torch.Generator().manual_seed(1)))


def one_of_two(rank: int, folder: str) -> None:
    """What each process does: its share of every batch, of uneven sizes."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    shares = [z[rank::2] for z in parts()]
    torch.save([trained(shares, 0, 0), trained(shares, 5, 1.0)], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_hold_the_codebook_of_one(tmp_path: Path) -> None:
    alone = trained(parts(), 0, 0)
    mp.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    (first, revived), (second, as_well) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for name, value in alone.items():
        torch.testing.assert_close(first[name], value, msg=name)
        assert torch.equal(first[name], second[name])
        assert torch.equal(revived[name], as_well[name])
