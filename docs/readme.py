"""Write the table of variants into the README: `make readme`."""

from __future__ import annotations

from pathlib import Path

from lit_ae import catalog

README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- variants: written by `make readme`, checked by tests/test_readme.py -->\n", "<!-- end -->"


def written(text: str) -> str:
    """The README with the table as it should be."""
    before, _, rest = text.partition(START)
    return f"{before}{START}{catalog.table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
