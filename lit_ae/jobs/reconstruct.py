"""`lit_ae reconstruct`: originals beside reconstructions, the worst first. Imports no torch at its top."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module

from lit_ae.errors import ConfigError
from lit_ae.jobs.parsing import Parser, common, ending, split, vacant

DESCRIPTION = """Reconstruct samples: figures/reconstruct.png in the run's folder shows the worst, typical ones and the
best, and reconstruct.csv has the error of every sample, the worst first."""
EPILOG = """  --data.*              a setting of the data that beats the run's own

  lit_ae reconstruct runs/vae/0
  lit_ae reconstruct runs/denoising_ae/0 --data noisy --out clean
  lit_ae reconstruct runs/vae_table/0 --data holes.csv --data.missing mask --out filled.csv

An error is the mean squared error over the elements of a sample that were observed, in squared units of what the model
sees. --out writes what was restored, files under their own names, pictures in the model's size: a denoising
autoencoder gets the files as they are; where there is a mask, what it left out is filled in and all else kept. A
masked autoencoder without --mask hides patches as in training, and its errors are those of the hidden ones."""


def parser() -> Parser:
    """The arguments of the command."""
    parser = Parser(
        "lit_ae reconstruct",
        usage="lit_ae reconstruct RUN [--data PATH | --split SPLIT] [--out PATH] [--errors FILE] [--mask FILE] [...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    common(parser, "run", "data", "split")
    parser.add_argument("--out", metavar="PATH", help="a new folder for pictures, or a .csv, .parquet, .npz, .npy file")
    parser.add_argument("--errors", metavar="FILE", help="where the errors go, a .csv file (RUN/reconstruct.csv)")
    parser.add_argument(
        "--mask", metavar="FILE", help="a picture of the samples' size, black where all of them are to be filled in"
    )
    common(parser, "batch_size", "device", "seed", "overwrite")
    return parser


def main(argv: Sequence[str]) -> int:
    """Reconstruct samples.

    Raises:
        ConfigError: An argument does not fit.
        RunError: The run cannot be opened.
        DataError: The samples are missing, or do not fit the run.
        NonFiniteError: A reconstruction is not finite.
        StorageError: A file cannot be written.
    """
    if not argv or {"-h", "--help"} & set(argv):
        parser().print_help()
        return 0
    rest, flags = split(argv, "--data.")
    asked = parser().parse_args(rest)
    if asked.data and asked.split != "test":
        raise ConfigError("--split is for the run's own samples: leave it out, or --data.")
    if asked.errors:
        ending(asked.errors, "--errors", (".csv",))
    for path in (asked.out, asked.errors):
        if path:
            vacant(path, asked.overwrite)
    reconstructed = import_module("lit_ae.jobs.reconstructed")  # torch comes with it
    for line in reconstructed.reconstruct(asked, flags):
        print(line)
    return 0
