"""The masked autoencoder: what is hidden stays hidden, what counts, and what it learns."""

from __future__ import annotations

from functools import partial
from math import cos, sin
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from conftest import Console
from datamodules import Digits
from digits_for_tests import digits, train
from lit_ae.batch import Batch, DataSpec
from lit_ae.callbacks import LatentVisualization, Reconstructions
from lit_ae.callbacks.predictions import PredictionWriter
from lit_ae.errors import ConfigError
from lit_ae.jobs.measured import restored
from lit_ae.likelihoods import Gaussian
from lit_ae.models.masked_autoencoder import MaskedAutoencoder
from lit_ae.models.output import Output
from lit_ae.nn import ViTDecoder, ViTEncoder
from lit_ae.nn.patches import hide, patchify, positions, shown, unpatchify
from lit_ae.optim import FusedAdam
from trainer_for_tests import trainer

SPEC = Digits().spec
SMALL: dict[str, Any] = {
    "patch": 2,
    "vit_encoder": partial(ViTEncoder, width=16, depth=2, heads=2),
    "vit_decoder": partial(ViTDecoder, width=8, depth=1, heads=2),
}
NETS: dict[str, Any] = {  # the networks of configs/masked_autoencoder.yaml
    "patch": 2,
    "vit_encoder": partial(ViTEncoder, width=64, depth=2),
    "vit_decoder": partial(ViTDecoder, width=32, depth=1),
    "optimizer": partial(FusedAdam, lr=3e-3),
}


@pytest.fixture(scope="module")
def trained() -> tuple[MaskedAutoencoder, MaskedAutoencoder]:
    """The same model before and after training on the digits."""
    models = []
    for epochs in (0, 45):
        torch.manual_seed(0)
        models.append(train(MaskedAutoencoder(spec=SPEC, **NETS), epochs, digits("train")[0]).eval())
    return models[0], models[1]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def build(**settings: Any) -> MaskedAutoencoder:
    return MaskedAutoencoder(**{"spec": SPEC, **SMALL, **settings})


@pytest.mark.parametrize(("size", "patch"), [((1, 8, 8), 2), ((3, 6, 9), 3), ((2, 4, 10), 1), ((3, 5, 5), 5)])
def test_patches_are_cut_row_by_row_and_joined_again(size: tuple[int, int, int], patch: int) -> None:
    x = torch.rand(3, *size)
    patches = patchify(x, patch)
    assert patches.shape == (3, size[1] * size[2] // patch**2, size[0] * patch**2)
    assert torch.equal(unpatchify(patches, patch, *size[1:]), x)
    number = 0
    for row in range(0, size[1], patch):
        for column in range(0, size[2], patch):
            assert torch.equal(patches[:, number], x[:, :, row : row + patch, column : column + patch].flatten(1))
            number += 1


def test_positions_are_sines_and_cosines_of_column_and_row() -> None:
    features, height, width = 12, 3, 5
    table = positions(height, width, features)
    for row in range(height):
        for column in range(width):
            wanted = [
                wave(place / 10000 ** (i / (features / 4)))
                for place in (column, row)
                for wave in (sin, cos)
                for i in range(features // 4)
            ]
            torch.testing.assert_close(table[row * width + column], torch.tensor(wanted))
    assert len(table.unique(dim=0)) == height * width


@pytest.mark.parametrize(
    ("patches", "ratio", "visible"),
    [(16, 0.75, 4), (49, 0.75, 12), (16, 0.0, 16), (16, 0.001, 15), (16, 0.999, 1), (10, 0.9, 1), (2, 0.5, 1)],
)
def test_every_sample_hides_as_many_of_its_own(patches: int, ratio: float, visible: int) -> None:
    assert shown(patches, ratio) == visible
    hidden = hide(torch.ones(200, patches, dtype=torch.bool), ratio, visible)
    assert (hidden.sum(1) == patches - visible).all()
    share = hidden.double().mean(0)  # no patch is spared
    assert (share - (patches - visible) / patches).abs().max() < 0.15
    if patches > visible > 1:
        assert len(hidden.unique(dim=0)) > 10


def test_only_visible_patches_go_through_the_encoder() -> None:
    model, batch = build(), Batch(torch.rand(6, 1, 8, 8))
    seen: list[tuple[int, ...]] = []
    for block in model.encoder.transformer.blocks:
        block.register_forward_hook(lambda module, given, out: seen.append(tuple(out.shape)))
    out = model(batch)
    assert seen == [(6, 4, 16)] * 2
    model.embed(batch.x)
    assert seen[2:] == [(6, 16, 16)] * 2
    assert out.aux["hidden"].sum(1).tolist() == [12] * 6


def test_hidden_pixels_change_nothing_but_the_loss() -> None:
    model, x, noise = build(), torch.rand(6, 1, 8, 8), torch.rand(6, 1, 8, 8)

    def look(x: Tensor) -> Output:
        torch.manual_seed(1)  # the same patches are hidden
        return model(Batch(x))

    out = look(x)
    hidden = model.pixels(out.aux["hidden"])
    other = look(noise.where(hidden, x))
    assert torch.equal(other.z, out.z)
    assert torch.equal(other.p.mean, out.p.mean)
    assert not torch.equal(look(x.where(hidden, noise)).z, out.z)
    token = model.encoder.hidden
    assert torch.equal(out.z[0][out.aux["hidden"]], token.expand(6 * 12, -1))
    assert not (out.z[0][~out.aux["hidden"]] == token).all(1).any()
    torch.testing.assert_close(model.encode(x, mask=~hidden).mode, out.z[0])


def test_tokens_lie_where_their_patches_are() -> None:
    model, x = build(), torch.rand(2, 1, 8, 8)
    mask = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    mask[0, :, 2:4, 4:6], mask[1, :, 6:8, 0:2] = True, True  # one patch each: number 6 and number 12
    z = model.encode(x, mask=mask).mode
    there = (z != model.encoder.hidden).any(2)
    assert [row.nonzero().flatten().tolist() for row in there] == [[6], [12]]
    net = model.encoder
    for row, number in ((0, 6), (1, 12)):  # seen alone, at its own place
        patch = patchify(x, 2)[row, number].expand(1, 1, -1)
        torch.testing.assert_close(z[row, number], net.transformer(net.project(patch) + net.positions[number])[0, 0])


def test_embedding_hides_nothing() -> None:
    model, x = build(), torch.rand(6, 1, 8, 8)
    z = model.embed(x)
    torch.manual_seed(99)
    assert torch.equal(model.embed(x), z)
    assert (z != model.encoder.hidden).any(2).all()
    everything = torch.ones_like(x, dtype=torch.bool)
    torch.testing.assert_close(model.embed(x, mask=everything), z)


def test_distortion_and_mse_count_hidden_patches_alone() -> None:
    model, x = build(likelihood=partial(Gaussian, sigma=0.5)), torch.rand(6, 1, 8, 8)
    out = model(Batch(x), k=2)
    hidden = model.pixels(out.aux["hidden"])
    normal = torch.distributions.Normal(out.p.mean, 0.5)
    by_hand = -(normal.log_prob(x) * hidden).flatten(2).sum(2).mean(0)
    torch.testing.assert_close(model.loss(Batch(x), out, {})["distortion"], by_hand)
    squares = ((out.p.mean - x).square() * hidden).flatten(2).sum(2).mean(0)
    torch.testing.assert_close(model.metrics(Batch(x), out)["mse"], squares)
    model = build(score="all", mask_ratio=0.0)
    out = model(Batch(x))
    torch.testing.assert_close(model.loss(Batch(x), out, {})["distortion"], -out.p.log_prob(x)[0])
    torch.testing.assert_close(out.z[0], model.embed(x))


def test_missing_pixels_are_neither_seen_nor_scored() -> None:
    model, x = build(), torch.rand(4, 1, 8, 8)
    mask = torch.ones(4, 1, 8, 8, dtype=torch.bool)
    mask[0, :, :4], mask[1], mask[2, :, 0, 0] = False, False, False  # eight patches; all; a pixel
    results = []
    for fill in (0.0, float("nan")):
        torch.manual_seed(1)
        batch = Batch(x.where(mask, fill), mask=mask)
        out = model(batch)
        results.append((out.z, model.loss(batch, out, {})["distortion"]))
        assert out.aux["hidden"].sum(1).tolist() == [8 + 6, 15, 12, 12]
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))
    distortion = results[0][1]
    assert distortion.isfinite().all()
    assert distortion[1] == 0
    distortion.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)
    alone = build_like(model).encode(x[:1], mask=mask[:1]).mode
    torch.testing.assert_close(model.encode(x, mask=mask).mode[:1], alone)  # what fills up a batch is not looked at


def build_like(model: MaskedAutoencoder) -> MaskedAutoencoder:
    other = build()
    other.load_state_dict(model.state_dict())
    return other


@pytest.mark.parametrize("condition", [(), (3,)])
def test_a_condition_is_one_more_token_on_both_sides(condition: tuple[int, ...]) -> None:
    model = build(spec=DataSpec((3, 8, 4), 100, 10, condition))
    x = torch.rand(2, 3, 8, 4)
    first, second = (torch.rand(2, 3), torch.rand(2, 3)) if condition else (torch.tensor([1, 2]), torch.tensor([3, 4]))
    z = model.encode(x, first).mode
    assert z.shape == (2, 8, 16)
    assert not torch.allclose(model.encode(x, second).mode, z)
    assert not torch.allclose(model.decode(z, first).mean, model.decode(z, second).mean)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"8 x 8 pixels cannot .* --model.patch to one of 1, 2, 4, 8"):
        build(patch=3)
    with pytest.raises(ConfigError, match="Patches are cut from pictures"):
        build(spec=DataSpec((12,)))
    with pytest.raises(ConfigError, match="mask_ratio is 1"):
        build(mask_ratio=1.0)
    with pytest.raises(ConfigError, match=r"no patch of 16 is hidden.* --model.score to all"):
        build(mask_ratio=0.0)
    with pytest.raises(ConfigError, match="score is 'some'"):
        build(score="some")
    with pytest.raises(ConfigError, match="no patch of 1 is hidden"):
        build(patch=8)
    with pytest.raises(ConfigError, match="multiple of 4 and of heads=3"):
        build(vit_encoder=partial(ViTEncoder, width=16, heads=3))


@pytest.mark.slow
@torch.no_grad()
def test_hidden_patches_are_restored_from_the_visible_ones(
    trained: tuple[MaskedAutoencoder, MaskedAutoencoder],
) -> None:
    _, model = trained
    (x, _), (mean, _) = digits("test"), digits("train")
    out = model(Batch(x))
    hidden = model.pixels(out.aux["hidden"])

    def error(x_hat: Tensor) -> float:
        return (x_hat - x).square().where(hidden, 0.0).flatten(1).sum(1).mean().item()

    smooth = x.where(~hidden, 0.0)
    for _ in range(200):  # the harmonic function through the visible pixels: bilinear, where they lie about
        smooth = x.where(~hidden, F.avg_pool2d(F.pad(smooth, (1, 1, 1, 1), mode="replicate"), 3, 1))
    level = x.where(~hidden, 0.0).flatten(1).sum(1) / (~hidden).flatten(1).sum(1)
    found = error(out.p.mean[0])
    others = error(mean.mean(0)), error(smooth), error(level.reshape(-1, 1, 1, 1))
    assert found < 0.95 * min(others)
    wrong = model.decode(model.encode(x.roll(1, 0), mask=~hidden).mode).mean
    assert found < 0.8 * error(wrong)  # it is these patches that it restores them from


@pytest.mark.slow
def test_a_linear_probe_reads_more_from_the_trained_encoder(
    trained: tuple[MaskedAutoencoder, MaskedAutoencoder],
) -> None:
    (x, y), (test_x, test_y) = digits("train"), digits("test")
    for n, margin in ((100, 0.06), (300, 0.02)):  # with all labels, even random features do well
        scores = []
        for model in trained:
            train_z, test_z = (model.embed(each).mean(1) for each in (x[:n], test_x))
            centre, scale = train_z.mean(0), train_z.std(0) + 1e-6
            probe = LogisticRegression(max_iter=500).fit(((train_z - centre) / scale).numpy(), y[:n].numpy())
            scores.append(probe.score(((test_z - centre) / scale).numpy(), test_y.numpy()))
        assert scores[1] > scores[0] + margin


def test_callbacks_draw_and_write_it(tmp_path: Path) -> None:
    model = build()
    shown_by = [LatentVisualization(grid=3, dims=2, pairs=1, steps=2), Reconstructions(n=2), PredictionWriter()]
    runner = trainer(tmp_path, *shown_by, num_sanity_val_steps=0, limit_train_batches=2, limit_val_batches=1)
    runner.fit(model, Digits(batch_size=64))
    names = {path.name for path in tmp_path.rglob("*.png")}
    assert names >= {"latent.png", "latent_grid.png", "traversals.png", "interpolations.png", "reconstructions.png"}
    runner.predict(model, Digits(batch_size=64), return_predictions=False)
    rows = np.load(tmp_path / "predictions.npz")
    assert rows["z"].shape[1:] == (16, 16)
    assert rows["reconstruction"].shape == (len(rows["z"]), 1, 8, 8)


def test_what_is_seen_is_drawn_beside_what_is_restored(lit_ae: Console, tmp_path: Path) -> None:
    model, x = build(), torch.rand(3, 1, 8, 8)
    seen, x_hat = restored(model, Batch(x))
    assert seen.isnan().flatten(1).sum(1).tolist() == [12 * 4] * 3
    assert torch.equal(x_hat[~seen.isnan()], x[~seen.isnan()])
    assert not (x_hat == x)[seen.isnan()].any()
    few = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.enable_progress_bar=false")
    assert lit_ae("fit", "--config=masked_autoencoder", "--trainer.accelerator=cpu", *few).status == 0
    done = lit_ae("draw", "denoising", "runs/masked_autoencoder/0", "--n=3")
    assert done.status == 0, done.err
    assert (tmp_path / "runs/masked_autoencoder/0/figures/denoising.png").is_file()
