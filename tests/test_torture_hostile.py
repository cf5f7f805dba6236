"""A share of the torture: checkpoints made to harm whoever opens them."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from torture_for_tests import held

UNGUARDED = """
import importlib, os, sys
import torch
for folder in sys.argv[1:]:
    os.chdir(folder)
    sys.path[0] = folder
    importlib.invalidate_caches()
    try:
        torch.load("hostile.ckpt", weights_only=False)
    except Exception:
        pass
    for name in {"canary_module", "canary\\nmodule", "hubconf"} & sys.modules.keys():
        del sys.modules[name]
"""
INERT = {"a network", "a state", "two pickles", "TorchScript"}  # nothing runs even where nobody looks
FORMS = ("os.system", "an encoder of a foreign module", "a huge layer", "overlapping records")
FORMS += ("a stretched version", "stretched names of means", "other keys in loops", "a path outside the run", "s3")


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_nothing_of_a_hostile_checkpoint_runs(form: str) -> None:
    held("hostile", form)


def taken(work: Callable[[], object]) -> int:
    """By how many bytes a forked process grows at most that does some work."""
    from reliability.rows.hostile import memory, watched

    before = memory()
    if (number := os.fork()) == 0:
        work()
        os._exit(0)
    status, most = watched(number)
    assert status == 0
    return most - before


def test_memory_that_is_taken_counts_though_it_is_given_back_and_mapped_files_do_not(tmp_path: Path) -> None:
    path, size = tmp_path / "file", 96 << 20
    path.write_bytes(b"x" * size)

    def look() -> None:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            assert sum(view[number] for number in range(0, size, 4096)) == size // 4096 * ord("x")

    def take() -> None:
        assert len(b"x" * size) == size

    room = 16 << 20
    assert taken(look) < room
    assert taken(take) > size - room
    assert taken(lambda: (take(), look())) > size - room
    assert taken(lambda: (look(), take())) > size - room


@pytest.mark.slow
def test_every_form_with_code_would_leave_its_mark_where_nobody_looked(tmp_path: Path) -> None:
    from reliability.harmful import MARKER, traps
    from reliability.rows._hostile import FORMS, write

    forms = list(FORMS)[: list(FORMS).index("TorchScript")]
    document = {"hyper_parameters": {"latent_dim": 1}, "state_dict": {}, "callbacks": {}, "loops": {}}
    folders = {form: tmp_path / str(number) for number, form in enumerate(forms) if form not in INERT}
    for form, folder in folders.items():
        folder.mkdir()
        traps(folder)
        write(form, folder / "hostile.ckpt", document)
    subprocess.run([sys.executable, "-c", UNGUARDED, *map(str, folders.values())], check=True, capture_output=True)
    assert [form for form, folder in folders.items() if not (folder / MARKER).exists()] == []
