"""Encoders and decoders: shapes, gradients, invariances and how YAML names them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lit_ae.batch import Shape
from lit_ae.errors import ConfigError
from lit_ae.nn import (
    ConvDecoder,
    ConvEncoder,
    Decoder,
    Encoder,
    MLPDecoder,
    MLPEncoder,
    ResNetDecoder,
    ResNetEncoder,
    fold,
)

PICTURES = [(3, 37, 53), (1, 8, 8), (1, 28, 28), (3, 32, 32)]
LATENT, RAW = 3, 6

NETS = {
    "mlp": (MLPEncoder, MLPDecoder, {"hidden": (16,)}),
    "affine": (MLPEncoder, MLPDecoder, {"hidden": ()}),
    "conv": (ConvEncoder, ConvDecoder, {"channels": (8, 8)}),
    "conv-odd-kernel": (ConvEncoder, ConvDecoder, {"channels": (4, 8, 4), "kernel": 3, "dense": (8,)}),
    "conv-group": (ConvEncoder, ConvDecoder, {"channels": (6, 4), "norm": "group", "kernel": 5}),
    "conv-batch": (ConvEncoder, ConvDecoder, {"channels": (6, 4), "norm": "batch", "activation": nn.Tanh}),
    "resnet": (ResNetEncoder, ResNetDecoder, {"channels": (4, 8), "depth": 1}),
}
CASES = [
    pytest.param(name, shape, id=f"{name}-{'x'.join(map(str, shape))}")
    for name in NETS
    for shape in PICTURES + ([(7,)] if NETS[name][0] is MLPEncoder else [])
]


def build(name: str, shape: Shape) -> tuple[Encoder, Decoder]:
    torch.manual_seed(0)
    encoder, decoder, arguments = NETS[name]
    return encoder(shape, RAW, **arguments), decoder(LATENT, shape, **arguments)


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_shapes_gradients_and_state(name: str, shape: Shape) -> None:
    encoder, decoder = build(name, shape)
    raw, out = encoder(torch.rand(2, *shape)), decoder(torch.randn(2, LATENT))
    assert raw.shape == (2, RAW)
    assert out.shape == (2, *shape)

    (raw.square().sum() + out.square().sum()).backward()
    for net in (encoder, decoder):
        assert [key for key, parameter in net.named_parameters() if parameter.grad is None] == []

    torch.manual_seed(1)
    for net, twin in zip((encoder, decoder), NETS[name][:2], strict=True):
        size = (shape, RAW) if isinstance(net, Encoder) else (LATENT, shape)
        other = twin(*size, **NETS[name][2])
        other.load_state_dict(net.state_dict())
        x = torch.rand(2, *shape) if isinstance(net, Encoder) else torch.randn(2, LATENT)
        assert torch.equal(other.eval()(x), net.eval()(x))


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_batch_of_one_equals_the_sample_in_a_batch(name: str, shape: Shape) -> None:
    encoder, decoder = (net.eval() for net in build(name, shape))
    x, z = torch.rand(4, *shape), torch.randn(4, LATENT)
    torch.testing.assert_close(encoder(x[2:3]), encoder(x)[2:3], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(decoder(z[2:3]), decoder(z)[2:3], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NETS)
def test_training_and_evaluation_agree_without_batch_norm(name: str) -> None:
    encoder, _ = build(name, (1, 8, 8))
    x = torch.rand(4, 1, 8, 8)
    same = torch.allclose(encoder.train()(x), encoder.eval()(x))
    assert same == (name != "conv-batch")


@pytest.mark.parametrize("name", NETS)
def test_bfloat16_is_finite_and_close(name: str) -> None:
    shape = (3, 37, 53)
    encoder, decoder = build(name, shape)
    x, z = torch.rand(2, *shape), torch.randn(2, LATENT)
    with torch.autocast("cpu", torch.bfloat16):
        raw, out = encoder(x), decoder(z)
        (raw.float().square().sum() + out.float().square().sum()).backward()
    assert raw.dtype == out.dtype == torch.bfloat16
    for net in (encoder, decoder):
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    torch.testing.assert_close(raw.float(), encoder(x), atol=0.1, rtol=0.1)
    torch.testing.assert_close(out.float(), decoder(z), atol=0.1, rtol=0.1)


@pytest.mark.parametrize("name", NETS)
def test_same_seed_same_weights(name: str) -> None:
    (first, _), (second, _) = build(name, (1, 8, 8)), build(name, (1, 8, 8))
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 9), (1, 2, 3), (3, 5, 4), (1, 13, 7)])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("upsample", ["transposed", "resize"])
def test_any_size_and_kernel_comes_back_exactly(shape: Shape, kernel: int, upsample: str) -> None:
    encoder = ConvEncoder(shape, RAW, channels=(2, 2, 2, 2), kernel=kernel)
    decoder = ConvDecoder(LATENT, shape, channels=(2, 2, 2, 2), kernel=kernel, upsample=upsample)
    assert encoder(torch.rand(2, *shape)).shape == (2, RAW)
    assert decoder(torch.randn(2, LATENT)).shape == (2, *shape)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 9), (3, 5, 4)])
def test_resnets_take_pictures_too_small_for_their_stages(shape: Shape) -> None:
    assert ResNetEncoder(shape, RAW, channels=(4, 4, 4, 4, 4), depth=1)(torch.rand(2, *shape)).shape == (2, RAW)
    assert ResNetDecoder(LATENT, shape, channels=(4, 4, 4, 4, 4), depth=1)(torch.rand(2, LATENT)).shape == (2, *shape)


@pytest.mark.parametrize("upsample", ["transposed", "resize"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 9, 13)])
def test_every_output_pixel_depends_on_the_latent(shape: Shape, upsample: str) -> None:
    torch.manual_seed(0)
    decoder = ConvDecoder(LATENT, shape, channels=(4, 4), upsample=upsample, activation=nn.Tanh)
    a, b = decoder(torch.randn(2, LATENT))
    assert (a != b).all()


@pytest.mark.parametrize("name", ["conv", "resnet"])
def test_every_input_pixel_reaches_the_code(name: str) -> None:
    encoder, _ = build(name, (3, 37, 53))
    x = torch.rand(1, 3, 37, 53, requires_grad=True)
    encoder(x).square().sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).float().mean() > 0.95  # a ReLU may be dead for some


def test_affine_without_hidden_layers() -> None:
    encoder, decoder = (net.double() for net in build("affine", (1, 8, 8)))
    for net, size in ((encoder, (1, 1, 8, 8)), (decoder, (1, LATENT))):
        a, b = torch.randn(size, dtype=torch.double), torch.randn(size, dtype=torch.double)
        torch.testing.assert_close(net(a) + net(b), net(a + b) + net(torch.zeros_like(a)))


def test_hidden_widths_run_the_way_of_the_data() -> None:
    def widths(net: nn.Module) -> list[tuple[int, int]]:
        return [(m.in_features, m.out_features) for m in net.modules() if isinstance(m, nn.Linear)]

    assert widths(MLPEncoder((7,), 2, hidden=(5, 4))) == [(7, 5), (5, 4), (4, 2)]
    assert widths(MLPDecoder(2, (7,), hidden=(4, 5))) == [(2, 4), (4, 5), (5, 7)]


def test_depth_and_widths_of_a_resnet_are_arguments() -> None:
    def count(net: nn.Module) -> int:
        return sum(isinstance(m, nn.Conv2d) for m in net.modules())

    # first layer, then per stage 2 convolutions a block, between stages one
    assert count(ResNetEncoder((1, 8, 8), 2, channels=(4, 4, 4), depth=3)) == 1 + 3 * 3 * 2 + 2
    assert count(ResNetDecoder(2, (1, 8, 8), channels=(4, 4), depth=1)) == 2 * 2 + 1 + 1


def test_a_new_residual_block_is_the_identity() -> None:
    encoder, _ = build("resnet", (1, 8, 8))
    blocks = [m for m in encoder.modules() if type(m).__name__ == "ResBlock"]
    x = torch.randn(2, 4, 5, 5)
    assert len(blocks) == 2
    assert torch.equal(blocks[0](x), x)


@pytest.mark.parametrize("upsample", ["transposed", "resize"])
def test_deep_conv_nets_pass_on_what_differs(upsample: str) -> None:
    torch.manual_seed(0)
    widths = (32, 64, 64, 64, 64)
    encoder = ConvEncoder((3, 64, 64), RAW, channels=widths)
    decoder = ConvDecoder(LATENT, (3, 64, 64), channels=widths, upsample=upsample)
    assert encoder(torch.randn(64, 3, 64, 64)).std(0).mean() > 0.05  # torch's own default: 2e-3
    assert decoder(torch.randn(64, LATENT)).std(0).mean() > 0.05  # 2e-4 and 2e-3


def affine(z: Tensor) -> Tensor:
    return torch.stack((z.sum(-1), z.prod(-1)), -1).unsqueeze(-1)


@pytest.mark.parametrize("lead", [(4,), (5, 4), (2, 5, 4)])
def test_fold_equals_a_loop(lead: Shape) -> None:
    z = torch.randn(*lead, LATENT, dtype=torch.double)
    out = fold(affine, z)
    assert out.shape == (*lead, 2, 1)
    looped = torch.stack([affine(row) for row in z.reshape(-1, 4, LATENT)]).reshape(out.shape)
    assert torch.equal(out, looped)


def test_fold_repeats_the_condition_over_samples() -> None:
    def net(z: Tensor, c: Tensor) -> Tensor:
        return z * c

    z, c = torch.randn(5, 4, LATENT), torch.randn(4, LATENT)
    assert torch.equal(fold(net, z, c), z * c)
    labels = torch.arange(4)
    assert torch.equal(fold(lambda z, c: z * c[:, None], z, labels), z * labels[:, None])


def test_fold_keeps_events_of_several_dimensions() -> None:
    z = torch.randn(5, 4, 2, 3, 3)
    seen = []
    out = fold(lambda flat: seen.append(flat.shape) or flat.mean((-1, -2)), z, event_ndim=3)
    assert seen == [(20, 2, 3, 3)]
    assert torch.equal(out, z.mean((-1, -2)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLPEncoder((7,), 0), "out_features=0"),
        (lambda: MLPEncoder((7,), 2, hidden=(5, 0)), r"hidden=\(5, 0\)"),
        (lambda: MLPDecoder(0, (7,)), "in_features=0"),
        (lambda: MLPDecoder(2, (7,), hidden=(-1,)), r"hidden=\(-1,\)"),
        (lambda: ConvEncoder((7,), 2), "use MLPEncoder"),
        (lambda: ConvDecoder(2, (7,)), "use MLPDecoder"),
        (lambda: ResNetEncoder((7,), 2), "use MLPEncoder"),
        (lambda: ResNetDecoder(2, (7,)), "use MLPDecoder"),
        (lambda: ConvEncoder((1, 8, 8), 2, channels=()), r"channels=\(\).*use MLPEncoder"),
        (lambda: ResNetDecoder(2, (1, 8, 8), channels=()), r"channels=\(\).*use MLPDecoder"),
        (lambda: ConvEncoder((1, 8, 8), 2, channels=(8, 0)), r"channels=\(8, 0\)"),
        (lambda: ConvDecoder(2, (1, 8, 8), kernel=0), "kernel=0"),
        (lambda: ConvEncoder((1, 8, 8), 0), "out_features=0"),
        (lambda: ConvEncoder((1, 8, 8), 2, norm="layer"), "norm='layer': use none, group, batch"),
        (lambda: ConvDecoder(2, (1, 8, 8), upsample="bilinear"), "upsample='bilinear': use transposed, resize"),
        (lambda: ResNetEncoder((1, 8, 8), 2, depth=0), "depth=0"),
        (lambda: ResNetDecoder(0, (1, 8, 8)), "in_features=0"),
    ],
)
def test_bad_arguments_name_themselves(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "conv", "resnet"])
def test_compiling_in_place_keeps_keys_and_values(name: str) -> None:
    shape = (3, 9, 13)
    for net, size in zip(build(name, shape), (shape, (LATENT,)), strict=True):
        net.eval()
        x = torch.rand(4, *size)
        keys, expected = list(net.state_dict()), net(x)
        net.compile()
        torch.testing.assert_close(net(x), expected, atol=1e-5, rtol=1e-5)
        assert list(net.state_dict()) == keys


def test_parameters_are_counted_by_hand() -> None:
    encoder = MLPEncoder((1, 28, 28), 32, hidden=(512,))
    assert sum(p.numel() for p in encoder.parameters()) == (784 + 1) * 512 + (512 + 1) * 32
    conv = ConvEncoder((3, 37, 53), 10, channels=(8, 16))
    smallest = 10 * 14  # ⌈⌈37/2⌉/2⌉ × ⌈⌈53/2⌉/2⌉
    expected = (3 * 16 + 1) * 8 + (8 * 16 + 1) * 16 + (16 * smallest + 1) * 10
    assert sum(p.numel() for p in conv.parameters()) == expected
