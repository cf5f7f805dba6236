"""What docs/recipes.md says is so: its tables are those of the measurements, its commands name what exists."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest

from lit_ae import shipped
from lit_ae.arguments import resolve

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "recipes.md").read_text(encoding="utf-8")
FITS = re.findall(r"^lit_ae (fit [^\n]+)", PAGE.replace("\\\n", " "), re.MULTILINE)
SCRIPT = runpy.run_path(str(DOCS / "recipes.py"))


def test_its_tables_are_those_of_the_measurements() -> None:
    assert SCRIPT["written"](PAGE) == PAGE, "run: make recipes"
    assert set(re.findall(r"<!-- table (\w+) -->\n\|", PAGE)) == set(SCRIPT["TABLES"])


@pytest.mark.parametrize("command", FITS)
def test_every_fit_names_configs_that_exist(command: str) -> None:
    assert all(path.is_file() for path in resolve(shlex.split(command)).configs)


def test_every_recipe_is_on_the_page() -> None:
    for name in shipped.names():
        if name.startswith("recipes/"):
            assert name in PAGE or name.removeprefix("recipes/") in PAGE, name


def test_its_pictures_exist_and_are_small() -> None:
    for target in re.findall(r"!\[[^]]+\]\(([^)]+)\)", PAGE):
        assert (DOCS / target).stat().st_size <= 300_000
