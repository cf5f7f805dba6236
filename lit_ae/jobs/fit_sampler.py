"""`lit_ae fit-sampler`: a density over a run's latents or codes. Imports no torch before it knows what to fit."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module

from lit_ae.arguments import peek
from lit_ae.jobs.parsing import Parser, above, common, split
from lit_ae.samplers import kinds, known

DESCRIPTION = """Fit a density to what a finished run makes of its training data, from which lit_ae sample then draws.
The run itself stays as it is. The sampler goes to RUN/samplers/KIND/, laid out like a run: config.yaml, metrics.csv,
checkpoints/, and metrics.json with the nats per sample of the validation data.

Where the model has a distribution of latents per sample, as a VAE has, the density is that of draws of it. gmm and knn
are found at once. The others are trained, and an interrupted fit goes on when the same command is given again."""
EPILOG = """  --sampler.*        an argument of the kind: lit_ae fit-sampler --kind transformer --help
  --data.*           a setting of the data that beats the run's own

kinds:
{}

  lit_ae fit-sampler runs/ae/0 --kind gmm
  lit_ae fit-sampler runs/vq_vae/0 --kind transformer --sampler.layers 4"""


def parser() -> Parser:
    """The arguments of the command."""
    summaries = "\n".join(f"  {kind:<12} {entry.summary.rstrip('.')}" for kind, entry in kinds().items())
    parser = Parser(
        "lit_ae fit-sampler",
        usage="lit_ae fit-sampler RUN --kind KIND [--epochs N] [--condition label] [--device D] [...]",
        description=DESCRIPTION,
        epilog=EPILOG.format(summaries),
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", help="folder of a run, whose best checkpoint is taken, or a checkpoint")
    parser.add_argument("--kind", required=True, help="one of those below")
    parser.add_argument(
        "--epochs", type=above(1, int, True), help="of training; the best epoch's weights are kept (40)"
    )
    parser.add_argument("--lr", type=above(0), help="learning rate of AdamW (0.001)")
    parser.add_argument(
        "--seed", type=above(0, int, True), default=0, help="of weights, dropout and latents that are drawn (0)"
    )
    parser.add_argument(
        "--condition",
        choices=("label",),
        help="learn what each class looks like, so that sample --class can ask for it",
    )
    common(parser, "device")
    parser.add_argument("--overwrite", action="store_true", help="replace a sampler of this kind that is there already")
    return parser


def main(argv: Sequence[str]) -> int:
    """Fit one sampler.

    Raises:
        ConfigError: An argument does not fit, the run cannot serve the kind, or there is such a sampler already.
        RunError: The run cannot be opened.
        DataError: Its data are missing.
    """
    if not argv:
        parser().print_help()
        return 0
    rest, flags = split(argv, "--sampler.", "--data.")
    if {"-h", "--help"} & set(rest):
        if named := peek(rest, "--kind"):
            import_module("lit_ae.jobs.fitted").options(known(named[-1])).print_help()
        else:
            parser().print_help()
        return 0
    asked = parser().parse_args(rest)
    known(asked.kind)
    fitted = import_module("lit_ae.jobs.fitted")  # torch comes with it
    for line in fitted.fit(asked, flags):
        print(line)
    return 0
