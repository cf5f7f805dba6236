"""nan and infinity through the command line, and on two processes."""

from __future__ import annotations

import csv
import os
import warnings
from itertools import product
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy

from conftest import QUICK, Console
from guarded_for_tests import NAN
from lit_ae.batch import Batch
from lit_ae.callbacks.non_finite import NonFinite
from lit_ae.errors import NonFiniteError
from lit_ae.storage import load
from variants import build, digits

POISON = """
from lightning.pytorch import Callback

class Poison(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.current_epoch == 1 and batch_idx == 2 and trainer.global_rank == trainer.world_size - 1:
            batch.x[0] = float("nan")
"""
RUN = ("--config=vae", "--trainer.callbacks=[poison.Poison]", "--trainer.max_epochs=2", *QUICK)
SKIP = ("--trainer.callbacks+=NonFinite", "--trainer.callbacks.action", "skip")


def test_the_command_line_stops_by_default_and_keeps_the_epoch_before(lit_ae: Console, tmp_path: Path) -> None:
    (tmp_path / "poison.py").write_text(POISON)
    done = lit_ae("fit", *RUN)
    assert done.status == 5, done.err
    assert done.err.splitlines()[-1].startswith("lit_ae: The input of batch 2 in epoch 1 is not finite: ")
    stored = load(tmp_path / "runs/vae/0/checkpoints/best.ckpt")
    assert stored["global_step"] == 21  # those of the first epoch
    assert all(value.isfinite().all() for value in stored["state_dict"].values())
    assert "NonFinite" not in (tmp_path / "runs/vae/0/config.yaml").read_text()


def test_the_command_line_leaves_batches_out_where_asked(lit_ae: Console, tmp_path: Path) -> None:
    (tmp_path / "poison.py").write_text(POISON)
    with pytest.warns(UserWarning, match="Batch 2 of epoch 1 is left out, 1 of at most 10"):
        done = lit_ae("fit", *RUN, *SKIP)
    assert done.status == 0, done.err
    with (tmp_path / "runs/vae/0/metrics.csv").open(newline="") as file:
        assert [float(row["train/skipped"]) for row in csv.DictReader(file) if row["train/skipped"]] == [0, 1]
    callbacks = yaml.safe_load((tmp_path / "runs/vae/0/config.yaml").read_text())["trainer"]["callbacks"]
    assert callbacks[-1]["init_args"] == {"action": "skip", "most": 10}


class Rank(Callback):
    """Spoils the second batch of one of two processes."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        if batch_idx == 1 and trainer.global_rank == 1:
            batch.x[0] = NAN


PAIRED = ("AE-conv", "SparseAE", "AdversarialAE", "VQVAE", "VQGAN", "VAE")


def both(rank: int, folder: str) -> None:
    """What each of two processes does."""
    os.environ |= {"LOCAL_RANK": str(rank), "RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    lines = []
    for number, (name, action) in enumerate(product(PAIRED, ("stop", "skip"))):
        torch.manual_seed(0)
        variant, guard = build(name), NonFinite(action)  # type: ignore[arg-type]
        runner = Trainer(
            accelerator="cpu", devices=2, strategy=DDPStrategy(process_group_backend="gloo"),
            max_epochs=1, limit_train_batches=4, limit_val_batches=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
            accumulate_grad_batches=1 + (number // 2 + number) % 2, callbacks=[Rank(), guard],
        )  # fmt: skip
        said = ""
        try:
            runner.fit(variant, digits(name, 16))
        except NonFiniteError as error:
            said = str(error)
        weights = torch.cat([value.double().flatten() for value in variant.state_dict().values()])
        assert weights.isfinite().all()
        lines.append(f"{name} {action} {guard.skipped} {weights.sum().item()!r} {said[:50]}")
    Path(folder, f"{rank}.txt").write_text("\n".join(lines))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_agree(tmp_path: Path) -> None:
    mp.spawn(both, (str(tmp_path),), nprocs=2)
    first, second = ((tmp_path / f"{rank}.txt").read_text().splitlines() for rank in range(2))
    assert first == second
    assert len(first) == 2 * len(PAIRED)
    for line in first:
        _, action, skipped, _, *said = line.split()
        assert int(skipped) == (action == "skip")
        assert " ".join(said).startswith("The input of batch 1 in epoch 0 is not finite") == (action == "stop")


@pytest.mark.slow
def test_two_processes_of_a_command_end_together(console: Console, tmp_path: Path) -> None:
    (tmp_path / "poison.py").write_text(POISON)
    pair = ("--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=64")
    done = console("fit", *RUN, *pair)
    assert done.status == 5, done.err
    assert done.err.count("The input of batch 2 in epoch 1 is not finite") == 1  # the first process alone says it
    assert load(tmp_path / "runs/vae/0/checkpoints/best.ckpt")["global_step"] == 11
