"""A user's own sequences: every layout gives the same batches, padding says nothing, and mistakes are named."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from conftest import Console
from datamodules import Sequences
from lit_ae.batch import ConfigError, DataError
from tables_for_tests import samples, there
from test_data_arrays_errors import without

N, F, T = 50, 3, 12
RANDOM = np.random.default_rng(0)
LENGTHS = RANDOM.integers(2, T + 1, N)
LENGTHS[7] = T
STEPS = [RANDOM.normal(5, 3, (length, F)) for length in LENGTHS]
Y = np.arange(N) % 4


def padded(fill: float = 0.0, steps: list[np.ndarray] = STEPS, room: int = T) -> np.ndarray:
    values = np.full((len(steps), room, steps[0].shape[1]), fill)
    for row, sequence in zip(values, steps, strict=True):
        row[: len(sequence)] = sequence
    return values


def lists(steps: list[np.ndarray] = STEPS) -> dict[str, Any]:
    return {name: [sequence[:, i].tolist() for sequence in steps] for i, name in enumerate("abc")}


def save(path: Path, **arrays: Any) -> str:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        parquet.write_table(pa.table(arrays), path)
    return str(path)


def sequences(path: str, **kwargs: Any) -> Sequences:
    return Sequences(path=path, **{"batch_size": 8, **kwargs})


def layouts(folder: Path) -> dict[str, str]:
    nested = [sequence.tolist() for sequence in STEPS]
    return {
        "padded": save(folder / "p.npz", values=padded(), lengths=LENGTHS, y=Y),
        "room to spare": save(folder / "r.npz", values=padded(9.0, room=30), lengths=LENGTHS.astype(float), y=Y),
        "one after another": save(folder / "c.npz", values=np.concatenate(STEPS), lengths=LENGTHS, y=Y),
        "lists": save(folder / "l.parquet", **lists(), y=Y, note=["word"] * N),
        "lists of lists": save(folder / "n.parquet", y=Y, steps=nested),
        "lists of fixed size": save(
            folder / "f.parquet", y=Y, steps=pa.array(nested, pa.list_(pa.list_(pa.float64(), F)))
        ),
    }


def test_every_layout_gives_the_same_batches(tmp_path: Path) -> None:
    made = {name: sequences(path, label="y") for name, path in layouts(tmp_path).items()}
    first = made.pop("padded")
    assert first.spec.input_shape == (F, T)
    assert (first.spec.num_classes, first.spec.columns, first.spec.num_train) == (4, None, 41)
    for name, data in made.items():
        assert data.spec == first.spec, name
        for split in ("train", "val", "test"):
            for one, two in zip(samples(first, split), samples(data, split), strict=True):
                assert (one is None and two is None) or torch.equal(there(one), there(two)), name
    assert first.column_names == ["values"]
    assert made["lists"].column_names == ["a", "b", "c"]


def test_x_is_channels_first_and_the_mask_says_what_was_there(tmp_path: Path) -> None:
    data = sequences(layouts(tmp_path)["padded"], standardize=False)
    batch = next(iter(data.train_dataloader()))
    assert there(batch.mask).dtype == torch.bool
    assert batch.x.shape == there(batch.mask).shape == (8, F, T)
    seen = 0
    for split in ("train", "val", "test"):
        x, y, c, mask = samples(data, split)
        assert c is None
        for row, label, kept in zip(x, there(y), there(mask), strict=True):
            length = int(kept[0].sum())
            assert kept[:, :length].all()
            assert not kept[:, length:].any()
            assert (row[:, length:] == 0).all()
            matches = [i for i in range(N) if LENGTHS[i] == length and np.allclose(STEPS[i].T, row[:, :length])]
            assert len(matches) == 1
            assert Y[matches[0]] == label
            seen += 1
    assert seen == N


@pytest.mark.parametrize("fill", [1e9, -7.5, np.nan, np.inf])
def test_padding_in_the_file_changes_nothing(tmp_path: Path, fill: float) -> None:
    plain = sequences(save(tmp_path / "a.npz", values=padded(), lengths=LENGTHS))
    other = sequences(save(tmp_path / "b.npz", values=padded(fill), lengths=LENGTHS))
    assert plain.spec == other.spec
    assert torch.equal(plain.mean, other.mean)
    assert torch.equal(plain.std, other.std)
    for split in ("train", "val", "test"):
        assert torch.equal(samples(plain, split).x, samples(other, split).x)
        assert torch.equal(there(samples(plain, split).mask), there(samples(other, split).mask))
    one = sequences(save(tmp_path / "1.npz", values=padded(fill)[..., 0], lengths=LENGTHS))
    assert torch.equal(samples(one).x, samples(plain).x[:, :1])


def test_features_are_standardised_over_the_observed_training_steps(tmp_path: Path) -> None:
    data = sequences(layouts(tmp_path)["padded"])
    x, _, _, mask = samples(data)
    kept = there(mask)[:, 0]
    steps = x.swapaxes(1, 2)[kept]
    torch.testing.assert_close(steps.mean(0), torch.zeros(F), atol=1e-6, rtol=0)
    torch.testing.assert_close(steps.var(0, correction=0), torch.ones(F), atol=1e-5, rtol=0)
    assert (x.swapaxes(1, 2)[~kept] == 0).all()
    assert data.mean.shape == data.std.shape == (F, 1)
    raw = samples(sequences(layouts(tmp_path)["padded"], standardize=False)).x
    torch.testing.assert_close((x * data.std + data.mean).where(there(mask), 0.0), raw, rtol=1e-5, atol=1e-5)
    assert data.spec.value_range == (steps.min().item(), steps.max().item())


def test_sequences_are_cut_and_padded_to_max_length(tmp_path: Path) -> None:
    path = layouts(tmp_path)["padded"]
    long, short = sequences(path, max_length=20), sequences(path, max_length=5, standardize=False)
    assert (long.spec.input_shape, short.spec.input_shape) == ((F, 20), (F, 5))
    assert torch.equal(samples(long).x[..., :T], samples(sequences(path)).x)
    assert not there(samples(long).mask)[..., T:].any()
    assert torch.equal(samples(short).x, samples(sequences(path, standardize=False)).x[..., :5])
    cut = sequences(path, max_length=5)
    steps = samples(cut).x.swapaxes(1, 2)[there(samples(cut).mask)[:, 0]]
    torch.testing.assert_close(steps.mean(0), torch.zeros(F), atol=1e-6, rtol=0)


def test_a_test_file_is_read_as_the_training_file(tmp_path: Path) -> None:
    longer = [np.concatenate([sequence, sequence]) + 1 for sequence in STEPS]
    test = save(tmp_path / "t.parquet", **lists(longer), y=(Y % 2))
    train = layouts(tmp_path)["lists"]
    data = sequences(train, test_path=test, label="y")
    assert data.spec.input_shape == (F, 2 * T)
    assert data.spec.num_train == 45
    x, y, _, mask = samples(data, "test")
    assert there(mask)[:, 0].sum(1).tolist() == (2 * LENGTHS).tolist()
    raw = x * data.std + data.mean
    torch.testing.assert_close(raw[7].T, torch.from_numpy(longer[7]).float(), rtol=1e-4, atol=1e-4)
    assert there(y).tolist() == (Y % 2).tolist()


def test_what_needs_no_lengths_and_what_can_be_named(tmp_path: Path) -> None:
    even = RANDOM.normal(size=(N, 6, 2))
    data = sequences(save(tmp_path / "e.npz", values=even, other=even[..., 0], lengths=np.full(N, 6)))
    assert torch.equal(samples(data).x, samples(sequences(save(tmp_path / "f.npz", values=even))).x)
    assert there(samples(data).mask).all()
    both = sequences(str(tmp_path / "e.npz"), columns=["values", "other"])
    assert both.spec.input_shape == (3, 6)
    path = layouts(tmp_path)["lists"]
    assert sequences(path, columns=["c", "a"]).spec.input_shape == (2, T)
    named = save(tmp_path / "w.parquet", **lists(), kind=[["odd", "even"][i % 2] for i in range(N)])
    data = sequences(named, label="kind", condition="label")
    assert data.spec.condition_shape == ()
    assert data.class_names == ["even", "odd"]
    whole = save(tmp_path / "i.parquet", a=[list(range(1, length + 1)) for length in LENGTHS])
    assert samples(sequences(whole, standardize=False)).x.max() == T


def no(kind: type[Exception], *words: str, **kwargs: Any) -> None:
    """Refused in one sentence that holds the words."""
    with pytest.raises(kind) as raised:  # noqa: PT012
        data = Sequences(batch_size=8, **kwargs)
        data.setup("fit")
        data.setup("test")
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    for word in words:
        assert word in message, message


def test_arrays_that_are_no_sequences_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"

    def bad(*words: str, kind: type[Exception] = DataError, **arrays: Any) -> None:
        np.savez(path, **arrays)
        no(kind, "s.npz", *words, path=str(path))

    ragged = np.array([sequence.tolist() for sequence in STEPS], dtype=object)
    bad("Python objects", "one after another", "lengths", values=ragged)
    bad("(321, 3)", "no 'lengths'", values=np.zeros((321, 3)))
    bad("no 'lengths'", values=np.zeros((N, T)))
    bad("row 4", "length -1", values=padded(), lengths=np.where(np.arange(N) == 4, -1, LENGTHS))
    bad("row 4", "length 0", "remove it", values=padded(), lengths=np.where(np.arange(N) == 4, 0, LENGTHS))
    bad("row 4", "length 13", "12 steps", values=padded(), lengths=np.where(np.arange(N) == 4, 13, LENGTHS))
    bad("row 3", "length 2.5", "whole", values=padded(), lengths=np.where(np.arange(N) == 3, 2.5, LENGTHS))
    bad("row 0", "length nan", values=padded(), lengths=np.full(N, np.nan))
    bad("'lengths'", "(50, 1)", values=padded(), lengths=LENGTHS[:, None])
    bad("'lengths'", "<U", values=padded(), lengths=LENGTHS.astype(str))
    bad("(50, 12, 3)", "49 lengths", values=padded(), lengths=LENGTHS[1:])
    bad(f"sum to {LENGTHS.sum()}", values=np.concatenate(STEPS)[1:], lengths=LENGTHS)
    bad("'values'", "(ΣT, F)", values=padded()[..., None], lengths=LENGTHS)
    bad("'values'", "<U", values=padded().astype(str), lengths=LENGTHS)
    bad("50 sequences but 49", "'y'", values=padded(), lengths=LENGTHS, y=Y[1:])
    bad("'values'", "--data.columns", kind=ConfigError, x=padded(), lengths=LENGTHS)
    for broken in (np.nan, np.inf):
        values = padded(np.nan)
        values[7, 3, 1] = broken
        bad("row 7", "step 3 of feature 1", "fill it in", values=values, lengths=LENGTHS)


def test_tables_that_hold_no_sequences_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.parquet"

    def bad(*words: str, columns: list[str] | None = None, label: str | None = None, **table: Any) -> None:
        save(path, **table)
        no(DataError, "s.parquet", *words, path=str(path), columns=columns, label=label)

    bad("row 1", "2 steps in 'a' but 1 in 'b'", a=[[1.0], [1.0, 2.0]], b=[[1.0], [1.0]])
    bad("row 1", "length 0", "remove it", a=[[1.0], [], [2.0]])
    bad("row 2", "length 0", a=[[1.0], [3.0], None])
    bad("row 1", "step 1 of feature 0", a=[[1.0], [1.0, None]])
    bad("row 1", "step 0 of feature 1", a=[[[1.0, 2.0]], [[1.0, float("nan")]]])
    bad("no lists in column 'b'", a=[[1.0], [2.0]], b=[1.0, 2.0], columns=["a", "b"])
    bad("no column of lists", b=[1.0, 2.0])
    bad("lists of string in column 'a'", a=[["x"], ["y"]])
    bad("row 1", "a step of 1 features", "first has 2", a=[[[1.0, 2.0]], [[1.0]]])
    bad("'b'", "--data.label", a=[[1.0], [2.0]], b=[[1.0], [2.0]], label="b")
    bad("no value in row 1", "'k'", a=[[1.0], [2.0]], k=["x", None], label="k")
    no(ConfigError, "did you mean 'abc'", path=save(path, abc=[[1.0]] * 9), columns=["abd"])
    no(ConfigError, "'z'", "--data.label", path=str(path), label="z")
    save(tmp_path / "t.parquet", abc=[[[1.0, 2.0]]] * 9)
    no(DataError, "t.parquet", "2 features", "s.parquet of 1", path=str(path), test_path=str(tmp_path / "t.parquet"))
    no(ConfigError, "s.csv", ".npz", path=str(tmp_path / "s.csv"))
    no(DataError, "no file", path=str(tmp_path / "none.npz"))
    (tmp_path / "d.parquet").write_text("a,b")
    no(DataError, "d.parquet is no whole", path=str(tmp_path / "d.parquet"))
    for kwargs in ({"max_length": 0}, {"test_fraction": 0.0}, {"columns": []}):
        no(ConfigError, f"--data.{next(iter(kwargs))} is", path=str(path), **kwargs)
    monkeypatch.setattr(builtins, "__import__", without("pyarrow", builtins.__import__))
    no(ConfigError, 'pip install "lit_ae[parquet]"', path=str(path))


SMALL = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.enable_progress_bar=false")
SMALL += ("--trainer.accelerator=cpu", "--data.batch_size=8")


def test_the_command_line_trains_on_them(tmp_path: Path, lit_ae: Console) -> None:
    path = layouts(tmp_path)["lists"]
    done = lit_ae("fit", "--config=sequences", f"--data.path={path}", "--data.label=y", *SMALL)
    assert done.status == 0, done.err
    broken = save(tmp_path / "b.npz", values=np.concatenate(STEPS))
    done = lit_ae("fit", "--config=sequences", f"--data.path={broken}", *SMALL)
    assert done.status == 3
    assert "no 'lengths'" in done.err
    assert "Traceback" not in done.err
