"""Where features come from: networks of files, and a classifier of the data's labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from torch import Tensor
from torchmetrics.image import fid as torchmetrics_fid

from lit_ae.errors import ConfigError
from lit_ae.metrics import fid
from lit_ae.metrics.features import Extractor, classifier, features

RANGE = (0.0, 16.0)


def digits() -> tuple[Tensor, Tensor]:
    x, y = (torch.from_numpy(part) for part in load_digits(return_X_y=True))
    return x.float().view(-1, 1, 8, 8), y


@pytest.fixture(scope="module")
def trained() -> Extractor:
    x, y = digits()
    found = features(None, x[:1500], y[:1500], RANGE, data="Digits")
    assert found is not None
    return found


def test_a_classifier_says_what_it_is_and_how_good(trained: Extractor) -> None:
    assert trained.name.startswith("classifier trained on 1,350 samples of Digits, accuracy 0.9")
    assert trained.name.endswith(" on 150 others")
    assert "nception" not in trained.name


def test_its_features_tell_digits_from_what_is_none(trained: Extractor) -> None:
    x, _ = digits()
    real = trained(x[:700], RANGE)
    assert real.shape == (700, 128)
    assert not real.requires_grad
    assert real.square().mean() == pytest.approx(1, abs=0.2)
    others = {
        "digits": x[700:1400],
        "blurred": F.avg_pool2d(x[700:1400], 3, 1, 1),
        "noise": 16 * torch.rand(700, 1, 8, 8, generator=torch.Generator().manual_seed(0)),
    }
    distances = [fid(real, trained(other, RANGE)) for other in others.values()]
    assert distances[0] < 0.3 * distances[1]
    assert distances[1] < distances[2]


def test_features_do_not_depend_on_batches_or_units(trained: Extractor) -> None:
    x, _ = digits()
    whole = trained(x[:600], RANGE)
    torch.testing.assert_close(torch.cat([trained(part, RANGE) for part in x[:600].split(7)]), whole)
    torch.testing.assert_close(trained(x[:600] / 8 - 1, (-1, 1)), whole)
    torch.testing.assert_close(trained(x[:600] / 16), whole)
    torch.testing.assert_close(trained(x[:600].byte(), RANGE), whole)


SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "table": lambda x: x.flatten(1),
    "sequence": lambda x: x[:, 0],
    "wide": lambda x: F.interpolate(x, size=(9, 17)),
    "colours": lambda x: x.expand(-1, 3, -1, -1),
    "still": lambda x: torch.cat([x.flatten(1), torch.ones(len(x), 5)], 1),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_samples_of_any_shape_have_features(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lit_ae.metrics.classifier.STEPS", 150)
    x, y = digits()
    x = SHAPES[shape](x)
    both = classifier(x, torch.stack([y + 5, y % 2, torch.zeros_like(y), torch.arange(len(y))], 1))
    accuracy = float(both.name.split("accuracy ")[1].split()[0])
    assert accuracy > 0.85
    found = both(x[:9])
    assert found.shape == (9, 128)
    assert found.isfinite().all()


def test_it_repeats_itself_by_seed_and_leaves_the_generators_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = digits()
    x, y = x[:200], y[:200]
    monkeypatch.setattr("lit_ae.metrics.classifier.STEPS", 20)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, again, other = (classifier(x, y, seed, RANGE)(x, RANGE) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize("labels", ["none", "one", "numbers", "names", "empty"])
def test_without_labels_there_are_no_features(labels: str) -> None:
    x, y = digits()
    given = {"none": None, "one": 0 * y, "numbers": y + 0.5, "names": torch.arange(len(y)), "empty": y[:0]}[labels]
    assert features(None, x[: len(y)] if labels != "empty" else x[:0], given) is None
    assert features() is None


def network(
    path: Path, shape: tuple[int | str, ...], width: int = 48, kind: int = TensorProto.FLOAT, inputs: int = 1
) -> np.ndarray:
    """Write a network that flattens and multiplies; its weights."""
    weights = np.random.default_rng(0).standard_normal((width, 5)).astype(np.float32)
    nodes = [helper.make_node("Cast", ["x0"], ["f"], to=TensorProto.FLOAT)]
    nodes += [helper.make_node("Flatten", ["f"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["out"])]
    values = [helper.make_tensor_value_info(f"x{number}", kind, shape) for number in range(inputs)]
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ("n", 5))
    graph = helper.make_graph(nodes, "net", values, [out], [numpy_helper.from_array(weights, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return weights


def test_an_onnx_file_gives_the_features_of_its_network(tmp_path: Path) -> None:
    x, _ = digits()
    weights = torch.from_numpy(network(tmp_path / "net.onnx", ("n", 3, 4, 4)))
    found = features(tmp_path / "net.onnx", x)
    assert found is not None
    assert found.name == "network of net.onnx"
    small = F.interpolate(x[:300] / 16, size=(4, 4), mode="bilinear", antialias=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(found(x[:300], RANGE), small.flatten(1) @ weights)


def test_an_onnx_file_takes_tables_too(tmp_path: Path) -> None:
    weights = torch.from_numpy(network(tmp_path / "net.onnx", ("n", "columns"), 7))
    x = torch.randn(20, 7)
    found = features(str(tmp_path / "net.onnx"))
    assert found is not None
    torch.testing.assert_close(found(x), x @ weights)


def test_inception_sees_whole_numbers_in_three_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Fake(torch.nn.Module):
        def __init__(self, name: str, layers: list[str], weights: str) -> None:
            super().__init__()
            seen.append((name, layers, weights))

        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return x.float().flatten(1)[:, :4]

    path = tmp_path / "pt_inception.pth"
    path.write_bytes(b"weights")
    monkeypatch.setattr(torchmetrics_fid, "NoTrainInceptionV3", Fake)
    found = features(path)
    assert found is not None
    assert found.name == "Inception v3 with the weights of pt_inception.pth"
    levels = torch.arange(256.0).view(4, 1, 8, 8)
    assert found(levels / 255 * 16 - 1e-6, RANGE).shape == (4, 4)
    assert seen[0] == ("inception-v3-compat", ["2048"], str(path))
    assert torch.equal(seen[1], levels.byte().expand(-1, 3, -1, -1))
    found(levels * 2, RANGE)
    assert seen[2].max() == 255

    def missing(*_: object) -> None:
        raise ModuleNotFoundError

    monkeypatch.setattr(torchmetrics_fid, "NoTrainInceptionV3", missing)
    with pytest.raises(ConfigError, match="pip install torch-fidelity"):
        features(path)

    def damaged(*_: object) -> None:
        raise RuntimeError("bytes")

    monkeypatch.setattr(torchmetrics_fid, "NoTrainInceptionV3", damaged)
    with pytest.raises(ConfigError, match=r"does not hold the weights of Inception v3 \(RuntimeError\)"):
        features(path)


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no file"):
        features(tmp_path / "none.onnx")
    for name in ("net.pt", "net.pt2", "net"):
        (tmp_path / name).write_bytes(b"anything")
        with pytest.raises(ConfigError, match="may run code"):
            features(tmp_path / name)
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(ConfigError, match=r"text.onnx cannot be read"):
        features(tmp_path / "text.onnx")
    network(tmp_path / "fixed.onnx", (4, 3, 4, 4))
    network(tmp_path / "whole.onnx", ("n", 3, 4, 4), kind=TensorProto.INT64)
    network(tmp_path / "two.onnx", ("n", 3, 4, 4), inputs=2)
    for name in ("fixed", "whole", "two"):
        with pytest.raises(ConfigError, match="one batch of floats"):
            features(tmp_path / f"{name}.onnx")
    network(tmp_path / "net.onnx", ("n", 3, 4, 4))
    found = features(tmp_path / "net.onnx")
    assert found is not None
    for shape in ((2, 2, 4, 4), (2, 48), (2, 3, 16)):
        with pytest.raises(ConfigError, match="takes samples of shape 3x4x4"):
            found(torch.zeros(shape))
