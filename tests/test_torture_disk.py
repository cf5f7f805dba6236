"""A seeded share of what full and read-only disks do to the commands."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from torture_for_tests import held


@pytest.fixture(autouse=True)
def mounting(tmp_path: Path) -> None:
    call = ["mount", "-t", "tmpfs", "-o", "size=64k", "lit_ae-test", str(tmp_path)]
    if os.name != "posix" or os.geteuid() or subprocess.run(call, capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here, which takes root: tests/test_disk.py limits file sizes instead")
    subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 3, 16, 26], ids=["config", "checkpoint", "latents", "output"])
def test_a_full_disk_ends_a_command_with_a_sentence(number: int) -> None:
    held("disk", "disk full", 1, first=number)


@pytest.mark.slow
def test_a_read_only_disk_ends_a_command_with_a_sentence() -> None:
    held("disk", "read-only folder", 2)
