"""`lit_ae detect`: anomaly scores of samples under a finished run. Imports no torch at its top."""

from __future__ import annotations

import argparse
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module

from lit_ae.errors import ConfigError
from lit_ae.jobs.parsing import Parser, above, common, ending, split, vacant

DESCRIPTION = """Score how little each sample looks like what a run was trained on: the higher, the more anomalous. What
lies above a quantile of the scores of the run's validation data is called anomalous. Writes a table, in the order of
the data, and a picture of both distributions with the most anomalous samples, RUN/figures/anomalies.png."""
EPILOG = """  --data.*              a setting of the data that beats the run's own

scores, in nats per sample:
  reconstruction   -log p(x|z) at the mode of q(z|x), for every variant; the default where there is no rate
  elbo             -ELBO, averaged over --samples of q(z|x) (16); the default where there is a rate
  log_px           -log p(x) by importance sampling with --samples of q(z|x) (100), where there is a rate

  lit_ae detect runs/vae/0 --data photos --out scores.csv
  lit_ae detect runs/vae/0 --normal 0 1 2 3 4
  lit_ae detect runs/vae_table/0 --data new.csv --labels new.csv --normal healthy

Where labels say what is normal, the area under the ROC curve is printed. --normal names the normal classes, by name or
by number; without it they are those called normal, good, ok, nominal or inlier. A sample's class is what --labels says
(a .csv, .parquet, .npz or .npy file with a column `y` or `label`, or with one column), or else its own label, or else
the folder that its file lies in. Samples are taken 128 at a time, whatever the batch size of the run: no score depends
on it."""
SUFFIXES = (".csv", ".parquet", ".npz")


def parser() -> Parser:
    """The arguments of the command."""
    parser = Parser(
        "lit_ae detect",
        usage="lit_ae detect RUN [--data PATH] [--score SCORE] [--quantile Q] [--normal CLASS ...] [--out FILE] [...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    common(parser, "run", "data", "split")
    parser.add_argument("--score", choices=("reconstruction", "elbo", "log_px"), help="what is measured (see below)")
    parser.add_argument("--samples", type=above(1, int, True), metavar="K", help="samples of q(z|x) (16, or 100)")
    parser.add_argument(
        "--quantile", type=share, default=0.99, metavar="Q", help="share of validation data below the threshold (0.99)"
    )
    parser.add_argument("--normal", nargs="+", metavar="CLASS", help="classes that are normal: prints the AUROC")
    parser.add_argument("--labels", metavar="FILE", help="classes of the samples, in their order (see below)")
    parser.add_argument(
        "--out", metavar="FILE", help="the table: .csv, .parquet or .npz (anomalies.csv in the run's folder)"
    )
    common(parser, "device", "seed", "overwrite")
    return parser


def share(text: str) -> float:
    """A number from 0 to 1."""
    if not 0 <= (value := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share: give a number from 0 to 1")
    return value


def main(argv: Sequence[str]) -> int:
    """Score samples.

    Raises:
        ConfigError: An argument does not fit, or the run cannot serve the score.
        RunError: The run cannot be opened.
        DataError: The data are missing, or do not fit the run.
    """
    if not argv or {"-h", "--help"} & set(argv):
        parser().print_help()
        return 0
    rest, flags = split(argv, "--data.")
    asked = parser().parse_intermixed_args(rest)
    if asked.data and asked.split != "test":
        raise ConfigError("--split is for the run's own samples: leave it out, or --data.")
    if asked.out:
        vacant(ending(asked.out, "--out", SUFFIXES), asked.overwrite)
    for line in import_module("lit_ae.jobs.detected").detect(asked, flags):  # torch comes with it
        print(line)
    return 0
