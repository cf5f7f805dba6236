"""`lit_ae decode`: samples from latents or codes in a file. Imports no torch at its top."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from lit_ae.errors import ConfigError
from lit_ae.jobs.parsing import Parser, above, common, split, vacant

DESCRIPTION = """Turn latents or codes back into samples: what lit_ae embed wrote, or columns and arrays like it."""
EPILOG = """  --data.*              a setting of the data that beats the run's own

  lit_ae decode runs/vae/0 z.parquet
  lit_ae decode runs/vae_table/0 z.parquet --out table.csv

Pictures go into a folder, each under its own name where the file has names; tables get the columns and units
of the data that the run was trained on. Where there is a condition, it is the file's, or the class of --class."""
SUFFIXES = (".parquet", ".npz", ".npy", ".csv")


def parser() -> Parser:
    """The arguments of the command."""
    parser = Parser(
        "lit_ae decode",
        usage="lit_ae decode RUN FILE [--out FOLDER|FILE] [--class C] [...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    common(parser, "run")
    parser.add_argument("file", metavar="FILE", help="latents or codes: a .parquet, .npz, .npy or .csv file")
    parser.add_argument(
        "--out", metavar="PATH", help="a folder for pictures, a .csv or .parquet table, or .npz or .npy arrays"
    )
    parser.add_argument("--class", dest="label", type=above(0, int, True), metavar="C", help="class of all samples")
    common(parser, "batch_size", "device", "overwrite")
    return parser


def main(argv: Sequence[str]) -> int:
    """Decode latents.

    Raises:
        ConfigError: An argument does not fit.
        RunError: The run cannot be opened.
        DataError: The file is missing, or does not fit the run.
        StorageError: The samples cannot be written.
    """
    if not argv or {"-h", "--help"} & set(argv):
        parser().print_help()
        return 0
    rest, flags = split(argv, "--data.")
    asked = parser().parse_args(rest)
    if Path(asked.file).suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{asked.file} is of no known format: name a file that ends in {', '.join(SUFFIXES)}.")
    if asked.out:
        vacant(asked.out, asked.overwrite)
    decoded = import_module("lit_ae.jobs.decoded")  # torch comes with it
    for line in decoded.decode(asked, flags):
        print(line)
    return 0
