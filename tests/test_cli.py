"""The command line: instant answers, names, merged configs, plugins and what goes where."""

from __future__ import annotations

import subprocess
import sys
import warnings
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import yaml

from conftest import QUICK, Console, environment
from lit_ae import __version__, catalog, launch, shipped, trust
from lit_ae.cli import main

ONCE = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=2", *QUICK)
WITHOUT_TORCH = """
import sys
from lit_ae.cli import main
status = main(sys.argv[1:])
assert "torch" not in sys.modules
sys.exit(status)
"""


def printed(lit_ae: Console, *arguments: str) -> dict:
    done = lit_ae("fit", *arguments, "--print_config")
    assert done.status == 0, done.err
    return yaml.safe_load(done.out)


@pytest.mark.parametrize("argument", ["--version", "--help", "list"])
def test_instant_answers_import_no_torch(argument: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, argument]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_version_and_no_arguments(lit_ae: Console) -> None:
    assert lit_ae("--version").out == f"lit_ae {__version__}\n"
    assert lit_ae().out == lit_ae("--help").out
    assert "Exit statuses: 0 done" in lit_ae("--help").out


def test_list_has_a_line_with_a_summary_for_everything(lit_ae: Console) -> None:
    lines = {line.split()[0]: line.split()[1:] for line in lit_ae("list").out.splitlines() if line.startswith("  ")}
    entries = [*catalog.variants(), *catalog.datamodules(), *catalog.configs()]
    assert {"VAE", "Digits", "vae", "trainer/fast"} <= {entry.name for entry in entries} == set(lines)
    assert all(len(summary) >= 3 for summary in lines.values())


def test_a_reader_that_stops_early_is_no_error(tmp_path: Path) -> None:
    command = f"{Path(sys.executable).parent / 'lit_ae'} list | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "0"


def test_help_of_a_command_names_our_arguments(lit_ae: Console) -> None:
    done = lit_ae("fit", "--help")
    assert done.status == 0
    assert done.out.startswith("usage: lit_ae")
    assert "Folder of all runs" in done.out


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_commands_flags_and_names(shell: str, lit_ae: Console, tmp_path: Path) -> None:
    done = lit_ae("--print_shtab", shell)
    assert done.status == 0
    for word in ("predict", "--trainer.max_epochs", "--model.latent_dim", "--data.batch_size", "BetaVAE", "CIFAR10"):
        assert word in done.out
    if shell == "bash":
        (tmp_path / "script").write_text(done.out)
        subprocess.run(["bash", "-n", str(tmp_path / "script")], check=True)


def test_completion_for_an_unknown_shell(lit_ae: Console) -> None:
    done = lit_ae("--print_shtab", "csh95")
    assert done.status == 2
    assert "bash" in done.err


def test_a_printed_config_can_be_fed_back(lit_ae: Console, tmp_path: Path) -> None:
    text = lit_ae("fit", "--config=vae", "--model.latent_dim=5", "--print_config").out
    (tmp_path / "again.yaml").write_text(text)
    assert printed(lit_ae, "--config=again.yaml") == yaml.safe_load(text)
    assert yaml.safe_load(text)["model"]["init_args"]["latent_dim"] == 5
    assert lit_ae("fit", "--config=again.yaml", "--trainer.callbacks=[]", *ONCE).status == 0


@pytest.mark.parametrize("name", ["vae", "vae.yaml", "configs/vae.yaml", "configs/vae"])
def test_a_config_is_found_by_name_from_any_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped.find(name) == shipped.folder() / "vae.yaml"


def test_a_config_is_found_by_path_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vae.yaml").write_text("name: mine\n")
    assert shipped.find("vae.yaml").read_text() == "name: mine\n"
    assert shipped.find("fast") == shipped.find("trainer/fast") == shipped.folder() / "trainer/fast.yaml"


def test_short_names_and_flags_beat_configs(lit_ae: Console) -> None:
    config = printed(
        lit_ae, "--config=vae", "--model=BetaVAE", "--model.beta=2", "--data=MNIST", "--model.optimizer=AdamW"
    )
    assert config["model"]["class_path"].endswith("BetaVAE")
    assert config["model"]["init_args"]["beta"] == 2
    assert config["data"]["class_path"].endswith("MNIST")
    assert config["model"]["init_args"]["optimizer"]["class_path"].endswith("AdamW")
    assert config["trainer"]["max_epochs"] == 100


def test_overlays_add_to_lists_and_replace_nothing(lit_ae: Console) -> None:
    names = ("--config=vae", "--config=trainer/fast", "--config=trainer/ema", "--config=logger/wandb")
    trainer = printed(lit_ae, *names, "--config=logger/tensorboard")["trainer"]
    callbacks = [callback["class_path"].rsplit(".", 1)[-1] for callback in trainer["callbacks"]]
    assert {"KLAnnealing", "LatentVisualization", "Compile", "EMAWeightAveraging"} <= set(callbacks)
    assert [logger["class_path"].rsplit(".", 1)[-1] for logger in trainer["logger"]] == ["WandB", "TensorBoard"]
    assert trainer["precision"] == "bf16-mixed"


@pytest.mark.parametrize("overlay", ["trainer/gpu", "logger/tensorboard"])
def test_an_overlay_alone_lies_over_the_default_config(overlay: str, lit_ae: Console) -> None:
    assert printed(lit_ae, f"--config={overlay}") == printed(lit_ae, "--config=vae", f"--config={overlay}")


def test_the_help_names_configs_that_parse(lit_ae: Console) -> None:
    lines = [line.split()[1:] for line in lit_ae("--help").out.splitlines() if line.startswith("  lit_ae fit --config")]
    assert len(lines) == 3
    for command, *arguments in lines:
        end = arguments.index("--print_config") if "--print_config" in arguments else None
        done = lit_ae(command, *arguments[:end], "--print_config")
        assert done.status == 0, done.err
        assert yaml.safe_load(done.out)["name"] == arguments[1]


def test_a_warning_of_ours_is_one_line_without_our_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    launch.quieten()
    assert warnings.formatwarning("two\nlines", UserWarning, launch.__file__, 8) == "lit_ae: two lines\n"
    assert "their.py:8" in warnings.formatwarning("text", UserWarning, "their.py", 8)


OWN = """
from lit_ae.models.vae import VAE

class Own(VAE):
    "A user's own."
"""


def test_a_class_of_ones_own_in_the_working_directory(console: Console, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "datamodules").mkdir()
    (tmp_path / "datamodules/__init__.py").write_text("raise RuntimeError('shadowed')\n")
    done = console("fit", "--model=mine.Own", "--model.latent_dim=2", *ONCE)
    assert done.status == 0, done.err
    assert (tmp_path / "runs/own/0/checkpoints/last.ckpt").is_file()
    assert console("test", "runs/own/0").status == 0


def test_a_plugin_has_short_names(lit_ae: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_plugin.py").write_text(OWN.replace("Own", "PluggedIn"))
    monkeypatch.syspath_prepend(tmp_path)
    plugin = EntryPoint("a_plugin", "a_plugin", trust.PLUGINS)
    monkeypatch.setattr(trust, "entry_points", lambda group: [plugin] if group == trust.PLUGINS else [])
    assert printed(lit_ae, "--model=PluggedIn")["model"]["class_path"] == "a_plugin.PluggedIn"


def test_a_plugin_that_does_not_import_is_named(
    lit_ae: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b_plugin.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    plugin = EntryPoint("b_plugin", "b_plugin", trust.PLUGINS)
    monkeypatch.setattr(trust, "entry_points", lambda group: [plugin])
    done = lit_ae("fit", "--print_config")
    assert done.status == 2
    assert "b_plugin" in done.err
    assert "a_package_that_is_not_there" in done.err


def test_results_go_to_stdout_and_messages_to_stderr(console: Console) -> None:
    arguments = [argument for argument in ONCE if "progress" not in argument]
    done = console("fit", "--config=vae", "--trainer.callbacks=[]", *arguments)
    assert done.status == 0, done.err
    words = [line.split()[0] for line in done.out.splitlines()]
    assert words == ["epoch", "run", "val"]
    assert "nats" in done.out
    assert "\r" not in done.out
    assert "\x1b" not in done.out
    assert "Tip" not in done.err
    assert "Warning" not in done.err
    assert "deprecated" not in done.err


def test_a_bug_of_ours_shows_its_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(catalog, "text", lambda: 1 / 0)
    assert main(["list"]) == 1
    err = capsys.readouterr().err
    assert "ZeroDivisionError" in err
    assert "bug of ours" in err
