"""`lit_ae.load`: a model from a run, a checkpoint or an export, without its data and without pickle."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import lit_ae as package
from conftest import Console
from lit_ae.errors import ConfigError, RunError
from lit_ae.jobs.opening import opened
from lit_ae.models.vae import VAE

X = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from lit_ae.cli import main

    folder = tmp_path_factory.mktemp("exported") / "vae"
    assert main(["export", str(trained), "--format=safetensors", f"--out={folder}"]) == 0
    return folder


def test_a_run_a_checkpoint_and_an_export_are_the_same_model(trained: Path, exported: Path, tmp_path: Path) -> None:
    alone = shutil.copy(trained / "checkpoints" / "best.ckpt", tmp_path / "alone.ckpt")
    wanted = opened(trained).model
    for path in (
        trained,
        trained / "checkpoints" / "best.ckpt",
        alone,
        exported,
        exported / "model.json",
        str(trained),
    ):
        model = package.load(path)
        assert isinstance(model, VAE)
        assert not model.training
        assert torch.equal(model.embed(X), wanted.embed(X))
        assert torch.equal(model.reconstruct(X), wanted.reconstruct(X))
        assert model.sample(16).shape == (16, 1, 8, 8)


def test_importing_the_package_imports_no_torch() -> None:
    code = "import lit_ae, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        package.lode  # noqa: B018


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("class_path", "os.system", "os.system"),
        ("optimizer", {"class_path": "subprocess.Popen", "init_args": {"args": "true"}}, "subprocess.Popen"),
        ("optimizer", "subprocess.run", "subprocess.run"),  # a callable by its path alone
        ("optimizer", {"class_path": "torch.hub.load"}, "torch.hub.load"),  # of torch, but no class
        ("optimizer", {"class_path": "torch.utils.data.DataLoader"}, "torch.utils.data.DataLoader"),  # but no network
        ("encoder", {"class_path": "lit_ae.loading.Path"}, "pathlib.Path"),  # ours by its path alone
        ("encoder", {"class_path": ["os.system"]}, "give a class that is an Encoder"),
    ],
)
def test_an_export_that_names_foreign_classes_is_refused(
    key: str, value: object, named: str, exported: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(exported, tmp_path / "foreign")
    document = json.loads((folder / "model.json").read_text())
    (document if key == "class_path" else document["init_args"])[key] = value
    (folder / "model.json").write_text(json.dumps(document))
    with pytest.raises(RunError, match=r"model\.json (names|cannot be built here)") as caught:
        package.load(folder)
    assert named in str(caught.value)


def test_damaged_exports_say_what_is_wrong(exported: Path, tmp_path: Path) -> None:
    def copy(name: str) -> Path:
        return shutil.copytree(exported, tmp_path / name)

    (folder := copy("torn")).joinpath("model.safetensors").write_bytes(b"no weights")
    with pytest.raises(RunError, match=r"model\.safetensors is damaged"):
        package.load(folder)
    (folder := copy("text")).joinpath("model.json").write_text("{")
    with pytest.raises(RunError, match=r"model\.json is damaged"):
        package.load(folder)
    (folder := copy("half")).joinpath("model.json").unlink()
    with pytest.raises(RunError, match=r"has no model\.json"):
        package.load(folder)
    folder = copy("other")
    document = json.loads((folder / "model.json").read_text())
    for change, message in (
        ({"format": 99}, "has the format 99"),
        ({"init_args": {"spec": None}}, "shape of its data"),
    ):
        (folder / "model.json").write_text(json.dumps({**document, **change}))
        with pytest.raises(ValueError if "spec" in str(change) else RunError, match=message):
            package.load(folder)
    document["init_args"]["latent_dim"] += 1
    (folder / "model.json").write_text(json.dumps(document))
    with pytest.raises(RunError, match=r"not of the model in model\.json"):
        package.load(folder)


def test_what_is_no_model_says_so(tmp_path: Path, lit_ae: Console) -> None:
    with pytest.raises(RunError, match=r"it has no config\.yaml"):
        package.load(tmp_path)
    with pytest.raises(RunError, match="There is no checkpoint"):
        package.load(tmp_path / "last.ckpt")
    (tmp_path / "encoder.onnx").write_bytes(b"")
    with pytest.raises(RunError, match=r"holds programs, but no model\.safetensors"):
        package.load(tmp_path)
    for name in ("encoder.onnx", "encoder.pt2"):
        with pytest.raises(RunError, match="can run code as it is opened"):
            package.load(tmp_path / name)
    with pytest.raises(ConfigError, match="There is no device 'frog' here"):
        package.load(tmp_path, "frog")
