"""`lit_ae compare`: several runs on the same data, measured alike. Imports no torch at its top."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module

from lit_ae.errors import ConfigError
from lit_ae.jobs.parsing import Parser, above, common, split, vacant_folder

DESCRIPTION = """Measure several runs on the same data and lay them side by side: tables as Markdown and CSV, one page
of HTML that holds all, and pictures: rate-distortion plane, latent maps, reconstructions, samples. Runs that differ by
their seed alone make one row, with mean and standard deviation."""
EPILOG = """  --data.*             a setting of the data that beats the runs' own

  lit_ae compare runs/ae/0 runs/vae/0 runs/vae/1
  lit_ae compare --train vae beta_vae --seeds 5 --trainer.max_epochs 30

With --train each config is first trained with the seeds 0, 1, ..., by lit_ae fit, which gets all flags such as
--data MNIST, --model.latent_dim 8 and --trainer.max_epochs 5; what was so trained before is not trained again.

Nats, errors, size and time are measured here. Of the test split, all else that lit_ae test wrote into RUN/metrics.json
of the same checkpoint is taken over. A measure has a column where two rows have it. The best is marked among nats of
one likelihood, and among FIDs and the like of one network and number of samples."""
FIT = ("--data", "--model.", "--trainer.", "--logger", "--config", "--print")


def parser() -> Parser:
    """The arguments of the command."""
    parser = Parser(
        "lit_ae compare",
        usage="lit_ae compare [RUN ...] [--train CONFIG ...] [--seeds N] [--out FOLDER] [...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folders", metavar="RUN", nargs="*", help="folders of runs, or checkpoints")
    parser.add_argument(
        "--train", metavar="CONFIG", nargs="+", default=[], help="configs to train first, by name or path"
    )
    parser.add_argument("--seeds", type=above(1, int, True), default=1, metavar="N", help="trainings of each (1)")
    parser.add_argument("--runs", default="runs", metavar="FOLDER", help="where these go (runs)")
    parser.add_argument("--out", default="comparison", metavar="FOLDER", help="where all is written (comparison)")
    common(parser, "split", "device", "seed", "overwrite")
    return parser


def main(argv: Sequence[str]) -> int:
    """Train what is to be trained, and compare.

    Raises:
        ConfigError: An argument does not fit, or the runs are of different data.
        RunError: A run cannot be opened.
        DataError: The data are missing.
    """
    if not argv or {"-h", "--help"} & set(argv):
        parser().print_help()
        return 0
    rest, flags = split(argv, *FIT)
    asked = parser().parse_intermixed_args(rest)
    if not asked.train:
        if wrong := [flag for flag in flags if not flag.startswith("--data.")]:
            raise ConfigError(f"{wrong[0].partition('=')[0]} is for training: add --train CONFIG, or leave it out.")
        if not asked.folders:
            raise ConfigError("Nothing to compare: name folders of runs, or --train CONFIG ...")
    vacant_folder(asked.out, asked.overwrite)
    trained = import_module("lit_ae.jobs.trained").train(asked, flags) if asked.train else []
    folders = [*asked.folders, *trained]
    for line in import_module("lit_ae.jobs.compared").compare(asked, folders, [] if asked.train else flags):
        print(line)
    return 0
