"""`lit_ae embed`: latents and codes in files, on one process and on several."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import Console, environment
from folders_for_tests import fill
from lit_ae.errors import DataError, NonFiniteError, RunError
from lit_ae.jobs.embedded import columns, finite, latents
from lit_ae.jobs.opening import opened
from lit_ae.jobs.rows import write_rows
from lit_ae.jobs.shards import part, say, wait
from lit_ae.models.coded import Coded
from variants import VARIANTS, batch_of, build


def expected(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Latents or codes of the test split, and labels."""
    run = opened(folder)
    batches = list(run.batches("test"))
    embed = run.model.codes if isinstance(run.model, Coded) else run.model.embed
    z = torch.cat([embed(batch.x, batch.c, batch.mask) for batch in batches])
    return z.numpy(), torch.cat([batch.y for batch in batches if batch.y is not None]).numpy()


@pytest.mark.parametrize("name", ["ae", "vae", "cvae", "plane", "vq", "residual", "categorical"])
def test_every_format_holds_the_same(name: str, trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    folder = trained_runs / name / "0"
    z, y = expected(folder)
    for suffix in (".npy", ".npz", ".parquet"):
        done = lit_ae("embed", str(folder), f"--out=z{suffix}")
        assert (done.status, done.err) == (0, "")
        what = "codes" if z.dtype.kind == "i" else "latents"
        assert done.out.splitlines()[0] == f"{what:8} z{suffix}"
        assert "bits per sample" in done.out.splitlines()[1]
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), z, atol=1e-6)
    archive, table = np.load(tmp_path / "z.npz"), pd.read_parquet(tmp_path / "z.parquet")
    np.testing.assert_allclose(archive["codes" if z.dtype.kind == "i" else "mean"], z, atol=1e-6)
    own = [column for column in table if column.startswith(("z", "code"))]
    np.testing.assert_allclose(table[own].to_numpy(), z.reshape(len(z), -1), atol=1e-6)
    for found in (archive, table):
        assert np.array_equal(found["index"], np.arange(len(z)))
        assert np.array_equal(found["label"], y)
    assert ("log_variance" in archive.files) == (name in ("vae", "cvae", "plane"))
    assert ("condition" in archive.files) == (name == "cvae")


def test_log_variances_are_the_posteriors() -> None:
    model, batch = build("VAE").eval(), batch_of("VAE", 5)
    found = latents(model, batch)
    torch.testing.assert_close(found["log_variance"], model.encode(batch.x).variance.log())


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_embeds(name: str, tmp_path: Path) -> None:
    model, batch = build(name).eval(), batch_of(name, 3)
    with torch.no_grad():
        found = {key: values.detach().numpy() for key, values in latents(model, batch).items()}
    write_rows(tmp_path / "z.parquet", iter([found, found]), columns(model))
    table = pd.read_parquet(tmp_path / "z.parquet")
    assert len(table) == 6
    assert len(table.columns) == sum(values[0].size for values in found.values())
    assert len(set(table.columns)) == len(table.columns)


def test_wide_latents_are_lists(tmp_path: Path) -> None:
    z = np.random.default_rng(0).normal(size=(4, 40, 50)).astype(np.float32)
    write_rows(tmp_path / "z.parquet", iter([{"index": np.arange(4), "z": z}]))
    table = pd.read_parquet(tmp_path / "z.parquet")
    assert list(table) == ["index", "z"]
    assert np.array_equal(np.stack(list(table["z"])), z.reshape(4, -1))


def test_two_processes_lose_and_repeat_nothing(
    trained_runs: Path, console: Console, lit_ae: Console, tmp_path: Path
) -> None:
    folder = str(trained_runs / "vae" / "0")
    arguments = ("--batch_size=7", "--split=val")  # 143 samples: neither 7 nor 2 divides them
    assert lit_ae("embed", folder, "--out=one.parquet", *arguments).status == 0
    done = console("embed", folder, "--out=two.parquet", *arguments, "--processes=2")
    assert (done.status, done.err) == (0, "")
    assert done.out.count("\n") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.parquet", "two.parquet"]
    assert pd.read_parquet(tmp_path / "one.parquet").equals(pd.read_parquet(tmp_path / "two.parquet"))


@pytest.mark.slow
def test_torchrun(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    folder = str(trained_runs / "ae" / "0")
    assert lit_ae("embed", folder, "--out=one.npy", "--batch_size=50").status == 0
    command = ["torch.distributed.run", "--nproc_per_node=2", "-m", "lit_ae", "embed", folder, "--out=two.npy"]
    done = subprocess.run(
        [sys.executable, "-m", *command, "--batch_size=50"], cwd=tmp_path, env=environment(), capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "one.npy").read_bytes() == (tmp_path / "two.npy").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
def test_more_processes_than_batches(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    folder = str(trained_runs / "plane" / "0")  # 25 test points
    assert lit_ae("embed", folder, "--out=z.npy", "--processes=2").status == 0
    assert len(np.load(tmp_path / "z.npy")) == 25


def test_a_process_that_died_is_no_hang(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    host = os.uname().nodename
    say(tmp_path / "1.alive", {"pid": child.pid, "host": host, "beat": 3})
    start = time.monotonic()
    with pytest.raises(RunError, match="Process 1 of 2 died: nothing was written"):
        wait(tmp_path, 2)
    assert time.monotonic() - start < 30


def test_what_went_wrong_in_another_process_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a hole"), part(tmp_path, 1):
        raise DataError("There is a hole in x.")
    with pytest.raises(DataError, match="Process 1 of 2: There is a hole in x"):
        wait(tmp_path, 2)


def test_names_of_files_are_kept(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    fill(tmp_path / "new", {"3": 5, "7": 6})
    folder = str(trained_runs / "ae" / "0")
    for suffix in (".parquet", ".npz"):
        assert lit_ae("embed", folder, "--data=new", f"--out=z{suffix}", "--batch_size=4").status == 0
    names = [f"3/{i:03d}.png" for i in range(5)] + [f"7/{i:03d}.png" for i in range(6)]
    archive, table = np.load(tmp_path / "z.npz"), pd.read_parquet(tmp_path / "z.parquet")
    assert archive["name"].tolist() == table["name"].tolist() == names
    assert archive["label"].tolist() == table["label"].tolist() == [3] * 5 + [7] * 6


def test_smaller_numbers_where_wanted(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    done = lit_ae("embed", str(trained_runs / "ae" / "0"), "--out=z.npy", "--dtype=float16")
    assert np.load(tmp_path / "z.npy").dtype == np.float16
    assert "256 bits per sample (16 x 16), " in done.out
    assert done.out.rstrip().endswith("512 in the data, ratio 2")


def test_no_latent_that_is_not_finite_is_written() -> None:
    values = np.array([[0.0], [1.0], [np.inf]])
    with pytest.raises(NonFiniteError, match=r"Sample 7 \(7\.png\) has a latent that is no finite number"):
        finite(values, 5, lambda row: f"{row}.png")


BAD = {
    "suffix": (("--out=z.txt",), 2, "name a file that ends in .parquet, .npz, .npy"),
    "both": (("--out=z.npy", "--data=new", "--split=val"), 2, "leave it out, or --data"),
    "missing": (("--out=z.npy", "--data=new"), 3, "There is no new"),
    "there": (("--out=there.npy",), 2, "add --overwrite to write it anew"),
    "none": ((), 2, "--out"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str, trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    (tmp_path / "there.npy").write_bytes(b"mine")
    arguments, status, said = BAD[name]
    done = lit_ae("embed", str(trained_runs / "ae" / "0"), *arguments)
    assert done.status == status
    assert said in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["there.npy"]
    assert (tmp_path / "there.npy").read_bytes() == b"mine"


def test_a_failure_on_the_way_leaves_nothing(trained_runs: Path, lit_ae: Console, tmp_path: Path) -> None:
    x = np.zeros((300, 8, 8), np.float32)
    x[290] = np.nan
    np.save(tmp_path / "x.npy", x)
    for suffix in (".parquet", ".npz", ".npy"):
        done = lit_ae("embed", str(trained_runs / "ae" / "0"), "--data=x.npy", f"--out=z{suffix}")
        assert done.status == 3
        assert "sample 290" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


PEAK = """
import sys
from lit_ae.cli import main
assert main(sys.argv[1:]) == 0
status = open("/proc/self/status").read()  # getrusage's maximum starts at the parent's
print("peak", status.split("VmHWM:")[1].split()[0])
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
def test_memory_does_not_grow_with_the_data(suffix: str, trained_runs: Path, tmp_path: Path) -> None:
    peaks = []
    for n in (1_000, 2_000_000):
        x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (n, 1, 8, 8))
        del x
        command = ["embed", str(trained_runs / "ae" / "0"), "--data=x.npy", f"--out={n}{suffix}", "--batch_size=2000"]
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *command], cwd=tmp_path, env=environment(), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout.split()[-1]) / 1024)
    assert peaks[1] - peaks[0] < 200  # MiB; the samples have 122, their latents as many
