"""The configs that come with the package, found by path first and by name second. Imports no torch."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from lit_ae.errors import ConfigError

HERE = Path(__file__).resolve().parent
SUFFIXES = (".yaml", ".yml", ".json")


def folder() -> Path:
    """Where the shipped configs lie: inside an installed package, beside it in a clone."""
    installed = HERE / "configs"
    return installed if installed.is_dir() else HERE.parent / "configs"


def names() -> dict[str, Path]:
    """Name → path of every shipped config: `vae`, `trainer/fast`, in alphabetical order, variants first."""
    root = folder()
    paths = sorted(root.rglob("*.yaml"), key=lambda path: (len(path.relative_to(root).parts), path))
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in paths}


def find(name: str) -> Path:
    """Path of a config given as a path or by name (`vae`, `configs/vae.yaml`, `trainer/fast`, `fast`).

    Raises:
        ConfigError: There is neither such a file nor such a name.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = names()
    wanted = path.with_suffix("") if path.suffix in SUFFIXES else path
    key = wanted.as_posix().removeprefix("configs/")
    matches = [k for k in known if k == key or k.endswith(f"/{key}")]
    if matches:
        return known[matches[0]]
    tails = {k.rsplit("/", 1)[-1]: k for k in known}
    near = get_close_matches(wanted.name, list(tails), n=1, cutoff=0.5)
    hint = f"did you mean {tails[near[0]]!r}?" if near else f"there are {', '.join(known)}."
    raise ConfigError(f"There is no config file {name!r}, and no shipped config of that name: {hint}")
