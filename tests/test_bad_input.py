"""Every mistake of a user ends in one short message and a status, with nothing written."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import QUICK, SCRIPT, Console, environment

CONFIGS = {
    "syntax.yaml": "model:\n  class_path: VAE\n  init_args: {latent_dim: 2\n",
    "nested.yaml": "model:\n  class_path: VAE\n  init_args:\n    encoder:\n      class_path: MLPEncoder\n"
    "      init_args:\n        hiden: [3]\n",
    "callback.yaml": "trainer:\n  callbacks:\n    - class_path: KLAnealing\n",
    "transform.yaml": "data:\n  class_path: Digits\n  init_args:\n    transforms:\n"
    "      - class_path: DynamicBinarise\n",
    "key.yaml": "trianer:\n  max_epochs: 3\n",
    "words.yaml": "just words\n",
    "empty.yaml": "",
    "scaled.yaml": "data:\n  class_path: Digits\n  init_args:\n    transforms:\n      - class_path: Scale\n",
}
GECO = "--trainer.callbacks+=GECO --trainer.callbacks.target=0.1"
TABLE = [
    ("fti", 2, "did you mean 'fit'?"),
    ("fit --model VEA", 2, "did you mean 'VAE'?"),
    ("fit --model.latent_dmi 3", 2, "VAE has no key 'latent_dmi': did you mean 'latent_dim'?"),
    ("fit --model.latent_dim three", 2, "model.latent_dim: 'three' does not fit: give int"),
    ("fit --model.latent_dim 0", 2, "--model.latent_dim"),
    ("fit --model.encoder MLPEncodr", 2, "did you mean 'MLPEncoder'?"),
    ("fit --model.encoder.hiden 3", 2, "MLPEncoder has no key 'hiden': did you mean 'hidden'?"),
    ("fit --model.likelihood Bernouli", 2, "did you mean 'Bernoulli'?"),
    ("fit --model.optimizer Adm", 2, "did you mean 'Adam'?"),
    ("fit --model.optimizer.lr abc", 2, "model.optimizer.lr: 'abc' does not fit: give float"),
    ("fit --model.optimizer.lr -1", 2, "--model.optimizer: Invalid learning rate"),
    ("fit --model.lr_scheduler ReduceLROnPlateau", 2, "in full, torch.optim.lr_scheduler.ReduceLROnPlateau"),
    ("fit --model SparseAE --model.rho 1.5", 2, "set --model.rho, a rate of activation, between 0 and 1"),
    ("fit --model SparseAE --model.penalty topk --model.k 99", 2, "set --model.k from 1 to latent_dim, which is"),
    ("fit --model DenoisingAE --model.noise speckle", 2, "give 'gaussian' or 'masking' or 'salt_and_pepper'"),
    ("fit --model TargetProp --model.optimizer torch.optim.LBFGS", 2, "which several players cannot"),
    ("fit --data Digit", 2, "did you mean 'Digits'?"),
    ("fit --data.batch_size 0", 2, "--data.batch_size is 0"),
    ("fit --data.batch_size 5000", 2, "larger than the 1,294 training samples"),
    ("fit --data.resident disk", 2, "data.resident: 'disk' does not fit: give 'host' or 'device'"),
    ("fit --trainer.max_epoch 3", 2, "did you mean '--trainer.max_epochs'?"),
    ("fit --trainer.max_epochs many", 2, "trainer.max_epochs: 'many' does not fit: give int"),
    ("fit --trainer.precision bf17-mixed", 2, "did you mean 'bf16-mixed'?"),
    ("fit --trainer.accelerator gpus", 2, "gpus"),
    ("fit --trainer.devices 0 --trainer.accelerator cpu", 2, "devices"),
    ("fit --trainer.callbacks+=EarlyStopping", 2, "monitor must be given"),
    (f"fit {GECO} {GECO}", 2, "more than one stateful callback of type `GECO`: leave one out"),
    ("fit --trainer.callbacks+=KLAnealing", 2, "did you mean 'KLAnnealing'?"),
    ("fit --trainer.logger+=CSVLoger", 2, "did you mean 'CSVLogger'?"),
    ("fit extra", 2, "Unexpected argument 'extra'"),
    ("fit --config", 2, "--config needs a value"),
    ("fit --config vea", 2, "did you mean 'vae'?"),
    ("fit --config missing/vae.yaml", 2, "did you mean 'vae'?"),
    ("fit --config syntax.yaml", 2, "syntax.yaml is not valid YAML at line 4"),
    ("fit --config words.yaml", 2, "words.yaml holds no keys"),
    ("fit --config empty.yaml", 2, "empty.yaml is empty"),
    ("fit --config binary.yaml", 2, "binary.yaml is not a text file"),
    ("fit --config nested.yaml", 2, "did you mean 'hidden'? (in nested.yaml)"),
    ("fit --config callback.yaml", 2, "did you mean 'KLAnnealing'? (in callback.yaml)"),
    ("fit --config transform.yaml", 2, "did you mean 'DynamicBinarize'? (in transform.yaml)"),
    ("fit --config vae --config key.yaml", 2, "did you mean 'trainer'? (in key.yaml)"),
    ("fit --config vae --config scaled.yaml", 2, "DiscretizedLogistic is a likelihood of values in [0, 1]"),
    ("fit --data MNIST", 3, "train-images-idx3-ubyte  (missing)"),
    ("fit --seed_everything=-1", 2, "give a number from 0 to 4,294,967,295"),
    ("fit --seed_everything=4294967296", 2, "give a number from 0 to 4,294,967,295"),
    ("x" * 5000, 2, "There is no command"),
    ("fit --runs file/below", 6, "set --runs"),
    ("test", 2, "Which run?"),
    ("test missing", 4, "There is no run in missing"),
    ("fit --ckpt_path=", 2, "--ckpt_path needs a value"),
    ("fit --ckpt_path missing", 4, "There is no run in missing"),
    ("fit --ckpt_path missing.ckpt", 4, "There is no checkpoint missing.ckpt"),
    ("fit --ckpt_path last", 4, "There is no run to continue"),
]


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    for name, text in CONFIGS.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    (tmp_path / "file").write_text("not a folder")


@pytest.mark.parametrize(("line", "status", "text"), TABLE, ids=[line[:80] for line, _, _ in TABLE])
def test_a_mistake_is_one_short_message_and_nothing_is_written(
    line: str, status: int, text: str, lit_ae: Console, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = lit_ae(*line.split())
    assert done.status == status, done.err
    assert text in done.err
    assert len(done.err.strip().splitlines()) <= 10
    assert len(done.err) < 4000
    assert "Traceback" not in done.err
    assert done.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_the_file_that_holds_the_mistake_is_named_and_no_other(lit_ae: Console) -> None:
    err = lit_ae("fit", "--config", "vae", "--data", "Digit").err
    assert "(in " not in err


def test_a_table_outside_the_unit_interval_is_not_for_a_bernoulli(lit_ae: Console, tmp_path: Path) -> None:
    np.save(tmp_path / "table.npy", np.random.default_rng(0).normal(size=(200, 5)).astype("float32"))
    done = lit_ae("fit", "--model=VAE", "--model.likelihood=Bernoulli", "--data=Arrays", "--data.path=table.npy")
    assert done.status == 2, done.err
    assert "Bernoulli is a likelihood of values in [0, 1]" in done.err
    assert not (tmp_path / "runs").exists()


def test_grey_values_under_a_bernoulli_are_a_warning(lit_ae: Console) -> None:
    with pytest.warns(UserWarning, match="Bernoulli"):
        done = lit_ae("fit", "--model=VAE", "--model.likelihood=Bernoulli", "--trainer.fast_dev_run=true", *QUICK)
    assert done.status == 0


def test_a_new_run_never_takes_the_folder_of_another(lit_ae: Console, tmp_path: Path) -> None:
    kept = tmp_path / "runs/vae/0/checkpoints/last.ckpt"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    assert lit_ae("fit", "--config=vae", "--trainer.max_epochs=1", "--trainer.callbacks=[]", *QUICK).status == 0
    assert kept.read_text() == "mine"
    assert (tmp_path / "runs/vae/1/checkpoints/last.ckpt").is_file()


@pytest.mark.parametrize(("line", "status"), [("fit --model VEA", 2), ("fit --data MNIST", 3), ("test missing", 4)])
def test_statuses_of_a_real_process(line: str, status: int, console: Console) -> None:
    done = console(*line.split())
    assert done.status == status
    assert done.out == ""
    assert done.err.startswith("lit_ae: ")
    assert len(done.err.strip().splitlines()) <= 10


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as on a full disk, writing fails instead of ending the process
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from lit_ae.cli import main
sys.exit(main(sys.argv[2:]))
"""


def limited(size: int, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that cannot write files larger than this."""
    command = [str(SCRIPT.parent / "python"), "-c", LIMITED, str(size), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("size", [300, 10_000], ids=["the table of metrics", "the checkpoint"])
def test_a_full_disk_leaves_the_last_good_checkpoint(size: int, trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs/vae/0"
    run.parent.mkdir(parents=True)
    subprocess.run(["cp", "-r", str(trained), str(run)], check=True)
    before = (run / "checkpoints/last.ckpt").read_bytes()
    done = limited(size, "fit", "--ckpt_path", str(run), "--trainer.max_epochs=3", cwd=tmp_path)
    assert done.returncode == 6, done.stderr
    assert "free space on the disk" in done.stderr
    assert "Traceback" not in done.stderr
    assert (run / "checkpoints/last.ckpt").read_bytes() == before
    assert not list(run.rglob("*.partial"))
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["epoch"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_a_stopped_run_can_be_continued(number: int, status: int, console: Console, tmp_path: Path) -> None:
    command = [str(SCRIPT), "fit", "--config=vae", "--trainer.callbacks=[]", "--trainer.max_epochs=5000", *QUICK]
    with (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=err, stderr=err)
        last = tmp_path / "runs/vae/0/checkpoints/last.ckpt"
        for _ in range(600):
            if last.is_file():
                break
            time.sleep(0.1)
        process.send_signal(number)
        assert process.wait(60) == status, (tmp_path / "err").read_text()
    text = (tmp_path / "err").read_text()
    assert "Traceback" not in text
    assert f"go on with lit_ae fit --ckpt_path {Path('runs/vae/0')}" in text
    epoch = torch.load(last, weights_only=True)["epoch"]
    done = console("fit", "--ckpt_path=last", f"--trainer.max_epochs={epoch + 2}")
    assert done.status == 0, done.err
    assert torch.load(last, weights_only=True)["epoch"] == epoch + 1
    assert os.listdir(tmp_path / "runs/vae") == ["0"]
