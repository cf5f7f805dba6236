"""Several processes: the same numbers, every sample once, one run folder."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy

from conftest import QUICK, Console
from datamodules import Digits
from variants import VARIANTS, build, digits

pytestmark = pytest.mark.slow

PAIR = ("--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.accelerator=cpu")
ONE = ("--trainer.devices=1", "--trainer.accelerator=cpu")
BARE = ("--trainer.enable_progress_bar=false", "--trainer.log_every_n_steps=1")


def column(path: Path, name: str) -> list[float]:
    with path.open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def test_evaluation_gives_the_same_numbers_on_one_and_on_two_processes(
    trained: Path, console: Console, tmp_path: Path
) -> None:
    values = []
    for number, world in enumerate((ONE, PAIR)):
        run = tmp_path / str(number)
        shutil.copytree(trained, run)
        # 143 samples in 5 batches: one process has three, the other two
        extra = ("--trainer.limit_val_batches=1.0", "--data.batch_size=32")
        done = console("validate", str(run), *world, *extra)
        assert done.status == 0, done.err
        names = ("val/loss", "val/elbo", "val/distortion", "val/rate", "val/mse")
        values.append([column(run / "validate/metrics.csv", name)[-1] for name in names])
    np.testing.assert_allclose(values[1], values[0], rtol=1e-5)


def test_ten_sgd_steps_of_the_noise_free_autoencoder(console: Console, tmp_path: Path) -> None:
    model = ("--model=AE", "--model.latent_dim=2", "--model.optimizer=SGD", "--model.optimizer.lr=1e-3")
    small = ("--model.encoder.hidden=[16]", "--model.decoder.hidden=[16]")
    # 1,294 samples: ten steps of 128 and one of 14 in an epoch
    steps = ("--trainer.max_epochs=1", "--trainer.limit_val_batches=0", *BARE)
    losses = []
    for name, world, size in (("one", ONE, 128), ("two", PAIR, 64)):
        done = console("fit", *model, *small, *steps, *world, f"--data.batch_size={size}", f"--name={name}")
        assert done.status == 0, done.err
        assert os.listdir(tmp_path / "runs" / name) == ["0"]
        losses.append(column(tmp_path / f"runs/{name}/0/metrics.csv", "train/loss"))
    assert len(losses[0]) >= 11
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    states = [
        torch.load(tmp_path / f"runs/{name}/0/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("one", "two")
    ]
    for key, value in states[0].items():
        torch.testing.assert_close(states[1][key], value, rtol=1e-4, atol=1e-6)


SEEN = """
from pathlib import Path
import numpy as np
from lightning.pytorch import Callback

class Seen(Callback):
    def on_fit_start(self, trainer, pl_module):
        self.sums = {}
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.sums.setdefault(trainer.current_epoch, []).append(batch.x.flatten(1).numpy().copy())
    def on_train_end(self, trainer, pl_module):
        for epoch, batches in self.sums.items():
            np.save(f"seen-{epoch}-{trainer.global_rank}.npy", np.concatenate(batches))
"""


def test_every_sample_is_seen_once_per_epoch_and_predictions_are_in_order(console: Console, tmp_path: Path) -> None:
    (tmp_path / "seen.py").write_text(SEEN)
    arguments = ("--model=VAE", "--model.latent_dim=2", "--data.batch_size=100", "--trainer.callbacks=[seen.Seen]")
    done = console("fit", *arguments, *QUICK, *PAIR, "--trainer.max_epochs=2")
    assert done.status == 0, done.err
    assert done.out.count("run      ") == 1
    assert os.listdir(tmp_path / "runs/vae") == ["0"]
    data = Digits()
    source, index = data.split("train")
    wanted = next(iter(source.fetch([index]))).x.float().div(16).flatten(1).numpy()
    orders = []
    for epoch in range(2):
        parts = [np.load(tmp_path / f"seen-{epoch}-{rank}.npy") for rank in range(2)]
        assert abs(len(parts[0]) - len(parts[1])) <= 1
        seen = np.concatenate(parts)
        assert len(seen) == len(wanted)
        np.testing.assert_array_equal(sorted(map(tuple, seen)), sorted(map(tuple, wanted)))
        orders.append(seen)
    assert not np.array_equal(*orders)
    kept = []
    for world in (ONE, PAIR):
        done = console("predict", "runs/vae/0", *world, "--trainer.callbacks=[]")
        assert done.status == 0, done.err
        kept.append(dict(np.load(tmp_path / "runs/vae/0/predictions.npz")))
    labels = data.split("test")[0].labels
    for arrays in kept:
        np.testing.assert_array_equal(arrays["y"], labels)
    np.testing.assert_allclose(kept[1]["z"], kept[0]["z"], rtol=1e-5, atol=1e-6)


def both(rank: int, folder: str) -> None:
    """What each of two processes does: every variant in both precisions, two batches each."""
    os.environ |= {"LOCAL_RANK": str(rank), "RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    lines = []
    for name in VARIANTS:
        for precision in ("32-true", "bf16-mixed"):
            torch.manual_seed(0)
            model = build(name)
            trainer = Trainer(
                accelerator="cpu", devices=2, strategy=DDPStrategy(process_group_backend="gloo"), precision=precision,
                max_epochs=1, limit_train_batches=2, limit_val_batches=2, logger=False, enable_checkpointing=False,
                enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
            )  # fmt: skip
            trainer.fit(model, digits(name, 16))
            values = trainer.callback_metrics
            weights = torch.cat([value.detach().flatten() for value in model.parameters()])
            assert all(value.isfinite() for value in values.values())
            lines.append(f"{name} {precision} {values['val/loss'].item()!r} {weights.double().sum().item()!r}")
    Path(folder, f"{rank}.txt").write_text("\n".join(lines))
    torch.distributed.destroy_process_group()


def test_every_variant_on_two_processes_in_both_precisions(tmp_path: Path) -> None:
    mp.spawn(both, (str(tmp_path),), nprocs=2)
    first, second = ((tmp_path / f"{rank}.txt").read_text().splitlines() for rank in range(2))
    assert len(first) == 2 * len(VARIANTS)
    assert first == second
