"""Perceptual distances and the critic of patches, against formulas written out by hand."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.models import vgg16

from lit_ae.batch import Batch, DataSpec
from lit_ae.errors import ConfigError
from lit_ae.models.autoencoder_kl import AutoencoderKL
from lit_ae.nn.patch_critic import PatchCritic
from lit_ae.nn.perceptual import LPIPS, LaplacianPyramid
from trainer_for_tests import trainer
from variants import GRID, PATCHES, SPEC, batch_of, digits

RGB = DataSpec(input_shape=(3, 32, 24), value_range=(0.0, 1.0))
RELU = (3, 8, 15, 22, 29)  # of VGG16 in torchvision: conv1_2, conv2_2, conv3_3, conv4_3, conv5_3


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A VGG16 with random weights, without the layers that take space and are not used, and weights of its features."""
    folder, generator = tmp_path_factory.mktemp("vgg"), torch.Generator().manual_seed(0)
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in vgg16().state_dict().items() if key.startswith("features")}
    state = {}
    for key, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        state[key] = noise * (2 / noise[0].numel()) ** 0.5 if len(shape) > 1 else 0.1 * noise
    torch.save(state, folder / "vgg16.pth")
    lin = {
        f"lin{i}.model.1.weight": torch.rand(1, n, 1, 1, generator=generator)
        for i, n in enumerate((64, 128, 256, 512, 512))
    }
    save_file(lin, folder / "linear.safetensors")
    return str(folder / "vgg16.pth"), str(folder / "linear.safetensors")


def by_hand(one: Tensor, other: Tensor, path: str, linear: list[Tensor] | None) -> Tensor:
    """LPIPS of pictures in [-1, 1] with torchvision's own network."""
    with torch.device("meta"):
        net = vgg16().features[:30]  # without the last pooling
    state = torch.load(path, weights_only=True)
    net.load_state_dict({key.removeprefix("features."): value for key, value in state.items()}, assign=True)
    shift = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)
    total, a, b = torch.zeros(len(one)), (one - shift) / scale, (other - shift) / scale
    with torch.no_grad():
        for number, layer in enumerate(net):
            a, b = layer(a), layer(b)
            if number in RELU:
                level = RELU.index(number)
                gap = (a / (a.norm(dim=1, keepdim=True) + 1e-10) - b / (b.norm(dim=1, keepdim=True) + 1e-10)) ** 2
                weighted = gap if linear is None else gap * linear[level]
                total += weighted.sum(1).mean((1, 2))
    return total


@pytest.mark.parametrize("weighted", [True, False])
def test_lpips_is_the_papers_times_the_number_of_elements(files: tuple[str, str], weighted: bool) -> None:
    weights, linear = files
    x, made = torch.rand(2, 2, 3, 32, 24)
    found = LPIPS(RGB, weights, linear if weighted else None)(made, x)
    read = load_file(linear)
    lin = [read[f"lin{i}.model.1.weight"] for i in range(5)] if weighted else None
    torch.testing.assert_close(found, 3 * 32 * 24 * by_hand(2 * made - 1, 2 * x - 1, weights, lin), rtol=1e-4, atol=0)


def test_lpips_of_small_grey_pictures_in_another_range(files: tuple[str, str]) -> None:
    grey = replace(SPEC, value_range=(-3.0, 5.0))
    x, made = torch.rand(2, 2, 1, 8, 8)
    wide = [F.interpolate((2 * p - 1).expand(-1, 3, -1, -1), size=(16, 16), mode="bilinear") for p in (made, x)]
    found = LPIPS(grey, files[0])(8 * made - 3, 8 * x - 3)
    torch.testing.assert_close(found, 64 * by_hand(*wide, files[0], None), rtol=1e-4, atol=0)


def test_lpips_has_gradients_where_nothing_is_seen_and_for_the_made_alone(files: tuple[str, str]) -> None:
    net = LPIPS(RGB, files[0])
    net.prepare()
    net.tensors["bias28"] = torch.full((512,), -1e6)  # no feature of the last stage is ever seen
    made, x = torch.rand(2, 2, 3, 32, 24).requires_grad_().unbind()
    made.retain_grad()
    x.retain_grad()
    net(made, x).sum().backward()
    assert made.grad is not None
    assert made.grad.isfinite().all()
    assert made.grad.norm() > 0
    assert x.grad is None


def test_lpips_is_no_part_of_the_model_and_a_checkpoint_does_without_its_file(
    files: tuple[str, str], tmp_path: Path
) -> None:
    copy = tmp_path / "vgg.pth"
    copy.symlink_to(files[0])
    distance = partial(LPIPS, weights=str(copy))
    model = AutoencoderKL(spec=SPEC, **GRID, **PATCHES, perceptual_distance=distance)
    assert sum(len(own) for own in model.owned().values()) == len(list(model.parameters()))
    runner = trainer(tmp_path, limit_train_batches=1, limit_val_batches=1)
    runner.fit(model, digits("AutoencoderKL", 8))
    assert runner.callback_metrics["val/perceptual"] > 0
    runner.save_checkpoint(tmp_path / "model.ckpt")
    assert (tmp_path / "model.ckpt").stat().st_size < 1e6
    copy.unlink()
    again = AutoencoderKL.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    x = batch_of("AutoencoderKL", 2).x
    assert torch.equal(again.reconstruct(x), model.reconstruct(x))
    assert again.sample(2).shape == (2, 1, 8, 8)
    with pytest.raises(ConfigError, match=r"no file .*vgg\.pth: give --model\.perceptual_distance\.weights"):
        trainer(tmp_path, max_steps=1).validate(again, digits("AutoencoderKL", 8), verbose=False)


def test_wrong_files_and_pictures(files: tuple[str, str], tmp_path: Path) -> None:
    junk = tmp_path / "junk.pth"
    junk.write_bytes(b"no weights")
    with pytest.raises(ConfigError, match=r"junk\.pth is no file of weights"):
        LPIPS(RGB, str(junk)).prepare()
    junk.rename(tmp_path / "junk.safetensors")
    with pytest.raises(ConfigError, match=r"junk\.safetensors is no file of weights"):
        LPIPS(RGB, str(tmp_path / "junk.safetensors")).prepare()
    torch.save(torch.zeros(2), junk)
    with pytest.raises(ConfigError, match="holds no named tensors"):
        LPIPS(RGB, str(junk)).prepare()
    with pytest.raises(ConfigError, match=r"no 'features\.0\.weight' of shape .*torchvision's vgg16"):
        LPIPS(RGB, files[1]).prepare()
    with pytest.raises(ConfigError, match=r"no 'lin0\.model\.1\.weight'"):
        LPIPS(RGB, files[0], files[0]).prepare()
    with pytest.raises(ConfigError, match="1 or 3 channels, the data have 4"):
        LPIPS(DataSpec(input_shape=(4, 8, 8)), files[0])
    with pytest.raises(ConfigError, match="takes pictures"):
        LaplacianPyramid(DataSpec(input_shape=(64,)))
    with pytest.raises(ConfigError, match=r"--model\.perceptual_distance\.levels"):
        LaplacianPyramid(RGB, levels=0)


def test_the_pyramid_is_a_sum_of_weighted_bands() -> None:
    x, made = torch.rand(2, 3, 2, 8, 12, dtype=torch.float64)
    row = torch.tensor([1, 4, 6, 4, 1], dtype=torch.float64) / 16
    bands, rest = torch.zeros(3, dtype=torch.float64), made - x
    for level in range(3):
        wide = F.pad(rest, (2, 2, 2, 2), mode="replicate")
        smooth = torch.zeros_like(rest)
        for i in range(5):
            for j in range(5):
                smooth += row[i] * row[j] * wide[:, :, i : i + rest.shape[2], j : j + rest.shape[3]]
        bands += 4**level * (rest - smooth).abs().sum((1, 2, 3))
        rest = smooth[:, :, ::2, ::2]
    spec = DataSpec(input_shape=(2, 8, 12))
    # 8 x 12 halves to 4 x 6, 2 x 3 and, rounding up, 1 x 2, where each pixel stands for 48 instead of 4³
    bands += 48 * rest.abs().sum((1, 2, 3))
    torch.testing.assert_close(LaplacianPyramid(spec, levels=4)(made, x), bands)


def test_one_level_is_the_plain_sum_and_a_constant_costs_the_same_at_any_number() -> None:
    x, made = torch.rand(2, 3, 1, 9, 7)
    spec = DataSpec(input_shape=(1, 9, 7))
    torch.testing.assert_close(LaplacianPyramid(spec, 1)(made, x), (made - x).abs().sum((1, 2, 3)))
    torch.testing.assert_close(LaplacianPyramid(spec, 6)(x + 0.5, x), torch.full((3,), 0.5 * 63))


def test_a_local_difference_costs_more_than_its_plain_sum() -> None:
    distance, x = LaplacianPyramid(DataSpec(input_shape=(1, 32, 32))), torch.zeros(2, 1, 32, 32)
    made = x.clone()
    made[0, :, 16, 16] = 1  # a pixel
    made[1, :, 4:28, 16] = 1  # a stroke
    assert (distance(made, x) > 1.5 * (made - x).abs().sum((1, 2, 3))).all()


@pytest.mark.parametrize("norm", ["none", "group", "spectral"])
def test_a_patch_of_the_critic_sees_its_surroundings_alone(norm: str) -> None:
    critic = PatchCritic((1, 64, 48), channels=(4, 8, 8), norm=norm).eval()  # type: ignore[arg-type]
    x = torch.rand(1, 1, 64, 48, requires_grad=True)
    logits = critic(x)
    assert logits.shape == (1, 1, 8, 6)
    assert critic.grid == (8, 6)
    (gradient,) = torch.autograd.grad(logits[0, 0, 0, 0], x)
    assert gradient[..., :8, :8].abs().sum() > 0
    if norm != "group":  # statistics of a group are those of the whole picture
        assert gradient[..., 40:, :].abs().sum() == 0
    together = critic(torch.cat([x, torch.rand(3, 1, 64, 48)]))
    torch.testing.assert_close(together[:1], logits)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 256, 256), (1, 7, 5), (2, 1, 9)])
def test_the_critic_takes_pictures_of_any_size(shape: tuple[int, int, int]) -> None:
    critic = PatchCritic(shape, channels=(2, 2, 2))
    assert critic(torch.rand(1, *shape)).shape == (1, 1, -(-shape[1] // 8), -(-shape[2] // 8))


def test_a_spectral_critic_is_lipschitz() -> None:
    critic = PatchCritic((1, 8, 8), channels=(4,), norm="spectral")
    for layer in (critic.trunk[0], critic.trunk[2]):
        assert torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2).item() == pytest.approx(1.0, abs=0.02)


def test_a_batch_with_missing_pixels_gives_them_no_part() -> None:
    model = AutoencoderKL(spec=SPEC, **GRID, **PATCHES)
    batch = batch_of("AutoencoderKL", 4)
    mask = torch.rand(batch.x.shape) > 0.3
    out = model(Batch(batch.x, mask=mask))
    terms = []
    for value in (0.0, torch.nan):
        torch.manual_seed(0)
        x = batch.x.where(mask, value)
        terms.append(model.loss(Batch(x, mask=mask), out, model.coefficients))
    assert terms[0].keys() == terms[1].keys()
    for name, term in terms[0].items():
        torch.testing.assert_close(terms[1][name], term)
