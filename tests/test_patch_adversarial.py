"""AutoencoderKL and VQGAN: the adaptive weight, what both players minimise, and what the critic is good for."""

from __future__ import annotations

from functools import partial
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Adam

from datamodules import Digits
from digits_for_tests import digits as pictures
from digits_for_tests import train
from lit_ae.batch import Batch
from lit_ae.callbacks.schedules import Schedule
from lit_ae.errors import ConfigError
from lit_ae.likelihoods import Laplace
from lit_ae.models.autoencoder_kl import AutoencoderKL
from lit_ae.models.perceptual_gan import PatchAdversarial
from lit_ae.models.vq_vae import VQVAE
from lit_ae.models.vqgan import VQGAN
from lit_ae.nn.grid import GridDecoder, GridEncoder
from lit_ae.nn.patch_critic import PatchCritic
from lit_ae.nn.perceptual import LaplacianPyramid
from trainer_for_tests import trainer
from variants import BOOK, GRID, PATCHES, SPEC, batch_of, digits

KL = partial(AutoencoderKL, spec=SPEC, **GRID, **PATCHES)
VQ = partial(VQGAN, spec=SPEC, **GRID, **PATCHES, quantizer=BOOK)
both = pytest.mark.parametrize("build", [KL, VQ], ids=["KL", "VQ"])
BATCH = batch_of("AutoencoderKL", 6)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def terms_of(model: PatchAdversarial, batch: Batch = BATCH, seed: int = 1, **coef: float) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return model.loss(batch, model(batch), {**model.coefficients, **coef})


def gradients(model: PatchAdversarial, loss: Tensor) -> dict[str, Tensor]:
    names = [name for name, _ in model.named_parameters()]
    found = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True, allow_unused=True)
    return {name: value for name, value in zip(names, found, strict=True) if value is not None}


@both
def test_the_adaptive_weight_is_the_papers(build: partial[PatchAdversarial]) -> None:
    model = build(perceptual=0.3)
    found = terms_of(model)["adaptive_weight"]
    model.adaptive = False
    terms = terms_of(model)
    assert terms["adaptive_weight"] == 1
    last = model.decoder.trunk[-1].weight
    assert isinstance(last, torch.nn.Parameter)
    rebuilding = (terms["distortion"] + 0.3 * terms["perceptual"]).mean()
    wanted, other = (
        torch.autograd.grad(each, last, retain_graph=True)[0].norm()
        for each in (rebuilding, terms["adversarial"].mean())
    )
    torch.testing.assert_close(found, wanted / (other + 1e-6))
    assert found > 0


@both
def test_it_multiplies_the_gradient_of_the_adversarial_term_and_not_its_value(build: partial[PatchAdversarial]) -> None:
    model = build(adversarial=0.5, perceptual=0.3)
    terms = terms_of(model)
    weight = terms["adaptive_weight"].item()
    found = gradients(model, model.weigh(terms, model.coefficients))
    model.adaptive = False
    raw = terms_of(model)
    torch.testing.assert_close(raw["adversarial"], terms["adversarial"])
    others = {name: term for name, term in raw.items() if name not in ("adversarial", "critic")}
    rest = gradients(model, model.weigh(others, model.coefficients))
    fooling = gradients(model, raw["adversarial"].mean())
    for name, value in rest.items():
        torch.testing.assert_close(found[name], value + 0.5 * weight * fooling[name], rtol=1e-4, atol=1e-5)
    for name, value in gradients(model, raw["critic"].mean()).items():
        torch.testing.assert_close(found[name], value)


@both
def test_without_a_weight_there_is_no_adversary(build: partial[PatchAdversarial]) -> None:
    model = build()
    terms = terms_of(model, adversarial=0.0)
    assert terms["adaptive_weight"] == 0
    found = gradients(model, model.weigh(terms, {**model.coefficients, "adversarial": 0.0}))
    alone = {name: terms[name] for name in terms if name not in ("adversarial", "critic")}
    for name, value in gradients(model, model.weigh(alone, model.coefficients)).items():
        assert torch.equal(found[name], value)
    assert found["critic.trunk.0.weight"].norm() > 0


@both
def test_where_no_gradient_is_taken_there_is_no_adaptive_weight(build: partial[PatchAdversarial]) -> None:
    model = build()
    wanted = terms_of(model)
    model.eval()
    with torch.inference_mode():
        found = terms_of(model)
    assert found.keys() == wanted.keys() - {"adaptive_weight"}
    for name, value in found.items():
        torch.testing.assert_close(value, wanted[name])


def test_processes_agree_on_the_weight_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = KL(adversarial=0.7)
    x = batch_of("AutoencoderKL", 8).x
    out = model(Batch(x)).detach()

    def weight(rows: slice, share: float) -> Tensor:
        batch, part = Batch(x[rows], weight=share), model.decode(out.z[:, rows])
        own = {"distortion": -part.log_prob(batch.x).mean(0), "perceptual": model.perceptual(batch, part.mean)}
        fooling = -model.judge(part.mean, None).flatten(2).mean((0, 2))
        return model.adaptive_weight(batch, {**own, "adversarial": fooling}, dict(model.coefficients))

    whole = weight(slice(8), 1.0)
    sent: list[Tensor] = []

    def all_reduce(tensor: Tensor) -> None:
        sent.append(tensor.clone())
        tensor.add_(sum(sent[:-1]) if len(sent) > 1 else 0)

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    first, second = weight(slice(0, 6), 6 * 2 / 8), weight(slice(6, 8), 2 * 2 / 8)
    torch.testing.assert_close(second, whole)
    assert not torch.isclose(first, whole, rtol=1e-3)  # it had seen its own part alone
    assert len(sent) == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_weight_survives_half_precision_and_a_loss_scale(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = KL()
    wanted = terms_of(model)["adaptive_weight"]
    with torch.autocast("cpu", dtype):
        plain = terms_of(model)["adaptive_weight"]
        monkeypatch.setattr(model, "loss_scale", lambda: 256.0)
        scaled = terms_of(model)["adaptive_weight"]
        monkeypatch.setattr(model, "loss_scale", lambda: 1e38)
        overflown = terms_of(model)["adaptive_weight"]
    for found in (plain, scaled):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, wanted, rtol=0.05, atol=0)
    assert overflown == 0  # such a step is skipped


@pytest.mark.parametrize("game", ["hinge", "nonsaturating"])
def test_the_games_are_the_papers(game: str) -> None:
    model = KL(game=game)
    torch.manual_seed(1)
    out = model(BATCH, k=3)
    terms = model.loss(BATCH, out, model.coefficients)
    real = model.critic(BATCH.x)[:, 0]  # (B, h, w)
    made = torch.stack([model.critic(each)[:, 0] for each in out.p.mean])
    if game == "hinge":
        critic, fooling = ((1 - real).clamp(min=0) + (1 + made).clamp(min=0)) / 2, -made
    else:
        one, zero = torch.ones_like(made), torch.zeros_like(made)
        cross_entropy = partial(F.binary_cross_entropy_with_logits, reduction="none")
        critic = (cross_entropy(real.expand_as(made), one) + cross_entropy(made, zero)) / 2
        fooling = cross_entropy(made, one)
    torch.testing.assert_close(terms["critic"], critic.mean((0, 2, 3)))
    torch.testing.assert_close(terms["adversarial"], fooling.mean((0, 2, 3)))
    distance = LaplacianPyramid(SPEC)
    torch.testing.assert_close(terms["perceptual"], torch.stack([distance(m, BATCH.x) for m in out.p.mean]).mean(0))


def test_a_vqgan_without_looks_is_a_vq_vae() -> None:
    plain = VQVAE(spec=SPEC, **GRID, quantizer=BOOK)
    model = VQ(perceptual=0.0, adversarial=0.0)
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if "critic" not in name})
    for each in (plain, model):
        each.weigh(each.loss(BATCH, each(BATCH), each.coefficients), each.coefficients).backward()
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(model.get_parameter(name).grad, parameter.grad)


def test_the_rate_is_nats_of_the_whole_grid_and_weighs_little() -> None:
    model = KL()
    terms, q = terms_of(model), model.encode(BATCH.x)
    by_hand = 0.5 * (q.mean**2 + q.variance - 1 - q.variance.log()).sum((1, 2, 3))
    torch.testing.assert_close(terms["rate"], by_hand)
    assert q.event_shape == (4, 2, 2)
    assert model.coefficients["rate"] == 1e-6
    assert model.sample(3).shape == (3, 1, 8, 8)


def test_a_schedule_holds_the_adversary_back(tmp_path: Path) -> None:
    seen: list[float] = []

    class Seen(Callback):
        def on_train_batch_end(self, trainer: Trainer, model: LightningModule, outputs: Any, *others: Any) -> None:
            seen.append(outputs["terms"]["adaptive_weight"].item())

    late = Schedule("adversarial", shape="steps", steps=[(2, 0.5)], unit="batches")
    model = KL()
    runner = trainer(tmp_path, Seen(), late, limit_train_batches=4, limit_val_batches=1)
    runner.fit(model, digits("AutoencoderKL", 16))
    assert seen[:2] == [0, 0]
    assert min(seen[2:]) > 0
    logged = runner.callback_metrics
    assert "train/adaptive_weight" in logged
    assert "val/adaptive_weight" not in logged
    assert {"val/adversarial", "val/critic", "val/perceptual"} <= logged.keys()
    assert model.coefficients["adversarial"] == 0.5


@pytest.mark.parametrize(
    "wrong",
    [{"perceptual": -1.0}, {"adversarial": -1.0}, {"game": "chess"}, {"rate": -1.0}],
    ids=lambda wrong: str(wrong),
)
def test_bad_arguments(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"--model\.{next(iter(wrong))}"):
        KL(**wrong)


def trained(epochs: int, **arguments: Any) -> AutoencoderKL:
    torch.manual_seed(0)
    calm = partial(Adam, betas=(0.5, 0.9))
    net: dict[str, Any] = {
        "grid_encoder": partial(GridEncoder, channels=(16, 32)),
        "grid_decoder": partial(GridDecoder, channels=(32, 16)),
        "patch_critic": partial(PatchCritic, channels=(16, 32)),
        "likelihood": partial(Laplace, scale=0.2),
        "optimizer": calm,
        "optimizers": {"critic": partial(calm, lr=3e-3)},
    }
    model = AutoencoderKL(spec=Digits().spec, latent_dim=2, **net, **arguments)
    return train(model, epochs, pictures("train")[0])


def fine(x: Tensor) -> float:
    """Energy of what a blur of 3 x 3 pixels takes away."""
    smooth = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return (x - smooth).square().flatten(1).sum(1).mean().item()


@pytest.mark.slow
@pytest.mark.parametrize(("game", "chance"), [("hinge", 1.0), ("nonsaturating", log(2))])
def test_a_critic_that_nobody_tries_to_fool_learns_to_tell(game: str, chance: float) -> None:
    model = trained(3, adversarial=0.0, game=game)
    x, _ = pictures("val")
    assert terms_of(model, Batch(x))["critic"].mean() < 0.5 * chance


@pytest.mark.slow
def test_reconstructions_are_as_fine_as_data_where_those_of_a_vae_are_blurred() -> None:
    x, _ = pictures("val")
    blurred = trained(6, perceptual=0.0, adversarial=0.0, rate=1.0)
    sharp = trained(6)
    found = [fine(model.reconstruct(x)) / fine(x) for model in (blurred, sharp)]
    assert found[0] < 0.55, found
    assert 0.7 < found[1] < 1.3, found
