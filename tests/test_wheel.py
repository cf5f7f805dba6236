"""The wheel, as somebody who never saw the repository installs it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (built,) = folder.glob("*.whl")
    return built


def test_it_holds_code_types_and_configs_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"lit_ae", "datamodules"}
    shipped = {path.relative_to(ROOT / "configs").as_posix() for path in (ROOT / "configs").rglob("*.yaml")}
    assert {name.removeprefix("lit_ae/configs/") for name in names if name.endswith(".yaml")} == shipped
    assert {"lit_ae/py.typed", "datamodules/py.typed"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_it_trains_from_any_folder_with_a_config_by_name(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False)
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    # dependencies come from this environment as a bare path, so that its editable install of us stays out of sight
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--ignore-installed",
        "--prefix",
        str(tmp_path / "env"),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True, text=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    python = tmp_path / "env/bin/python"
    where = [str(python), "-c", "import lit_ae, datamodules; print(lit_ae.__file__, datamodules.__file__)"]
    found = subprocess.run(where, check=True, capture_output=True, text=True, cwd=elsewhere, env=environment).stdout
    assert str(ROOT) not in found.replace(str(tmp_path), "")
    assert found.count(str(tmp_path)) == 2
    command = [str(python), "-m", "lit_ae", "fit", "--config", "vae", "--trainer.max_epochs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=elsewhere, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "elbo" in done.stdout
    assert (elsewhere / "runs/vae/0/checkpoints/last.ckpt").is_file()
