"""What tests share: where the real pictures are, and how the console script is run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lit_ae.cli import main
from samplers_for_tests import LATENT, RUNS, SMALL

SCRIPT = Path(sys.executable).parent / "lit_ae"
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # what a shell starts in the background inherits it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The key with which runs are stamped is not that of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with MNIST/raw and cifar10-images, named by LIT_AE_DATA."""
    folder = os.environ.get("LIT_AE_DATA")
    if not folder:
        pytest.skip("LIT_AE_DATA is not set: no real pictures on this machine")
    return Path(folder)


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str


Console = Callable[..., Done]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("LIT_AE_RUN", "LOCAL_RANK", "WORLD_SIZE")}
    return {**kept, "OMP_NUM_THREADS": "1", **more}


@pytest.fixture
def console(tmp_path: Path) -> Console:
    """Runs the real console script in a process of its own, in `tmp_path`."""

    def call(*arguments: str, cwd: Path = tmp_path, timeout: float = 300, **more: str) -> Done:
        command = [str(SCRIPT), *arguments]
        done = subprocess.run(
            command, cwd=cwd, env=environment(**more), capture_output=True, text=True, timeout=timeout
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def lit_ae(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Console:
    """Runs a command line in this process, in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def call(*arguments: str) -> Done:
        capfd.readouterr()
        status = main([*arguments])
        return Done(status, *capfd.readouterr())

    return call


QUICK = ("--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--model.encoder.hidden=[16]")
QUICK += ("--model.decoder.hidden=[16]", "--trainer.limit_val_batches=1")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small VAE, trained for two epochs. Do not write into it: copy it."""
    folder = tmp_path_factory.mktemp("trained")
    arguments = ["fit", "--config", "vae", "--trainer.callbacks=[]", "--trainer.max_epochs=2", f"--runs={folder}"]
    assert main([*arguments, *QUICK]) == 0
    return folder / "vae" / "0"


@pytest.fixture(scope="session")
def trained_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name, arguments in RUNS.items():
        common = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=3", "--trainer.callbacks=[]"]
        common += ["--trainer.logger=false", f"--runs={folder}", f"--name={name}", "--trainer.accelerator=cpu"]
        assert main(["fit", *arguments.split(), *common, "--trainer.enable_progress_bar=false"]) == 0
    return folder


@pytest.fixture(scope="session")
def fitted_runs(trained_runs: Path) -> Path:
    """The runs, with samplers where one fits. Do not change those: copy the run."""
    for name, kinds in {
        "vq": ("pixelcnn", "transformer"),
        "residual": ("pixelcnn",),
        "classes": ("transformer",),
    }.items():
        for kind in kinds:
            assert main(["fit-sampler", str(trained_runs / name / "0"), "--kind", kind, "--epochs=1", *SMALL]) == 0
    labels = ["--condition=label", "--epochs=1", "--kind=transformer", *SMALL]
    assert main(["fit-sampler", str(trained_runs / "categorical" / "0"), *labels]) == 0
    return trained_runs


@pytest.fixture(scope="session")
def latent_runs(trained_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of runs with latents, and every kind of sampler of these; that of the VAE knows classes. Do not change."""
    folder = tmp_path_factory.mktemp("latent")
    for name, more in {"ae": (), "vae": ("--condition=label",)}.items():
        shutil.copytree(trained_runs / name / "0", folder / name / "0", ignore=shutil.ignore_patterns("figures"))
        for kind, settings in LATENT.items():
            assert main(["fit-sampler", str(folder / name / "0"), "--kind", kind, *settings, *more]) == 0
    return folder
