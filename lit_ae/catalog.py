"""What `lit_ae list` shows: variants, datamodules and configs, read from the source without importing torch."""

from __future__ import annotations

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from lit_ae import shipped


class Entry(NamedTuple):
    """One line of the list."""

    name: str
    summary: str
    path: Path
    papers: tuple[str, ...] = ()


@cache  # the parser asks for every class that it meets, forty times a run
def subclasses(folder: Path, root: str) -> list[Entry]:
    """Final classes of a folder's modules that inherit, over any number of steps, from `root`.

    A class is abstract where it lists ABC among its bases, final otherwise: the house's rule, so reading is enough.
    """
    bases: dict[str, set[str]] = {}
    entries: list[Entry] = []
    for path in sorted(folder.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                bases[node.name] = {ast.unparse(base).rsplit(".", 1)[-1] for base in node.bases}
                text = ast.get_docstring(node) or ""
                entries.append(Entry(node.name, text.partition("\n")[0], path, papers(text)))

    def descends(name: str) -> bool:
        return any(base == root or descends(base) for base in bases.get(name, ()))

    return [entry for entry in entries if descends(entry.name) and "ABC" not in bases[entry.name]]


def papers(text: str) -> tuple[str, ...]:
    """The entries of a docstring's section `Reference:`, one a line, an address perhaps on the next."""
    section = text.partition("\nReference:\n")[2].partition("\n\n")[0]
    return tuple(line.strip() for line in section.replace("\n    http", " http").splitlines())


def table() -> str:
    """The variants as the README's table, each class followed by the configs that are variants of it.

    `make readme` writes it there. Recipes are runs of variants, not variants: they have a page of their own.
    """
    rows = ["| Variant | What it is | Paper | File | Picture |", "|---|---|---|---|---|"]
    special = [entry for entry in configs() if entry.papers and "/" not in entry.name]
    for entry in variants():
        rows.append(row(f"`{entry.name}`", entry, f"lit_ae/models/{entry.path.name}", entry.path.stem))
        for config in special:
            if f"class_path: {entry.name}\n" in config.path.read_text(encoding="utf-8"):
                rows.append(row(f"`{entry.name}`, `{config.name}`", config, f"configs/{config.path.name}", config.name))
    return "\n".join(rows)


def row(title: str, entry: Entry, file: str, picture: str) -> str:
    """One line of the table."""
    what = entry.summary.rstrip(".").replace("|", "\\|")
    drawn = shipped.HERE.parent / f"docs/img/variants/{picture}.png"  # by `make concepts`
    image = f'<img src="docs/img/variants/{drawn.name}" width="160" alt="{picture}">' if drawn.is_file() else ""
    link = f"[{file.rpartition('/')[2]}]({file})"
    return f"| {title} | {what} | {'<br>'.join(entry.papers)} | {link} | {image} |"


def variants() -> list[Entry]:
    """Every variant that `--model` knows by its short name."""
    return subclasses(shipped.HERE / "models", "Autoencoder")


def datamodules() -> list[Entry]:
    """Every datamodule that `--data` knows by its short name."""
    spec = find_spec("datamodules")
    assert spec is not None
    assert spec.submodule_search_locations
    return subclasses(Path(next(iter(spec.submodule_search_locations))), "DataModule")


def configs() -> list[Entry]:
    """Every shipped config, with the comments at its top: what it is, and its papers where it is a variant itself."""
    entries = []
    for name, path in shipped.names().items():
        first, *others = path.read_text(encoding="utf-8").splitlines()
        cited = tuple(line.removeprefix("# Paper: ") for line in others if line.startswith("# Paper: "))
        entries.append(Entry(name, first.lstrip("# "), path, cited))
    return entries


def text() -> str:
    """The whole list, as `lit_ae list` prints it."""
    sections = {
        "Variants (--model NAME)": variants(),
        "Datamodules (--data NAME)": datamodules(),
        "Configs (--config NAME; several are merged, later ones win)": configs(),
    }
    width = max(len(entry.name) for entries in sections.values() for entry in entries)
    blocks = []
    for title, entries in sections.items():
        blocks.append("\n".join([title, *(f"  {entry.name:<{width}}  {entry.summary}" for entry in entries)]))
    return "\n\n".join(blocks)
