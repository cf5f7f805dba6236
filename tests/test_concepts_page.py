"""What docs/concepts.md says is so: its pictures exist, its commands name what exists."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest

from lit_ae import catalog
from lit_ae.arguments import resolve
from lit_ae.jobs.draw import PICTURES, parser

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "concepts.md").read_text(encoding="utf-8")
SCRIPT = runpy.run_path(str(DOCS / "pictures.py"))
COMMANDS = re.findall(r"lit_ae ((?:fit|draw) [^;`\n]+)", PAGE)
LINKS = re.findall(r"!\[([^]]+)\]\(([^)]+)\)", PAGE)


def test_every_picture_that_it_links_exists_and_is_small() -> None:
    sizes = [(DOCS / target).stat().st_size for _, target in LINKS]
    assert len(sizes) > 10
    assert max(sizes) <= 300_000
    assert sum(sizes) <= 2_000_000
    assert all(len(words.split()) >= 4 for words, _ in LINKS), "a picture without a description"


def test_no_picture_is_left_over() -> None:
    linked = {Path(target).name for _, target in LINKS}
    assert {path.name for path in (DOCS / "img/concepts").iterdir()} == linked


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("fit")])
def test_every_fit_names_configs_and_variants_that_exist(command: str) -> None:
    argv = shlex.split(command)
    assert resolve(argv).configs or "--model" in argv
    if "--model" in argv:
        assert argv[argv.index("--model") + 1] in {entry.name for entry in catalog.variants()}


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("draw")])
def test_every_drawing_names_a_picture_and_runs_of_an_earlier_fit(command: str) -> None:
    asked = parser().parse_args(shlex.split(command)[1:])
    assert asked.picture in PICTURES
    fits = [shlex.split(line) for line in re.findall(r"lit_ae (fit [^;`\n]+)", PAGE[: PAGE.index(command)])]
    made = {argv[argv.index(flag) + 1] for argv in fits for flag in ("--config", "--name") if flag in argv}
    assert {Path(run).parent.name for run in asked.runs} <= made


def test_every_picture_that_can_be_drawn_is_explained() -> None:
    drawn = {shlex.split(line)[1] for line in COMMANDS if line.startswith("draw")}
    assert drawn == set(PICTURES)


def test_every_config_on_embedded_data_has_a_picture_for_the_readme() -> None:
    for name in SCRIPT["variants"]():
        path = DOCS / "img" / "variants" / f"{name}.png"
        assert path.is_file(), f"run: make concepts ({name} has no picture)"
        assert path.stat().st_size <= SCRIPT["MAX_BYTES"]
