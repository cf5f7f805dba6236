"""What docs/commands.md says is so: every command is shown with what it printed, and its pictures exist."""

from __future__ import annotations

import re
import runpy
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from lit_ae.arguments import COMMANDS, JOBS, resolve
from lit_ae.jobs import compare
from lit_ae.jobs.parsing import split

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "commands.md").read_text(encoding="utf-8")
BLOCKS = runpy.run_path(str(DOCS / "commands.py"))["BLOCK"].findall(PAGE)
LINES = [line for _, block, _, _ in BLOCKS for line in block.splitlines()]
SHOWN = [shlex.split(line)[1:] for line in LINES if line.startswith("lit_ae ")]
ELSEWHERE = {"draw", "list", "predict", "summary", "validate"}  # README and docs/concepts.md show them


def test_every_command_is_on_the_page() -> None:
    assert {argv[0] for argv in SHOWN} | {"explore"} == set(COMMANDS) - ELSEWHERE
    assert "lit_ae explore" in PAGE


def test_every_block_has_an_output() -> None:
    assert all(printed.strip() for _, _, printed, _ in BLOCKS), "run: make commands"


@pytest.mark.parametrize("argv", [argv for argv in SHOWN if argv[0] in JOBS and argv[0] != "compare"], ids=" ".join)
def test_every_command_takes_the_arguments_that_are_shown(argv: list[str]) -> None:
    parser = import_module(f"lit_ae.jobs.{argv[0].replace('-', '_')}").parser()
    parser.parse_args(split(argv[1:], "--data.", "--sampler.")[0])


@pytest.mark.parametrize("argv", [argv for argv in SHOWN if argv[0] == "compare"], ids=" ".join)
def test_compare_hands_the_flags_that_are_shown_on_to_fit(argv: list[str]) -> None:
    rest, flags = split(argv[1:], *compare.FIT)
    assert compare.parser().parse_intermixed_args(rest).train
    assert "--data=MNIST" in flags
    assert all(path.is_file() for path in resolve(["fit", "--config", "vae", *flags]).configs)


@pytest.mark.parametrize("argv", [argv for argv in SHOWN if argv[0] == "fit"], ids=" ".join)
def test_every_fit_names_what_exists(argv: list[str]) -> None:
    assert resolve(argv).configs or "--model" in argv


def test_pictures_exist_are_small_and_described() -> None:
    links = re.findall(r"!\[([^]]+)\]\(([^)]+)\)", PAGE)
    assert all((DOCS / target).stat().st_size <= 300_000 for _, target in links)
    assert all(len(words.split()) >= 4 for words, _ in links)
    linked = {Path(target).name for _, target in links if "commands/" in target}
    assert {path.name for path in (DOCS / "img/commands").iterdir()} == linked
