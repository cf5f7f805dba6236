"""`lit_ae interpolate`: walks between two samples through the latents of a run. Imports no torch at its top."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module

from lit_ae.errors import ConfigError
from lit_ae.jobs.parsing import Parser, above, common, split

DESCRIPTION = """Walk from one sample to another through the latents of a finished run, along a line, along an arc whose
length goes evenly from one latent's to the other's (White 2016), or both. Writes a picture and an animation into
RUN/figures. A walk begins and ends at what the model rebuilds of the two samples."""
EPILOG = """  --data.*           a setting of the data that beats the run's own

  lit_ae interpolate runs/vae/0
  lit_ae interpolate runs/vae/0 3 14 --steps 12 --path spherical
  lit_ae interpolate runs/faces/0 me.jpg you.jpg --out morph

A and B are numbers of samples, from 0, in the split, or files with a sample each; without them, the first sample and
the next one of another class. A condition that is a class changes in the middle of the way, any other one evenly."""


def parser() -> Parser:
    """The arguments of the command."""
    parser = Parser(
        "lit_ae interpolate",
        usage="lit_ae interpolate RUN [A B] [--steps N] [--path PATH] [--out FOLDER] [...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    common(parser, "run")
    parser.add_argument("ends", metavar="A B", nargs="*", help="numbers of two samples, or two files")
    parser.add_argument("--steps", type=above(2, int, True), default=10, metavar="N", help="pictures on the way (10)")
    parser.add_argument("--path", choices=("linear", "spherical", "both"), default="both", help="which way (both)")
    parser.add_argument("--out", metavar="FOLDER", help="where the pictures go (figures in the run's folder)")
    common(parser, "data", "split", "device", "overwrite")
    return parser


def main(argv: Sequence[str]) -> int:
    """Walk between two samples.

    Raises:
        ConfigError: An argument does not fit, or the run's latents are no place to walk in.
        RunError: The run cannot be opened.
        DataError: The data are missing, or do not fit the run.
    """
    if not argv or {"-h", "--help"} & set(argv):
        parser().print_help()
        return 0
    rest, flags = split(argv, "--data.")
    asked = parser().parse_intermixed_args(rest)
    if len(asked.ends) not in (0, 2):
        raise ConfigError(f"{len(asked.ends)} ends were named: name two samples, A and B, or none.")
    for line in import_module("lit_ae.jobs.interpolated").interpolate(asked, flags):  # torch comes with it
        print(line)
    return 0
