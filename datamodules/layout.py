"""Where torchvision keeps its data sets: looked for first, downloaded only when asked to."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError

from lit_ae.batch import DataError

__all__ = ["require"]


def require(name: str, root: Path, files: Sequence[str], fetch: Callable[[str], object] | None) -> None:
    """Make sure that the files are there.

    Args:
        name: Name of the data set, for messages.
        root: Folder that holds the data sets.
        files: Paths under root.
        fetch: Downloads the data set into the folder it is given; None does not download.

    Raises:
        DataError: Files are missing, and were not or could not be downloaded; the message shows the tree.
    """
    if all((root / file).exists() for file in files):
        return
    if fetch is None:
        way_out = "place its files like this, or let --data.download true fetch them"
        raise DataError(f"{name} is not complete under {root}: {way_out}.\n{tree(root, files)}")
    root.mkdir(parents=True, exist_ok=True)
    # beside, then moved: neither a cut download nor a second process leaves half a file under a final name
    with TemporaryDirectory(dir=root, prefix=".download-") as folder:
        try:
            fetch(folder)
        except (RuntimeError, URLError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"{name} could not be downloaded ({reason}): place its files like this.\n{tree(root, files)}"
            ) from error
        for file in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
            target = root / file.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, target)


def tree(root: Path, files: Sequence[str]) -> str:
    """The files as an indented tree, with a mark at what is missing."""
    lines, shown = [f"{root}/"], set()
    for file in files:
        *folders, leaf = Path(file).parts
        for depth, folder in enumerate(folders, 1):
            if tuple(folders[:depth]) not in shown:
                shown.add(tuple(folders[:depth]))
                lines.append(f"{'  ' * depth}{folder}/")
        missing = "" if (root / file).exists() else "  (missing)"
        lines.append(f"{'  ' * (len(folders) + 1)}{leaf}{missing}")
    return "\n".join(lines)
