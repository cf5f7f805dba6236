"""Signals: before training begins, a second Ctrl-C, and one that only one of two processes has heard."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lightning.pytorch import Trainer

from conftest import QUICK, Console, environment
from datamodules.digits import Digits
from lit_ae.keeping import Checkpoint
from lit_ae.models.ae import AE
from lit_ae.storage import load

PLAIN = ("--config=vae", "--trainer.callbacks=[]", *QUICK)
EARLY = """
import os
import signal
from lightning.pytorch import Callback

class Early(Callback):
    def __init__(self, hook: str, number: int):
        self.hook, self.number = hook, number
    def setup(self, trainer, pl_module, stage):
        self.come("setup")
    def on_sanity_check_end(self, trainer, pl_module):
        self.come("sanity check")
    def come(self, hook):
        if hook == self.hook and not os.path.exists("come"):
            open("come", "w").close()
            os.kill(os.getpid(), self.number)
"""


@pytest.mark.parametrize(
    ("hook", "number", "status", "word"),
    [("setup", signal.SIGINT, 130, "interrupted"), ("sanity check", signal.SIGTERM, 143, "terminated")],
)
def test_a_stop_before_training_begins_and_the_run_that_starts_over(
    hook: str, number: int, status: int, word: str, lit_ae: Console, tmp_path: Path
) -> None:
    (tmp_path / "early.py").write_text(EARLY)
    once = ("--trainer.callbacks+=early.Early", f"--trainer.callbacks.hook={hook}")
    once += (f"--trainer.callbacks.number={int(number)}", "--trainer.max_epochs=1")
    done = lit_ae("fit", *PLAIN, *once)
    assert (done.status, done.err.splitlines()[-1]) == (status, f"lit_ae: {word} before training began.")
    assert not list(tmp_path.rglob("*.ckpt"))
    again = lit_ae("fit", *PLAIN, *once, "--ckpt_path=last")
    assert again.status == 0, again.err
    assert "ended before its first checkpoint: it starts over" in again.err
    assert len(list(tmp_path.glob("runs/vae/*/checkpoints/last.ckpt"))) == 1


BATCH = """
import os, signal
from lightning.pytorch import Callback

class Batch(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.parametrize(
    ("flag", "said"),
    [("fast_dev_run=3", "this was a trial"), ("enable_checkpointing=false", "--trainer.enable_checkpointing is false")],
)
def test_a_stop_of_training_that_saves_nothing(flag: str, said: str, lit_ae: Console, tmp_path: Path) -> None:
    (tmp_path / "batch.py").write_text(BATCH)
    done = lit_ae("fit", *PLAIN, f"--trainer.{flag}", "--trainer.callbacks+=batch.Batch")
    assert done.status == 143, done.err
    assert f"Stopped: nothing was saved, as {said}" in done.err
    assert "Traceback" not in done.err
    assert not list(tmp_path.glob("runs/vae/0/*")) or "checkpointing" in flag


def test_a_stop_of_a_command_stops_no_training_after_it_in_the_same_process(lit_ae: Console, tmp_path: Path) -> None:
    (tmp_path / "batch.py").write_text(BATCH)
    assert lit_ae("fit", *PLAIN, "--trainer.callbacks+=batch.Batch").status == 143
    trainer = Trainer(
        accelerator="cpu", max_epochs=2, logger=False, callbacks=[Checkpoint(tmp_path)], enable_progress_bar=False
    )
    data = Digits(batch_size=512)
    trainer.fit(AE(spec=data.spec, latent_dim=2), datamodule=data)
    assert trainer.current_epoch == 2


TWICE = """
import os, signal, sys
from lit_ae import stopping

os.environ["SLURM_JOB_ID"] = "1"
with stopping.handled():
    stopping.hold()
    for number in map(int, sys.argv[1:]):
        os.kill(os.getpid(), number)
    print(f"noted {stopping.noted()}")
"""


@pytest.mark.parametrize(
    ("numbers", "status", "said"),
    [
        ([signal.SIGINT], 0, "noted 2"),
        ([signal.SIGINT, signal.SIGTERM], 0, "noted 15"),
        ([signal.SIGINT, signal.SIGINT], 130, "stopped at once: nothing was saved"),
        ([signal.SIGTERM, signal.SIGINT, signal.SIGINT], 130, "stopped at once: nothing was saved"),
        ([signal.SIGUSR1, signal.SIGINT], 0, "noted 2"),  # SLURM's, where nobody asked to be queued again
    ],
    ids=str,
)
def test_a_second_ctrl_c_stops_at_once(numbers: list[int], status: int, said: str) -> None:
    arguments = [str(int(number)) for number in numbers]
    command = [sys.executable, "-c", TWICE, *arguments]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == status
    assert said in done.stdout + done.stderr


HEARD = """
import os
import signal
from lightning.pytorch import Callback

class Heard(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_rank == 1 and trainer.current_epoch == 3 and batch_idx == 2:
            os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.slow
def test_processes_agree_to_stop_where_only_one_has_heard_of_it(console: Console, tmp_path: Path) -> None:
    (tmp_path / "heard.py").write_text(HEARD)
    pair = ("--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.callbacks+=heard.Heard")
    done = console("fit", *PLAIN, *pair, "--trainer.max_epochs=100000")
    assert done.status == 143, done.err
    assert "Traceback" not in done.err
    assert done.err.count("Stopped: go on with lit_ae fit --ckpt_path runs/vae/0") == 1
    kept = load(tmp_path / "runs/vae/0/checkpoints/last.ckpt")
    assert kept["epoch"] >= 3
    assert len(kept["lit_ae"]["generators"]) == 2
