"""`lit_ae sample`: pictures from a fitted sampler, or from a model's own prior. Imports no torch at its top."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module

from lit_ae.errors import ConfigError
from lit_ae.jobs.parsing import Parser, above, common, ending, split, vacant, vacant_folder
from lit_ae.samplers import known

DESCRIPTION = """Draw new samples of a finished run into its folder, figures/samples_<what they come from>.png: from the
sampler that lit_ae fit-sampler fitted last, or else from the prior of a variant that has one. However many there are,
the picture shows the first hundred, and memory holds a few hundred at a time (--save as .pt: all of them)."""
EPILOG = """  --data.*           a setting of the data that beats the run's own

  lit_ae sample runs/vae/0
  lit_ae sample runs/ae/0 --sampler gmm -n 10000 --save samples.npz
  lit_ae sample runs/vq_vae/0 --sampler transformer --temperature 0.8 -n 100 --out pictures

Where there is a condition, it is that of the first test samples, or the class that --class names."""
SUFFIXES = (".npz", ".pt", ".csv", ".parquet")


def parser() -> Parser:
    """The arguments of the command."""
    parser = Parser(
        "lit_ae sample",
        usage="lit_ae sample RUN [-n N] [--sampler KIND] [--temperature T] [--class C] [--seed S] [...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    common(parser, "run")
    parser.add_argument("-n", "--n", type=above(1, int, True), default=64, metavar="N", help="how many samples (64)")
    parser.add_argument("--sampler", metavar="KIND", help="kind of sampler, or `prior` (default: the newest)")
    parser.add_argument(
        "--temperature",
        type=above(0, float, True),
        default=1.0,
        metavar="T",
        help="below 1 likelier samples, above 1 wilder ones; 0 is not for codes (1)",
    )
    parser.add_argument(
        "--top_k", type=above(1, int, True), metavar="K", help="draw each code from the K most probable"
    )
    parser.add_argument(
        "--top_p",
        type=above(0),
        metavar="P",
        help="draw each code from the fewest that have the probability P together",
    )
    parser.add_argument(
        "--class", dest="label", type=above(0, int, True), metavar="C", help="number of the class drawn"
    )
    common(parser, "seed", "device")
    parser.add_argument("--out", metavar="FOLDER", help="write every sample as a PNG of its own, too")
    parser.add_argument(
        "--save",
        metavar="FILE",
        help="write samples, and latents or codes, as .npz or .pt, too; tables as .csv or .parquet as well",
    )
    common(parser, "overwrite")
    return parser


def main(argv: Sequence[str]) -> int:
    """Draw samples.

    Raises:
        ConfigError: An argument does not fit, or the run has nothing to draw from.
        RunError: The run or its sampler cannot be opened.
        DataError: The data that the run needs are missing.
    """
    if not argv or {"-h", "--help"} & set(argv):
        parser().print_help()
        return 0
    rest, flags = split(argv, "--data.")
    asked = parser().parse_args(rest)
    if asked.sampler not in (None, "prior"):
        known(asked.sampler)
    if asked.top_p is not None and asked.top_p > 1:
        raise ConfigError(f"--top_p is {asked.top_p:g}: give a number up to 1.")
    if asked.save:
        ending(asked.save, "--save", SUFFIXES)
    if asked.out:
        vacant_folder(asked.out, asked.overwrite)
    if asked.save:
        vacant(asked.save, asked.overwrite)
    sampled = import_module("lit_ae.jobs.sampled")  # torch comes with it
    for line in sampled.sample(asked, flags):
        print(line)
    return 0
