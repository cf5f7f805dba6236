"""Checkpoint files: sealed while they are written, looked at before they are opened."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import struct
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from lit_ae import storage
from lit_ae.allowed import Tensor
from lit_ae.archive import Damaged
from lit_ae.bounded import bounded
from lit_ae.checked import newest, opened, steps
from lit_ae.errors import ConfigError, RunError
from lit_ae.models.vae import VAE
from variants import SMALL, SPEC

HELD = {
    "global_step": 3,
    "state_dict": OrderedDict(w=torch.arange(6.0).reshape(2, 3), b=torch.zeros(0), half=torch.ones(2).half()),
    "hyper_parameters": {"lr": 1e-3, "name": "é", "big": 2**40, "seed": 2**63, "none": None, "pair": (1, -2)},
    "callbacks": {"counts": Counter({5: 2}), "seen": {1, 2}, "raw": b"\0\xff", "size": torch.Size([1, 2])},
    "dtype": torch.float32,
}


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    storage.save(tmp_path / "last.ckpt", HELD)
    return tmp_path / "last.ckpt"


def test_torch_reads_a_sealed_file_and_so_do_we(sealed: Path) -> None:
    for held in (torch.load(sealed, weights_only=True), storage.load(sealed)):
        assert torch.equal(held["state_dict"]["w"], HELD["state_dict"]["w"])  # type: ignore[index]
        assert held["hyper_parameters"] == HELD["hyper_parameters"]
        assert held["callbacks"] == HELD["callbacks"]
    assert zipfile.is_zipfile(sealed)


def test_what_is_in_a_file_is_known_without_torch(sealed: Path) -> None:
    with opened(sealed) as found:
        document: Any = found.document
    assert document["state_dict"]["w"] == Tensor((2, 3), 24)
    assert document["hyper_parameters"] == HELD["hyper_parameters"]
    assert document["callbacks"]["counts"] == {5: 2}
    assert document["callbacks"]["raw"] == b"\0\xff"


def test_every_byte_counts(sealed: Path) -> None:
    content = sealed.read_bytes()
    for place in [*range(0, len(content), 97), *range(len(content) - 180, len(content), 3)]:
        sealed.write_bytes(content[:place] + bytes([content[place] ^ 0x20]) + content[place + 1 :])
        assert steps(sealed) is None, place
    for place in [*range(0, len(content), 201), *range(len(content) - 180, len(content), 3)]:
        sealed.write_bytes(content[:place])
        assert steps(sealed) is None, place
    sealed.write_bytes(content + b"\0")
    assert steps(sealed) is None
    sealed.write_bytes(content)
    assert steps(sealed) == 3


def test_weights_may_be_tied_but_one_tensor_has_no_hundred_names(tmp_path: Path) -> None:
    tied = torch.randn(1000, 1000)
    storage.save(tmp_path / "last.ckpt", {"state_dict": {str(number): tied for number in range(8)}})
    assert len(storage.load(tmp_path / "last.ckpt")["state_dict"]) == 8
    with pytest.raises(ConfigError, match="more memory than its size accounts for"):
        storage.save(tmp_path / "odd.ckpt", {"state_dict": {str(number): tied for number in range(100)}})


def test_a_file_without_a_digest_is_named_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "old.ckpt"
    torch.save(HELD, path)
    storage.load(path)
    storage.load(path)
    assert capsys.readouterr().err.count(f"{path} has no digest") == 1
    content = bytearray(path.read_bytes())
    content[content.index(struct.pack("<f", 5.0))] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match="checksums"):
        storage.load(path)


def test_the_way_out_is_a_sound_file_beside(sealed: Path) -> None:
    shutil.copy(sealed, sealed.with_name("previous.ckpt"))
    sealed.with_name("best.ckpt").write_bytes(b"")
    sealed.write_bytes(b"junk")
    with pytest.raises(RunError, match=r"previous\.ckpt, which is sound"):
        storage.load(sealed)


def test_the_newest_sound_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert newest(tmp_path) is None
    for name, step in {"last": 9, "previous": 6, "best": 3}.items():
        storage.save(tmp_path / f"{name}.ckpt", {"global_step": step})
    assert newest(tmp_path) == tmp_path / "last.ckpt"
    assert capsys.readouterr().err == ""
    (tmp_path / "last.ckpt").write_bytes(b"")
    assert newest(tmp_path) == tmp_path / "previous.ckpt"
    assert "last.ckpt is damaged (it is empty): going on from" in capsys.readouterr().err
    assert steps(tmp_path / "last.ckpt") == 6  # it was mended
    assert (tmp_path / "last.ckpt.damaged").read_bytes() == b""
    for path in tmp_path.glob("*.ckpt"):
        path.unlink()
        path.write_bytes(b"no")
    with pytest.raises(RunError, match="no other in"):
        newest(tmp_path)


def test_the_checkpoint_before_stays_where_it_is_sound(tmp_path: Path) -> None:
    last, previous = tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    writer = storage.AtomicCheckpointIO()
    for step in (1, 2, 3):
        writer.save_checkpoint({"global_step": step}, last)
    assert (steps(last), steps(previous)) == (3, 2)
    last.unlink()
    last.write_bytes(b"damaged")
    storage.AtomicCheckpointIO().save_checkpoint({"global_step": 4}, last)
    assert (steps(last), steps(previous)) == (4, 2)
    assert {path.name for path in tmp_path.iterdir()} == {"last.ckpt", "previous.ckpt"}


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any) -> None:
        raise OSError("no links")

    monkeypatch.setattr(os, "link", refused)
    writer = storage.AtomicCheckpointIO()
    for step in (1, 2):
        writer.save_checkpoint({"global_step": step}, tmp_path / "last.ckpt")
    assert steps(tmp_path / "last.ckpt") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_what_could_not_be_opened_again_is_not_written(tmp_path: Path) -> None:
    writer = storage.AtomicCheckpointIO()
    writer.save_checkpoint({"global_step": 1}, tmp_path / "last.ckpt")
    with pytest.raises(ConfigError, match=r"pathlib.*Leave out the callback"):
        writer.save_checkpoint({"callbacks": {"mine": tmp_path}}, tmp_path / "last.ckpt")
    assert steps(tmp_path / "last.ckpt") == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_only_checkpoints_of_the_run_are_removed(tmp_path: Path) -> None:
    writer = storage.AtomicCheckpointIO()
    run, other = tmp_path / "run", tmp_path / "other.ckpt"
    other.write_text("precious")
    writer.remove_checkpoint(other)
    writer.save_checkpoint({"global_step": 1}, run / "a.ckpt")
    writer.save_checkpoint({"global_step": 1}, run / "b.ckpt")
    (run / "notes.txt").write_text("precious")
    for path in (other, run / ".." / "other.ckpt", run / "notes.txt", run):
        writer.remove_checkpoint(path)
    assert other.exists()
    assert (run / "notes.txt").exists()
    writer.remove_checkpoint(run / "a.ckpt")
    assert not (run / "a.ckpt").exists()


@pytest.mark.parametrize("url", ["http://host/x.ckpt", "s3://bucket/x.ckpt", "file:///x.ckpt"])
def test_remote_files_are_refused(url: str) -> None:
    for call in (storage.load, VAE.load_from_checkpoint):
        with pytest.raises(RunError, match="lies on another machine"):
            call(url)


def test_a_seal_is_of_the_bytes_whatever_their_portions(tmp_path: Path) -> None:
    from lit_ae.sealed import COMMENT, Seal, sealed

    plain = io.BytesIO()
    torch.save({"w": torch.arange(5)}, plain)
    ends = []
    for portion in (1, 2, 3, 1000):
        sink = io.BytesIO()
        seal = Seal(sink)
        for start in range(0, len(plain.getvalue()), portion):
            seal.write(plain.getvalue()[start : start + portion])
        seal.seal()
        ends.append(sink.getvalue())
        assert sealed(sink, len(sink.getvalue()))
    assert len(set(ends)) == 1
    assert ends[0][: -COMMENT - 2] == plain.getvalue()[:-2]


def test_instructions_of_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    torch.save({"x": os.path.join}, path)
    with pytest.raises(RunError, match=r"asks for 'posixpath.join'"):
        storage.load(path)
    path.write_bytes(pickle.dumps({"x": 1}))
    with pytest.raises(RunError, match="no file of torch's"):
        storage.load(path)


def test_a_model_is_no_larger_than_its_file(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    storage.save(path, {"state_dict": {}})
    with bounded(path, {"latent_dim": 4}):
        torch.manual_seed(0)
        bound = VAE(spec=SPEC, **SMALL)
    torch.manual_seed(0)
    assert torch.equal(next(bound.parameters()), next(VAE(spec=SPEC, **SMALL).parameters()))
    for make in (lambda: torch.nn.Linear(10_000, 10_000), lambda: [torch.nn.Linear(1, 1) for _ in range(9_999)]):
        with pytest.raises(RunError, match="account for"), bounded(path, {}):
            make()
    with pytest.raises(RunError, match="whose blocks is"), bounded(path, {"net": {"blocks": [10**12]}}):
        pass


def test_a_damaged_state_is_no_error_of_a_pickle(sealed: Path) -> None:
    with sealed.open("rb") as file:
        from lit_ae.archive import records
        from lit_ae.sealed import COMMENT

        with pytest.raises(Damaged, match="cut"):
            records(file, sealed.stat().st_size - 1, COMMENT)
