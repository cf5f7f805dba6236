"""A likelihood per column: each column's cost against torch's own, and a whole table end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from torch import Tensor
from torch.autograd import gradcheck

from conftest import Console
from datamodules import Bundled
from lit_ae.batch import ConfigError, DataSpec
from lit_ae.likelihoods import Bernoulli, Gaussian, Mixed
from lit_ae.models import VAE
from tables_for_tests import arrays, samples, there, write

COLUMNS = [0, 3, 2, 0, 4, 3, 2]  # 15 elements: 0 | 1 2 3 | 4 | 5 | 6 7 8 9 | 10 11 12 | 13 ... in this order
D = sum(max(kind, 1) if kind != 2 else 1 for kind in COLUMNS)
NUMBERS, BINARY, CLASSES = [0, 5], [4, 13], [(1, 4), (6, 10), (10, 13)]


def suited(columns: list[int], width: int, **kwargs: object) -> Mixed:
    head = Mixed((width,), **kwargs)  # type: ignore[arg-type]
    head.suit(DataSpec((width,), columns=columns))
    return head


def rows(n: int = 5) -> Tensor:
    """A table with the columns above."""
    random = torch.Generator().manual_seed(1)
    x = torch.randn(n, D, generator=random, dtype=torch.float64)
    x[:, BINARY] = torch.randint(0, 2, (n, 2), generator=random).double()
    for start, stop in CLASSES:
        x[:, start:stop] = F.one_hot(torch.randint(0, stop - start, (n,), generator=random), stop - start).double()
    return x


def raw(head: Mixed, *batch: int) -> Tensor:
    random = torch.Generator().manual_seed(2)
    return torch.randn(*batch, *head.raw_shape(), generator=random, dtype=torch.float64).requires_grad_()


def test_each_column_costs_what_torch_says() -> None:
    head, x = suited(COLUMNS, D), rows()
    out = raw(head, 2, 5)
    nats = head(out).elements(x)
    assert nats.shape == (2, 5, D)
    x = x.expand(2, 5, D)
    squared = F.mse_loss(out[..., NUMBERS], x[..., NUMBERS], reduction="none")  # σ² = ½
    torch.testing.assert_close(nats[..., NUMBERS], squared + 0.5 * np.log(np.pi))
    crossed = F.binary_cross_entropy_with_logits(out[..., BINARY], x[..., BINARY], reduction="none")
    torch.testing.assert_close(nats[..., BINARY], crossed)
    for start, stop in CLASSES:
        logits, chosen = out[..., start:stop].flatten(0, 1), x[..., start:stop].argmax(-1).flatten()
        crossed = F.cross_entropy(logits, chosen, reduction="none").reshape(2, 5)
        torch.testing.assert_close(nats[..., start:stop].sum(-1), crossed)
    torch.testing.assert_close(head(out).log_prob(x), -nats.sum(-1))


@pytest.mark.parametrize(("learned", "extra"), [("fixed", 0), ("scalar", 0), ("pixel", 2)])
def test_the_numbers_are_gaussian_with_each_kind_of_sigma(learned: str, extra: int) -> None:
    head, alone = suited(COLUMNS, D, sigma=0.3, learned=learned), Gaussian((2,), sigma=0.3, learned=learned)  # type: ignore[arg-type]
    out, x = raw(head, 5), rows()
    assert head.raw_shape() == (D + extra,)
    inner = torch.cat([out[:, NUMBERS], out[:, D:]], -1)
    torch.testing.assert_close(head(out).elements(x)[:, NUMBERS], alone(inner).elements(x[:, NUMBERS]))
    torch.testing.assert_close(head(out).variance[:, NUMBERS], alone(inner).variance)


def test_a_table_of_one_kind_is_the_likelihood_of_that_kind() -> None:
    x = torch.rand(4, 3).round().double()
    out = raw(suited([0] * 3, 3), 4)
    for columns, alone in (([0, 0, 0], Gaussian((3,))), ([2, 2, 2], Bernoulli((3,)))):
        same = suited(columns, 3)(out)
        torch.testing.assert_close(same.elements(x), alone(out).elements(x))
        torch.testing.assert_close(same.mean, alone(out).mean)
        torch.testing.assert_close(same.variance, alone(out).variance)
    one_class = suited([3], 3)(out)
    chosen = torch.tensor([0, 2, 1, 1])
    expected = F.cross_entropy(out, chosen, reduction="none")
    torch.testing.assert_close(-one_class.log_prob(F.one_hot(chosen, 3).double()), expected)
    torch.testing.assert_close(one_class.mean, out.softmax(-1))


def test_samples_have_the_moments_and_the_kinds() -> None:
    torch.manual_seed(0)
    like = suited(COLUMNS, D)(raw(suited(COLUMNS, D), 2))
    assert like.sample((3, 4)).shape == (3, 4, 2, D)
    x = like.sample((40_000,))
    assert ((x.mean(0) - like.mean).abs() < 5 * (like.variance / 40_000).sqrt()).all()
    torch.testing.assert_close(x.var(0), like.variance, rtol=0.1, atol=1e-3)
    assert x[..., BINARY].unique().tolist() == [0, 1]
    for start, stop in CLASSES:
        assert x[..., start:stop].unique().tolist() == [0, 1]
        assert (x[..., start:stop].sum(-1) == 1).all()
        torch.testing.assert_close(like.mean[:, start:stop].sum(-1), torch.ones(2, dtype=torch.float64))
    assert not x.requires_grad
    assert like.levels is None


def test_gradients_are_right_and_extremes_finite() -> None:
    head, x = suited(COLUMNS, D, learned="pixel"), rows(3)
    assert gradcheck(lambda out: head(out).elements(x), raw(head, 3))
    far = torch.full((3, *head.raw_shape()), 1e4)
    far[..., ::2] *= -1
    far.requires_grad_()
    like = suited(COLUMNS, D)(far[:, :D])
    assert like.log_prob(x.float()).isfinite().all()
    (-like.log_prob(x.float()).sum() + like.mean.sum()).backward()
    assert far.grad is not None
    assert far.grad.isfinite().all()
    half = raw(head, 3).detach().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert head(half).log_prob(x.float()).dtype == torch.float32
    assert torch.equal(head(half).log_prob(x.float()), head(half.float()).log_prob(x.float()))


def test_a_masked_column_counts_nothing_and_gets_no_gradient() -> None:
    head, x = suited(COLUMNS, D), rows()
    out, mask = raw(head, 5), torch.ones(5, D, dtype=torch.bool)
    hidden = [(0, 0, 1), (1, 1, 4), (2, 4, 5), (3, 6, 10)]
    for row, start, stop in hidden:
        mask[row, start:stop] = False
    like = head(out).masked(mask)
    holes = x.where(mask, torch.nan)
    torch.testing.assert_close(like.elements(holes), head(out).elements(x).where(mask, 0.0))
    (-like.log_prob(holes)).sum().backward()
    assert out.grad is not None
    assert (out.grad[~mask] == 0).all()
    assert (out.grad[mask] != 0).all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Mixed is a likelihood of tables.*\(1, 8, 8\).*--model.likelihood"):
        Mixed((1, 8, 8)).suit(DataSpec((1, 8, 8)))
    with pytest.raises(ConfigError, match="no columns"):
        VAE(DataSpec((4,)), likelihood=Mixed)
    for columns in ([0, 2], [1, 0, 0, 0], [0, 0, 0, -1]):
        with pytest.raises(ConfigError, match="columns"):
            suited(columns, 4)
    with pytest.raises(ConfigError, match="no column of numbers"):
        suited([2, 3], 4, learned="scalar")
    with pytest.raises(ConfigError, match=r"sigma.*above 0"):
        Mixed((3,), sigma=0)
    head, x = suited(COLUMNS, D), rows()
    x[0, 1] = torch.nan
    head.check_values(x)
    x[0, 4] = 0.5
    with pytest.raises(ConfigError, match="column of classes"):
        head.check_values(x)


# ---- end to end


def test_integers_and_one_hot_columns_cost_the_same(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {"a": random.normal(size=80), "kind": random.integers(0, 4, 80), "two": random.integers(5, 7, 80)}
    )
    hot = pd.get_dummies(table, columns=["kind", "two"], dtype=int)
    groups: list[str | list[str]] = [[f"kind_{k}" for k in range(4)], ["two_5", "two_6"]]
    one = arrays(write(table, tmp_path / "integers.csv"), categorical=["kind", "two"])
    two = arrays(write(hot, tmp_path / "hot.csv"), categorical=groups)
    assert one.spec == two.spec
    assert one.spec.columns == [0, 4, 2]
    assert torch.equal(samples(one).x, samples(two).x)
    torch.manual_seed(0)
    model = VAE(one.spec, latent_dim=2, likelihood=Mixed)
    batches = [next(iter(data.test_dataloader())) for data in (one, two)]
    costs = [-model.decode(torch.zeros(len(batch.x), 2)).log_prob(batch.x) for batch in batches]
    assert torch.equal(*costs)
    logits = model.decoder(torch.zeros(1, 2))[:, 1:5].expand(len(batches[0].x), -1)
    columns = model.decode(torch.zeros(len(batches[0].x), 2)).elements(batches[0].x)[:, 1:5].sum(-1)
    torch.testing.assert_close(columns, F.cross_entropy(logits, batches[0].x[:, 1:5].argmax(1), reduction="none"))


def tumours(path: Path) -> Path:
    """Numbers, a yes or no, and three classes in words, with an empty cell in each."""
    bunch = load_breast_cancer(as_frame=True)
    table = bunch.frame[["mean radius", "mean texture", "mean smoothness", "mean concavity"]].copy()
    table["malignant"] = 1 - bunch.target
    table["size"] = pd.qcut(bunch.frame["mean area"], 3, labels=["small", "medium", "large"]).astype(object)
    for row, name in enumerate(["mean texture", "malignant", "size"]):
        table[name] = table[name].astype(object)
        table.loc[row + 3, name] = ""
    table.to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_numbers_yes_or_no_and_words_go_end_to_end(tmp_path: Path, lit_ae: Console) -> None:
    path = tumours(tmp_path / "tumours.csv")
    done = lit_ae(
        "fit", "--model=VAE", "--model.likelihood=Mixed", "--model.latent_dim=3", "--data=Arrays",
        f"--data.path={path}", "--data.categorical=[malignant,size]", "--data.missing=mask", "--data.batch_size=32",
        "--model.optimizer.lr=0.003", "--trainer.max_epochs=25", "--trainer.enable_progress_bar=false",
        "--trainer.accelerator=cpu", "--trainer.log_every_n_steps=5",
    )  # fmt: skip
    assert done.status == 0, done.err
    data = arrays(path, categorical=["malignant", "size"], missing="mask")
    assert data.spec.columns == [0, 0, 0, 0, 2, 3]
    (best,) = tmp_path.glob("runs/*/0/checkpoints/best.ckpt")
    model = VAE.load_from_checkpoint(best, map_location="cpu").eval()
    held_out = samples(data, "test")
    x, mask = held_out.x, there(held_out.mask)
    rebuilt = model.reconstruct(x)
    seen = mask[:, 5]
    assert (rebuilt[:, 5:].argmax(1) == x[:, 5:].argmax(1))[seen].float().mean() > 0.85  # chance is 1/3
    assert (rebuilt[:, 4].round() == x[:, 4])[mask[:, 4]].float().mean() > 0.85  # always no: 0.63
    assert (rebuilt - x)[:, :4][mask[:, :4]].square().mean() < 0.5  # the mean: 1


def test_the_wines_cultivar_is_rebuilt() -> None:
    data = Bundled(table="wine", categorical=["class"], batch_size=32)
    torch.manual_seed(0)
    model = VAE(data.spec, latent_dim=4, likelihood=Mixed)
    x = samples(data).x
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        out = model(next(iter(data.train_dataloader()))._replace(x=x, y=None))
        loss = (-out.p.log_prob(x).mean(0) + model.rate(out)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    held_out = torch.cat([samples(data, split).x for split in ("val", "test")])
    right = model.reconstruct(held_out)[:, 13:].argmax(1) == held_out[:, 13:].argmax(1)
    assert right.float().mean() > 0.9
