"""Every shipped config parses and is instantiated; those of variants train for two batches where data allow."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
import yaml

from conftest import Console
from lit_ae import shipped
from lit_ae.cli import main
from test_data_vision import write_idx

CONFIGS = shipped.names()
VARIANTS = [name for name in CONFIGS if "/" not in name or name.startswith("recipes/")]
OVERLAYS = [name for name in CONFIGS if name not in VARIANTS]
GPU = {"trainer/gpu", "trainer/fsdp", "trainer/slurm"}  # parsed everywhere, instantiated where there is a GPU
DATA = {
    "vae_mnist": "--data.root={real}",
    "recipes/vae_mnist": "--data.root={real}",
    "recipes/iwae_mnist": "--data.root={real}",
    "recipes/ladder_mnist": "--data.root={real}",
    "recipes/ladder_mnist_vae": "--data.root={real}",
    "ae_images": "--data.root={own}/pictures",
    "recipes/vq_cifar10": "--data.root={own}/pictures",
    "recipes/fsq_cifar10": "--data.root={own}/pictures",
    "vae_table": "--data.path={own}/table.csv",
    "sequences": "--data.path={own}/sequences.npz",
    "ae_fashion": "--data.root={own}",
    "vae_fashion": "--data.root={own}",
}
TWO = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1")
QUIET = ("--trainer.enable_progress_bar=false", "--trainer.log_every_n_steps=1")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A table, sequences and some pictures of one's own."""
    from PIL import Image

    random = np.random.default_rng(0)
    for part in ("train", "t10k"):
        raw = tmp_path / "own/FashionMNIST/raw"
        write_idx(raw / f"{part}-images-idx3-ubyte", random.integers(0, 256, (240, 28, 28), dtype=np.uint8))
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.arange(240, dtype=np.uint8) % 10)
    lengths = np.arange(200) % 7 + 2
    np.savez(tmp_path / "own/sequences.npz", values=random.normal(size=(lengths.sum(), 2)), lengths=lengths)
    values = np.random.default_rng(0).normal(size=(300, 4))
    np.savetxt(tmp_path / "own/table.csv", values, delimiter=",", header="a,b,c,d", comments="")
    for number in range(160):
        noise = np.random.default_rng(number).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        folder = tmp_path / "own/pictures" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
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
    assert (tmp_path / f"runs/{Path(name).name}/0/checkpoints/best.ckpt").is_file()


def both(rank: int, folder: str, port: int, argvs: dict[str, list[str]]) -> None:
    """What each of two processes does that a launcher started: run command lines one after the other."""
    os.chdir(folder)
    launcher = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in launcher.items()} | {"MASTER_ADDR": "127.0.0.1"}
    torch.set_num_threads(1)
    with Path(folder, f"status-{rank}.txt").open("w") as statuses:
        for name, argv in argvs.items():
            os.environ["TORCHELASTIC_RUN_ID"] = name.replace("/", "-")
            os.environ.pop("LIT_AE_RUN", None)
            print(name, main(argv), file=statuses, flush=True)


@pytest.mark.slow
def test_every_variant_trains_on_two_processes_in_both_precisions(own: Path, tmp_path: Path) -> None:
    pair = ("--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.accelerator=cpu")
    argvs = {}
    for name in VARIANTS:
        if "{real}" not in DATA.get(name, ""):  # those on the embedded data and on one's own
            data = [DATA[name].format(own=own)] if name in DATA else []
            for precision in ("32-true", "bf16-mixed"):
                flags = [*pair, *TWO, *QUIET, f"--trainer.precision={precision}", "--trainer.limit_train_batches=1"]
                flags += ["--trainer.callbacks=null"] * (precision == "32-true")  # pictures take longer than the rest
                argvs[f"{name}/{precision}"] = ["fit", f"--config={name}", *data, *flags]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(both, (str(tmp_path), port, argvs), nprocs=2)
    for rank in range(2):
        lines = (tmp_path / f"status-{rank}.txt").read_text().splitlines()
        assert lines == [f"{name} 0" for name in argvs]
    runs = list(tmp_path.glob("runs/*/*/checkpoints/last.ckpt"))
    assert len(runs) == len(argvs)


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
