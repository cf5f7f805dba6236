"""`lit_ae traverse`: what each latent of a run does to a sample. Imports no torch at its top."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module

from lit_ae.errors import ConfigError
from lit_ae.jobs.parsing import Parser, above, common, split

DESCRIPTION = """Move one latent dimension of a finished run at a time over where the data lie, while the others stay as
they are, and decode. Dimensions come in the order of their rate, or of their variance where there is no rate; those
that carry nothing are named. Writes a picture and an animation into RUN/figures. Of a grid of latents, whole channels
are moved."""
EPILOG = """  --data.*           a setting of the data that beats the run's own

  lit_ae traverse runs/vae/0
  lit_ae traverse runs/vae/0 7 --dims 1 4 9 --steps 9 --quantile 0.02

SAMPLE is the number of a sample, from 0, in the split, or a file with one, about which the others stay; without it,
they stay at the mean over the data. Spread and rates are those of up to 2,000 samples of the split."""


def parser() -> Parser:
    """The arguments of the command."""
    parser = Parser(
        "lit_ae traverse",
        usage="lit_ae traverse RUN [SAMPLE] [--dims D ...] [--steps N] [--span S | --quantile Q] [--out FOLDER] [...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    common(parser, "run")
    parser.add_argument("sample", metavar="SAMPLE", nargs="?", help="number of a sample, or a file with one")
    parser.add_argument(
        "--dims", type=above(1, int, True), nargs="+", metavar="D", help="which dimensions, from 1 (the 10 most active)"
    )
    parser.add_argument("--steps", type=above(2, int, True), default=11, metavar="N", help="pictures of each (11)")
    parser.add_argument(
        "--span", type=above(0), default=3.0, metavar="S", help="from -S to S standard deviations about the mean (3)"
    )
    parser.add_argument(
        "--quantile", type=above(0), metavar="Q", help="from the quantile Q to 1 - Q of the data instead"
    )
    parser.add_argument("--out", metavar="FOLDER", help="where the pictures go (figures in the run's folder)")
    common(parser, "data", "split", "device", "overwrite")
    return parser


def main(argv: Sequence[str]) -> int:
    """Sweep latents.

    Raises:
        ConfigError: An argument does not fit, or the run has no latents to sweep.
        RunError: The run cannot be opened.
        DataError: The data are missing, or do not fit the run.
    """
    if not argv or {"-h", "--help"} & set(argv):
        parser().print_help()
        return 0
    rest, flags = split(argv, "--data.")
    asked = parser().parse_intermixed_args(rest)
    if asked.quantile is not None and asked.quantile >= 0.5:
        raise ConfigError(f"--quantile is {asked.quantile:g}: give a number below 0.5.")
    for line in import_module("lit_ae.jobs.traversed").traverse(asked, flags):  # torch comes with it
        print(line)
    return 0
