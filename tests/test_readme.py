"""What the README says is so."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from lit_ae import catalog, shipped
from lit_ae.arguments import resolve

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FITS = [line.split("#")[0].split()[1:] for line in re.findall(r"^lit_ae fit(?!-)[^\n]*", README, re.MULTILINE)]


def test_the_table_of_variants_is_up_to_date() -> None:
    assert runpy.run_path(str(ROOT / "docs/readme.py"))["written"](README) == README, "run: make readme"
    for entry in catalog.variants():
        assert entry.papers, f"{entry.name} names no paper"
        assert entry.path.stem in shipped.names(), f"{entry.name} has no config"


def test_every_datamodule_is_in_the_table() -> None:
    assert {entry.name for entry in catalog.datamodules()} <= set(re.findall(r"`(\w+)`", README))


@pytest.mark.parametrize("argv", [argv for argv in FITS if "--ckpt_path" not in argv], ids=" ".join)
def test_its_commands_name_configs_that_exist(argv: list[str]) -> None:
    assert all(path.is_file() for path in resolve(argv).configs)


def test_links_and_pictures_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)|src=\"([^\"]+)\"", README):
        assert (ROOT / "".join(target)).exists(), target
    assert shipped.folder() == ROOT / "configs"
