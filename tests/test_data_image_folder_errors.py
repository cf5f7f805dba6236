"""Every mistake in a user's own pictures ends in one sentence with the way out."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from folders_for_tests import batches, fill, folder, labels
from lit_ae.batch import ConfigError, DataError


def damage(root: Path) -> None:
    """20 pictures, one of them cut in half, one of them text."""
    noise = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    for i in range(20):
        (root / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(noise).save(root / "ab"[i % 2] / f"{i:02d}.jpg")
    cut = root / "a" / "06.jpg"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (root / "b" / "11.jpg").write_text("not a picture")


@pytest.mark.parametrize("memory", [0, 100])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_does_not_decode_is_named_or_left_out(tmp_path: Path, memory: int, workers: int) -> None:
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        damage(tmp_path / name)
    data = folder(tmp_path, memory_mib=memory, num_workers=workers)
    with pytest.raises(DataError, match=r"test/a/06\.jpg does not decode.*on_error skip") as raised:
        batches(data, "test")
    assert len(str(raised.value).splitlines()) == 1
    data = folder(tmp_path, memory_mib=memory, num_workers=workers, on_error="skip")
    with pytest.warns(UserWarning, match=r"2 of 20 test pictures are left out:") as warned:
        assert labels(data, "test") == [0] * 9 + [1] * 9
    assert [str(warning.message).split(" ")[2][-8:] for warning in warned[1:]] == ["a/06.jpg", "b/11.jpg"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert (data.spec.num_train, data.spec.num_classes) == (17, 2)


def test_when_nothing_decodes_there_is_nothing_to_train_on(tmp_path: Path) -> None:
    for i in range(5):
        (tmp_path / f"{i}.jpg").write_text("not a picture")
    for memory in (0, 100):
        with (
            pytest.warns(UserWarning, match="4 of 4 train pictures"),
            pytest.raises(DataError, match="no train samples"),
        ):
            folder(tmp_path, on_error="skip", memory_mib=memory).setup("fit")


def refused(root: Path, *words: str, lines: int = 1) -> None:
    with pytest.raises(DataError) as raised:
        folder(root).setup("fit")
    message = str(raised.value)
    assert len(message.splitlines()) == lines
    for word in words:
        assert word in message


def test_folders_without_pictures_are_answered_with_the_tree(tmp_path: Path) -> None:
    refused(tmp_path / "none", "There is no folder", "train/cat/1.jpg", lines=6)
    assert not (tmp_path / "none").exists()
    refused(tmp_path, f"{tmp_path} holds no pictures", "train/cat/1.jpg", lines=6)
    (tmp_path / "train" / "cat").mkdir(parents=True)
    refused(tmp_path, f"{tmp_path / 'train'} holds no pictures", "train/cat/1.jpg", lines=6)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("none")
    refused(tmp_path, "1 files", "'notes.txt'", ".jpg, ")
    fill(tmp_path / "only", {"test/cat": 3})
    refused(tmp_path / "only", "no folder train", "train/cat/1.jpg", lines=6)


def test_classes_that_differ_are_named(tmp_path: Path) -> None:
    fill(tmp_path / "a" / "train", {"cat": 5, "dog": 5})
    fill(tmp_path / "a" / "test", {"cat": 5, "eel": 5})
    refused(tmp_path / "a", "test has the class 'eel'", "train lacks")
    fill(tmp_path / "b" / "train", {"cat": 5, "dog": 5})
    fill(tmp_path / "b" / "test", {"": 5})
    refused(tmp_path / "b", "train has class folders", "test has none")
    fill(tmp_path / "c" / "train", {"": 5})
    fill(tmp_path / "c" / "val", {"cat": 5})
    refused(tmp_path / "c", "val has class folders", "train has none")
    fill(tmp_path / "d", {"cat": 5, "dog": 5, "": 1})
    refused(tmp_path / "d", "'000.png'", "move it")


def test_arguments_out_of_range_are_refused(tmp_path: Path) -> None:
    for kwargs in ({"test_fraction": 0.0}, {"memory_mib": -1}, {"size": 0}):
        with pytest.raises(ConfigError, match=next(iter(kwargs))):
            folder(tmp_path, **kwargs)
    fill(tmp_path, {"": 1})
    with pytest.raises(ConfigError, match=r"test_fraction 0\.1 of 1 samples"):
        folder(tmp_path).setup("fit")
