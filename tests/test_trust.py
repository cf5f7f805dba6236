"""Who may name which class: the user any, a file of somebody else only those of the list."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import jsonargparse._common as settings
import pytest
import torch
import yaml

import lit_ae as package
from conftest import QUICK, Console
from lit_ae import stamps, trust
from lit_ae.errors import ConfigError, RunError
from lit_ae.jobs.opening import opened

ONCE = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.callbacks=[]", *QUICK)
OWN = """
from pathlib import Path

from lit_ae.models.vae import VAE
from lit_ae.nn.mlp import MLPEncoder

Path({marker!r}).write_text("imported")

class {name}(VAE):
    "Somebody's own."
"""
ADMITTED = [
    "lit_ae.models.vae.VAE",
    "datamodules.digits.Digits",
    "torch.optim.Adam",
    "torch.nn.ReLU",
    "lightning.pytorch.callbacks.ModelCheckpoint",
    "lightning.pytorch.strategies.FSDPStrategy",
    "torchmetrics.MeanSquaredError",
    "VAE",
]
REFUSED = [
    "torch.hub.load",
    "torch.load",
    "torch.utils.cpp_extension.load",
    "torchmetrics.text.BERTScore",
    "lightning.pytorch.cli.instantiate_module",
    "lit_ae.cli.main",
    "somebody.Else",
    "torchlike.optim.Adam",
]


@pytest.fixture
def module(tmp_path: Path) -> tuple[str, Path]:
    """A package of somebody's in the working directory, and a file that is there once it was imported."""
    name = f"pkg_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(OWN.format(marker=str(tmp_path / "marker"), name="Theirs"))
    return name, tmp_path / "marker"


def forget(name: str, marker: Path) -> None:
    sys.modules.pop(name, None)
    marker.unlink(missing_ok=True)


def foreign(run: Path) -> None:
    """Make a run somebody else's."""
    (run / stamps.NAME).unlink()


@pytest.mark.parametrize("path", ADMITTED)
def test_what_the_list_admits(path: str) -> None:
    trust.admit(path, "file.ckpt")


@pytest.mark.parametrize("path", REFUSED)
def test_what_it_refuses_names_the_flag(path: str) -> None:
    with pytest.raises(RunError, match=f"file.ckpt names {path}, .*--trust-import {trust.wide(path)}\\.$"):
        trust.admit(path, "file.ckpt")
    trust.admit(path, "file.ckpt", [trust.wide(path)])


@pytest.mark.parametrize("path", ["os.system", "subprocess.Popen", "builtins.eval", "jsonargparse.set_loader", "a b.c"])
def test_what_nobody_should_admit_names_no_flag(path: str) -> None:
    with pytest.raises(RunError, match="do not use that file") as caught:
        trust.admit(path, "file.ckpt")
    assert trust.FLAG not in str(caught.value)


def test_a_typed_class_admits_its_package_but_of_torch_and_python_only_itself() -> None:
    assert trust.typed(["fit", "--model=my_pkg.deep.Model", "--x", "torch.hub.load", "math.exp", "--y.z"]) == (
        "math.exp",
        "my_pkg",
        "torch.hub.load",
    )


def test_configs_are_read_for_classes_with_those_that_they_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("inner.yaml").write_text("class_path: inner_pkg.Model\ninit_args: {encoder: {class_path: other_pkg.E}}\n")
    Path("outer.yaml").write_text("model: inner.yaml\ndata: {class_path: Digits}\n# os.system in a remark\n")
    assert trust.typed([], [Path("outer.yaml")]) == ("inner_pkg", "other_pkg")
    assert trust.typed(["--config=outer.yaml"]) == ("inner_pkg", "other_pkg")


@pytest.mark.parametrize("name", ["torch", "os", "jsonargparse", "jsonargparse.x", "my-pkg", "", "*", "--x"])
def test_a_package_that_cannot_be_trusted(name: str, lit_ae: Console) -> None:
    done = lit_ae("fit", f"--trust-import={name}", "--print_config")
    assert done.status == 2
    assert len(done.err.splitlines()) == 1


def test_the_parser_is_left_as_it_was() -> None:
    before = dict(settings.parsing_settings)
    with trust.importing(["my_pkg"]):
        assert settings.parsing_settings != before
        settings.check_import_path("my_pkg.Model")
        with pytest.raises(ImportError):
            settings.check_import_path("your_pkg.Model")
    assert dict(settings.parsing_settings) == before


def test_trust_does_not_outlive_a_command(lit_ae: Console) -> None:
    lit_ae("fit", "--trust-import=my_pkg", "--print_config")
    assert trust.trusted.get() == ()


def test_a_module_that_re_exports_something_else_is_refused(lit_ae: Console, tmp_path: Path) -> None:
    (tmp_path / "sly_pkg.py").write_text("from subprocess import Popen as VAE\n")
    done = lit_ae("fit", "--model=sly_pkg.VAE", "--print_config")
    assert done.status == 2
    assert "Traceback" not in done.err


def test_a_run_of_ones_own_opens_everywhere_without_a_flag(
    lit_ae: Console, tmp_path: Path, module: tuple[str, Path]
) -> None:
    name, marker = module
    assert lit_ae("fit", f"--model={name}.Theirs", "--model.latent_dim=2", *ONCE).status == 0
    run = tmp_path / "runs/theirs/0"
    assert stamps.own(run / "config.yaml")
    moved = shutil.copytree(run, tmp_path / "elsewhere/moved")
    for path in (run, moved):
        for command in (["test", str(path)], ["sample", str(path), "--n=2", "--save", str(path / "s.npz")]):
            forget(name, marker)
            done = lit_ae(*command)
            assert done.status == 0, done.err
    assert type(package.load(moved)).__name__ == "Theirs"
    assert lit_ae("fit", "--ckpt_path", str(moved), "--trainer.max_epochs=2").status == 0
    assert stamps.own(moved / "config.yaml")


def test_a_run_of_somebody_else_needs_the_flag(lit_ae: Console, tmp_path: Path, module: tuple[str, Path]) -> None:
    name, marker = module
    assert lit_ae("fit", f"--model={name}.Theirs", "--model.latent_dim=2", *ONCE).status == 0
    run = tmp_path / "runs/theirs/0"
    alone = shutil.copy(run / "checkpoints/last.ckpt", tmp_path / "alone.ckpt")
    foreign(run)
    forget(name, marker)
    commands = [
        ["test", str(run)],
        ["validate", str(alone)],
        ["fit", "--ckpt_path", str(run)],
        ["fit", "--ckpt_path", str(alone)],
        ["sample", str(run), "--n=2", "--save=s.npz"],
        ["summary", str(run)],
        ["export", str(run)],
        ["embed", str(run), "--out=z.npz"],
    ]
    for command in commands:
        done = lit_ae(*command)
        assert done.status == 4, (command, done.err)
        assert f"add --trust-import {name}." in done.err
        assert len(done.err.splitlines()) == 1, done.err
        assert not marker.exists(), command
    for path in (run, alone):
        with pytest.raises(RunError, match=f"--trust-import {name}"):
            package.load(path)
    with pytest.raises(RunError, match=f"--trust-import {name}"):
        opened(run)
    assert not marker.exists()
    for command in commands[:1] + commands[4:6]:
        done = lit_ae(*command, "--trust-import", name)
        assert done.status == 0, (command, done.err)
    assert marker.exists()
    assert type(package.load(alone, trust=[name])).__name__ == "Theirs"
    assert type(opened(run, trust=[name]).model).__name__ == "Theirs"


def test_a_changed_config_is_no_longer_ones_own(trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    config = run / "config.yaml"
    assert stamps.own(config)
    config.write_text(config.read_text().replace("max_epochs: 2", "max_epochs: 3"))
    assert not stamps.own(config)
    opened(run)  # classes of ours need no stamp


def test_a_class_hidden_below_the_model_is_found(trained: Path, tmp_path: Path, lit_ae: Console) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    document = yaml.safe_load((run / "config.yaml").read_text())
    document["model"]["init_args"]["encoder"] = {"class_path": "os.system", "init_args": {"command": "touch x"}}
    (run / "config.yaml").write_text(yaml.safe_dump(document))
    done = lit_ae("test", str(run))
    assert done.status == 4
    assert "'os.system'" in done.err
    document["model"]["init_args"]["encoder"] = "hidden_pkg.encoder"  # the path of a function as plain text
    (run / "config.yaml").write_text(yaml.safe_dump(document))
    (tmp_path / "hidden_pkg.py").write_text("import pathlib\npathlib.Path('marker').touch()\n")
    done = lit_ae("test", str(run))
    assert done.status == 4, done.err
    assert "--trust-import hidden_pkg" in done.err
    assert not (tmp_path / "marker").exists()


def test_a_checkpoint_does_not_admit_a_module_by_being_named_like_it(
    trained: Path, tmp_path: Path, module: tuple[str, Path], lit_ae: Console
) -> None:
    name, marker = module
    held = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)
    held["hyper_parameters"]["_class_path"] = f"{name}.Theirs"
    torch.save(held, tmp_path / f"{name}.ckpt")
    forget(name, marker)
    console = lit_ae("validate", f"--ckpt_path={name}.ckpt", "--data", "Digits")
    assert console.status == 4
    assert f"--trust-import {name}" in console.err
    assert not marker.exists()


def test_what_a_checkpoint_names_below_its_model_counts(trained: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)
    checkpoint["hyper_parameters"]["prior"] = {"class_path": "their_pkg.Prior"}
    torch.save(checkpoint, tmp_path / "alone.ckpt")
    with pytest.raises(RunError):
        package.load(tmp_path / "alone.ckpt")
    assert "their_pkg" not in sys.modules


def test_stamps_need_the_key(trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = trained / "config.yaml"
    assert stamps.own(config)
    assert oct((Path(os.environ["XDG_CONFIG_HOME"]) / "lit_ae/key").stat().st_mode & 0o777) == "0o600"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert not stamps.own(config)  # another user


def test_a_home_that_cannot_be_written_degrades(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lit_ae: Console
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    assert lit_ae("fit", "--config=vae", *ONCE).status == 0
    run = tmp_path / "runs/vae/0"
    assert not (run / stamps.NAME).exists()
    assert lit_ae("test", str(run)).status == 0


def test_two_processes_that_make_a_key_agree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    first = stamps.key(make=True)
    stamps.create(tmp_path / "lit_ae" / "key")  # the other, which looked before the first wrote
    assert first is not None
    assert stamps.key() == first
    assert os.listdir(tmp_path / "lit_ae") == ["key"]


def test_a_stamp_covers_the_config_before_and_after_a_crash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    config = tmp_path / "run" / "config.yaml"
    stamps.stamp(config, b"a: 1\n")
    config.write_bytes(b"a: 1\n")
    stamps.stamp(config, b"a: 2\n")
    assert stamps.own(config)  # died before config.yaml was written
    config.write_bytes(b"a: 2\n")
    assert stamps.own(config)
    (config.with_name(stamps.NAME)).write_bytes(b"\xff\x00" * 5000)
    assert not stamps.own(config)


def test_the_exact_flag_is_in_the_help(lit_ae: Console) -> None:
    assert trust.FLAG in lit_ae("--help").out
    with pytest.raises(ConfigError):
        trust.checked(["os"])
    assert json.dumps(trust.checked(["my_pkg", "torch.hub.load"])) == '["my_pkg", "torch.hub.load"]'
