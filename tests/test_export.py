"""`lit_ae export`: files that compute what PyTorch does, at any batch size, on real samples."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from conftest import Console
from lit_ae.batch import Batch, DataSpec
from lit_ae.errors import ConfigError
from lit_ae.jobs import exported
from lit_ae.jobs.opening import opened
from lit_ae.jobs.programs import Program, programs
from lit_ae.loading import load
from lit_ae.models.ae import AE
from lit_ae.nn import RecurrentDecoder, RecurrentEncoder
from variants import batch_of, build


def onnx(path: Path, **given: np.ndarray) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, given)


@pytest.mark.slow
def test_all_formats_agree_with_the_run(trained: Path, console: Console, lit_ae: Console, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    done = console("export", str(trained), "--format=all", f"--out={folder}")
    assert (done.status, done.err) == (0, "")
    files = ["encoder.onnx", "decoder.onnx", "encoder.pt2", "decoder.pt2", "model.safetensors"]
    for name, text in zip(files, done.out.splitlines(), strict=False):
        assert f"{folder / name}  differs from PyTorch by" in text
    assert {path.name for path in folder.iterdir()} == {*files, "model.json", "signature.json", "README.md"}
    run = opened(trained)
    x = run.first(5).x
    q = run.model.encode(x)
    z, log_variance = onnx(folder / "encoder.onnx", x=x.numpy())
    np.testing.assert_allclose(z, q.mode, atol=1e-5)
    np.testing.assert_allclose(log_variance, 2 * q.base_dist.scale.log(), atol=1e-5)
    (made,) = onnx(folder / "decoder.onnx", z=z)
    np.testing.assert_allclose(made, run.model.reconstruct(x), atol=1e-5)
    traced = torch.export.load(folder / "decoder.pt2").module()
    np.testing.assert_allclose(traced(torch.from_numpy(z[:1]))[0], made[:1], atol=1e-5)
    assert torch.equal(load(folder).embed(x), run.model.embed(x))
    said = json.loads((folder / "signature.json").read_text())
    assert said["programs"]["encoder"]["inputs"] == [{"name": "x", "type": "float32", "shape": ["batch", 1, 8, 8]}]
    assert [port["name"] for port in said["programs"]["encoder"]["outputs"]] == ["z", "log_variance"]
    assert said["data"]["value_range"] == [0.0, 1.0]
    readme = (folder / "README.md").read_text()
    assert "pictures of bytes are divided by 255" in readme
    assert "A .pt2 file can run code as it is opened" in readme
    assert '[z, log_variance] = onnxruntime.InferenceSession("encoder.onnx").run(None, {"x": x})' in readme
    # nothing is written over, and with --overwrite nothing of an earlier export stays
    again = lit_ae("export", str(trained), f"--out={folder}")
    assert again.status == 2
    assert "is there already: add --overwrite" in again.err
    assert lit_ae("export", str(trained), "--format=safetensors", f"--out={folder}", "--overwrite").status == 0
    assert not list(folder.glob("*.onnx"))
    (tmp_path / "file").write_text("")
    refused = lit_ae("export", str(trained), "--out=file", "--overwrite")
    assert (refused.status, refused.err) == (2, "lit_ae: file is a file: name a folder.\n")


def test_conditions_and_codes_are_named(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    run = trained_runs / "classes" / "0"
    assert lit_ae("export", str(run), f"--out={tmp_path / 'out'}").status == 0
    opened_run = opened(run)
    batch = opened_run.first(4)
    z, codes = onnx(tmp_path / "out" / "encoder.onnx", x=batch.x.numpy(), c=batch.c.numpy())
    assert np.array_equal(codes, opened_run.model.codes(batch.x, batch.c))
    (made,) = onnx(tmp_path / "out" / "decoder.onnx", z=z, c=batch.c.numpy())
    np.testing.assert_allclose(made, opened_run.model.reconstruct(batch.x, batch.c), atol=1e-5)
    assert lit_ae("export", str(run), "--format=safetensors", f"--out={tmp_path / 'weights'}").status == 0
    assert "z = model.embed(x, c)\n" in (tmp_path / "weights" / "README.md").read_text()


def test_a_table_says_how_its_columns_are_scaled(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    assert lit_ae("export", str(trained_runs / "plane" / "0"), "--format=safetensors", "--out=out").status == 0
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "bytes" not in readme
    assert ".pt2" not in readme


TRACED = ("AE-conv", "HierarchicalVAE-condition", "MaskedAutoencoder-condition", "VQVAE-residual")  # one of each kind
TRACED += ("CategoricalVAE", "AutoencoderKL-condition", "SparseAE-topk", "TargetProp-condition")


@pytest.mark.parametrize("name", TRACED)
def test_every_kind_of_network_is_traced_for_any_batch(name: str, tmp_path: Path) -> None:
    both = programs(build(name).eval(), batch_of(name, 7))
    assert [each.name for each in both] == ["encoder", "decoder"]
    for each in both:
        assert exported.write_torch(each, tmp_path / f"{each.name}.pt2") < 1e-5


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_mask_is_an_input_where_the_encoder_reads_it(cell: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = DataSpec(input_shape=(2, 5), num_train=10)
    model = AE(spec, 3, partial(RecurrentEncoder, cell=cell, width=4, layers=2), partial(RecurrentDecoder, width=4))
    steps = torch.arange(5) < torch.tensor([5, 3, 1, 4, 2, 5, 1])[:, None]
    real = Batch(torch.randn(7, 2, 5), mask=steps[:, None].expand(-1, 2, -1))
    encoder, _ = programs(model.eval(), real)
    assert [*encoder.inputs] == ["x", "mask"]
    assert exported.write_torch(encoder, tmp_path / "encoder.pt2") < 1e-5  # against packed sequences
    # a network that does not read the mask does not ask for one
    flat, _ = programs(AE(spec, 3).eval(), real)
    assert [*flat.inputs] == ["x"]
    both = AE(spec, 3, partial(RecurrentEncoder, bidirectional=True), RecurrentDecoder).eval()
    with pytest.raises(ConfigError, match="bidirectional encoder of masked sequences is no program"):
        programs(both, real)


def test_a_model_without_an_encoder_has_a_decoder() -> None:
    assert [each.name for each in programs(build("EBM").eval(), batch_of("EBM", 3))] == ["decoder"]


def test_a_file_that_disagrees_is_removed(tmp_path: Path) -> None:
    _, decoder = programs(build("AE").eval(), batch_of("AE", 7))
    wrong = Program(decoder.name, decoder.traced, decoder.inputs, {"x": decoder.outputs["x"] + 0.001})
    with pytest.raises(ConfigError, match=r"decoder\.pt2 differs from PyTorch by 1\.\de-03, more than 1e-04"):
        exported.write_torch(wrong, tmp_path / "decoder.pt2")
    assert not [*tmp_path.iterdir()]


def test_missing_packages_are_named(trained: Path, lit_ae: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported, "NEEDED", ("onnx", "no_such_package"))
    done = lit_ae("export", str(trained))
    assert done.status == 2
    assert 'pip install "lit_ae[onnx]"' in done.err
    assert lit_ae("export", str(trained), "--format=exe").status == 2
    assert lit_ae("export", "nowhere", "--format=torch").status == 4
