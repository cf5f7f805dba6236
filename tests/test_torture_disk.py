"""A seeded share of what full and read-only disks do to the commands."""

from __future__ import annotations

import errno
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
def test_a_run_goes_on_once_there_is_room_again() -> None:
    held("disk", "no room for the first checkpoint, then room", 1)
    held("disk", "no room amid training, then room", 2)


@pytest.mark.slow
def test_a_read_only_disk_ends_a_command_with_a_sentence() -> None:
    held("disk", "read-only folder", 2)


def test_a_message_must_give_the_reason_and_name_the_file() -> None:
    from reliability.disks import message

    good = "lit_ae: Cannot write runs/vae/0/last.ckpt (No space left on device): free space on the disk."
    assert message(6, good, errno.ENOSPC, "last.ckpt") is None
    for other in (
        good.replace("No space left on device", "[enforce fail at inline_container.cc:671] . unexpected pos 9 vs 8"),
        good.replace("No space", "enforce fail . No space"),
        good.replace("No space left on device", "Read-only file system"),
        good.replace("last.ckpt", "best.ckpt"),
        good.replace("free space", "too bad"),
        f"{good}\n{good}",
        "",
    ):
        assert message(6, other, errno.ENOSPC, "last.ckpt"), other
    assert message(1, good, errno.ENOSPC, "last.ckpt")
