"""`lit_ae summary`: a model's layers as a table and as a diagram; nothing is trained. Imports no torch at its top."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from lit_ae import shipped
from lit_ae.arguments import resolve, stored, take, take_positional
from lit_ae.errors import ConfigError
from lit_ae.runs import Run, open_run

SUFFIX = "_architecture.png"
HELP = """usage: lit_ae summary CONFIG|RUN [--out PATH] [--overwrite] [--model.* ...] [--data.* ...]

Show every layer of a model with the shapes of its input and output and its parameters, and draw encoder and decoder.
The shapes come from the data; nothing is trained, and no run folder is made.

  CONFIG       a config by name or path; several with --config
  RUN          the folder of a run, or a checkpoint in it
  --out PATH   where the diagram goes, a .png
               (default: <name>_architecture.png here, or figures/architecture.png in the folder of RUN)
  --overwrite  replace a file that this command did not write

  lit_ae summary vae
  lit_ae summary vae_mnist --model.latent_dim 32
  lit_ae summary runs/vae/0

All that lit_ae fit understands may follow: see lit_ae fit --help."""


def main(argv: Sequence[str]) -> int:
    """Print the table and draw the diagram.

    Raises:
        ConfigError: There is nothing to describe, or the picture would replace a file of another origin.
        DataError: The data cannot be opened.
        RunError: The run cannot be opened.
    """
    rest = list(argv)
    if {"-h", "--help"} & set(rest):
        print(HELP)
        return 0
    if not rest:
        raise ConfigError("Summary of which model? Name a config or the folder of a run: lit_ae summary vae")
    outs = take(rest, "--out")
    if outs and Path(outs[-1]).suffix.lower() != ".png":
        raise ConfigError(f"--out is {outs[-1]}: the diagram is a PNG, so name a file that ends in .png.")
    overwrite = "--overwrite" in rest
    rest = [item for item in rest if item != "--overwrite"]
    named, run = take_positional(rest), None
    if named:
        config, run = find(named)
        rest = ["--config", str(config), *rest]
    request = resolve(["fit", *rest], run)
    run = run or request.run

    layers, diagram = import_module("lit_ae.jobs.layers"), import_module("lit_ae.jobs.diagram")  # torch comes with them
    described = layers.describe(request)
    path = Path(outs[-1]) if outs else run.figures / "architecture.png" if run else Path(f"{described.name}{SUFFIX}")
    if path.exists() and not overwrite and not diagram.ours(path):
        raise ConfigError(f"{path} was not drawn by lit_ae summary: name another file (--out), or add --overwrite.")
    print(described.text())
    if not diagram.networks(described):
        print(f"picture  none: the networks of {described.name} are no chains of layers, which a diagram could show")
        return 0
    diagram.save(described, path)
    print(f"picture  {path}")
    return 0


def find(named: str) -> tuple[Path, Run | None]:
    """The config file that an argument names, and the run that it belongs to.

    Raises:
        ConfigError: There is no such config.
        RunError: There is no such run, or its config is damaged.
    """
    path = Path(named)
    folder = path.parent.parent if path.suffix == ".ckpt" else path
    if not (folder / "config.yaml").is_file():
        try:
            return shipped.find(named), None
        except ConfigError:
            if path.suffix in shipped.SUFFIXES or (len(path.parts) == 1 and not path.is_dir()):
                raise
    run = open_run(path)
    stored(run)
    return run.config, run
