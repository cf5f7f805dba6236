"""Every shipped config parses and is instantiated; those of variants train for two batches where data allow."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from conftest import Console
from lit_ae import shipped

CONFIGS = shipped.names()
VARIANTS = [name for name in CONFIGS if "/" not in name]
OVERLAYS = [name for name in CONFIGS if "/" in name]
GPU = {"trainer/gpu", "trainer/fsdp", "trainer/slurm"}  # parsed everywhere, instantiated where there is a GPU
DATA = {"vae_mnist": "--data.root={real}", "ae_images": "--data.root={own}", "vae_table": "--data.path={own}/table.csv"}
TWO = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1")
QUIET = ("--trainer.enable_progress_bar=false", "--trainer.log_every_n_steps=1")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A table and some pictures of one's own."""
    from PIL import Image

    values = np.random.default_rng(0).normal(size=(300, 4))
    (tmp_path / "own").mkdir()
    np.savetxt(tmp_path / "own/table.csv", values, delimiter=",", header="a,b,c,d", comments="")
    for number in range(160):
        noise = np.random.default_rng(number).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        folder = tmp_path / "own" / "ab"[number % 2]
        folder.mkdir(exist_ok=True)
        Image.fromarray(noise).save(folder / f"{number}.png")
    return tmp_path / "own"


@pytest.mark.parametrize("name", CONFIGS)
def test_the_first_line_says_what_it_is(name: str) -> None:
    first = CONFIGS[name].read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert len(first.split()) >= 5


@pytest.mark.parametrize("name", CONFIGS)
def test_it_parses(name: str, lit_ae: Console) -> None:
    base = [] if name in VARIANTS else ["--config=vae"]
    done = lit_ae("fit", *base, f"--config={name}", "--print_config")
    assert done.status == 0, done.err
    wanted = yaml.safe_load(CONFIGS[name].read_text(encoding="utf-8"))
    printed = yaml.safe_load(done.out)
    for key, value in wanted.get("trainer", {}).items():
        if isinstance(value, (str, int, float)):
            assert printed["trainer"][key] == value


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_trains(
    name: str, lit_ae: Console, own: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    data = [DATA[name]] if name in DATA else []
    if any("{real}" in flag for flag in data):
        data = [flag.format(real=request.getfixturevalue("real_data")) for flag in data]
    data = [flag.format(own=own) for flag in data]
    done = lit_ae("fit", f"--config={name}", *data, *TWO, *QUIET)
    assert done.status == 0, done.err
    assert (tmp_path / f"runs/{name}/0/checkpoints/best.ckpt").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_trains_on_top_of_a_variant(name: str, console: Console, tmp_path: Path) -> None:
    if name in GPU and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    if name == "trainer/slurm":
        pytest.skip("needs a cluster")
    one = ("--trainer.devices=1", "--trainer.accelerator=cpu") if name not in GPU else ()
    if name == "trainer/fast" and shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler")
    small = ("--model.encoder.hidden=[16]", "--model.decoder.hidden=[16]")
    done = console("fit", "--config=vae", f"--config={name}", *one, *small, *TWO, *QUIET, WANDB_MODE="offline")
    assert done.status == 0, done.err
    assert (tmp_path / "runs/vae/0/checkpoints/best.ckpt").is_file()
