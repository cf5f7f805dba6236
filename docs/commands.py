"""Run what docs/commands.md shows, and write what it printed and drew into the page: `make commands`.

python docs/commands.py [FOLDER]: each ```bash block is run in FOLDER (where `data` links to the data sets), all in one,
in order; blocks that were run there already are not run again. What they printed goes into the ```text block below.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parent
PAGE, PICTURES = DOCS / "commands.md", DOCS / "img" / "commands"
BLOCK = re.compile(r"(```bash\n(.*?)```\n```text\n)(.*?)(```\n)", re.DOTALL)
LINK = re.compile(r"\]\(img/commands/([^)]+)\)")


def run(commands: str, folder: Path) -> str:
    """What a block prints; what was run before is read from its log."""
    log = folder / f"{hashlib.sha1(commands.encode()).hexdigest()}.log"
    if not log.is_file():
        print(commands.strip(), flush=True)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(["bash", "-ec", commands], cwd=folder, env={**os.environ, "PATH": path}, text=True,
                              stdout=subprocess.PIPE, check=True)  # fmt: skip
        log.write_text(done.stdout, encoding="utf-8")
    return log.read_text(encoding="utf-8")


def pictures(printed: str, folder: Path) -> dict[str, Path]:
    """Pictures that the blocks said they drew, by name."""
    found = re.findall(r"^\S.*?\s(\S+\.png)$", printed, re.MULTILINE)
    return {Path(path).name: folder / path for path in found}


def main(folder: Path) -> None:
    """Run the page's blocks and write the page."""
    data = Path(os.environ.get("LIT_AE_DATA", DOCS.parent / "data")).resolve()
    if not (folder / "data").exists():
        (folder / "data").symlink_to(data)
    page, drawn = PAGE.read_text(encoding="utf-8"), {}
    for _, commands, _, _ in BLOCK.findall(page):
        drawn |= pictures(run(commands, folder), folder)
    PAGE.write_text(BLOCK.sub(lambda found: found[1] + run(found[2], folder) + found[4], page), encoding="utf-8")
    for name in LINK.findall(page):
        (PICTURES / name).write_bytes(drawn[name].read_bytes())


if __name__ == "__main__":
    PICTURES.mkdir(parents=True, exist_ok=True)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
        main(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
