"""What is typed as the name of a file, a folder or a run is no class, though it looks like one."""

from __future__ import annotations

from pathlib import Path

import pytest

from lit_ae import trust


@pytest.mark.parametrize(
    "flags", [["--ckpt_path={}"], ["--ckpt_path", "{}"], ["--runs={}.v1"], ["--name={}.v1"]], ids=str
)
def test_the_name_of_a_file_or_a_folder_is_no_class(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("evil.ckpt").touch()
    argv = [flag.format("evil.ckpt" if "ckpt" in flags[0] else "evil") for flag in flags]
    assert trust.typed(["--model", "my_pkg.Model", *argv, "--data.root", "evil.ckpt"]) == ("my_pkg",)
    assert trust.typed(["--data.root=[evil.ckpt]", "--data.init_args={root: evil.ckpt}"]) == ()
    Path("own.yaml").write_text("data: {init_args: {root: evil.ckpt}}\nname: evil.v1\n")
    assert trust.typed([], [Path("own.yaml")]) == ()
