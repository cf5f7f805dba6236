"""`lit_ae embed`: latents or codes of samples, in a file. Imports no torch at its top."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module

from lit_ae.errors import ConfigError
from lit_ae.jobs.parsing import Parser, above, common, ending, split, vacant

DESCRIPTION = """Write the latents of samples, or their codes where the variant has codes: of a run's own data, or of
others. Nothing is sampled: latents are the posterior's mode, with its log variance where it has one."""
EPILOG = """  --data.*              a setting of the data that beats the run's own

  lit_ae embed runs/vae/0 --out z.parquet
  lit_ae embed runs/vae/0 --data photos --out z.npz
  torchrun --nproc_per_node 4 -m lit_ae embed runs/vae/0 --data photos --out z.parquet

.parquet: columns index, name, label, z0, z1, ..., log_variance0, ..., or code0, ...; .npz: arrays mean, log_variance or
codes, index, name, label; .npy: means or codes alone. Rows are in the order of the data, on any number of processes."""
SUFFIXES = (".parquet", ".npz", ".npy")


def parser() -> Parser:
    """The arguments of the command."""
    parser = Parser(
        "lit_ae embed",
        usage="lit_ae embed RUN --out FILE [--data PATH | --split SPLIT] [--dtype T] [--processes N] [...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    common(parser, "run", "data", "split")
    parser.add_argument("--out", metavar="FILE", required=True, help="a .parquet, .npz or .npy file")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="of latents (float32)")
    parser.add_argument(
        "--processes", type=above(1, int, True), default=1, metavar="N", help="share the work among N processes (1)"
    )
    common(parser, "batch_size", "device", "seed", "overwrite")
    return parser


def main(argv: Sequence[str]) -> int:
    """Embed samples.

    Raises:
        ConfigError: An argument does not fit.
        RunError: The run cannot be opened.
        DataError: The samples are missing, or do not fit the run.
        NonFiniteError: A latent is not finite.
        StorageError: The file cannot be written.
    """
    if not argv or {"-h", "--help"} & set(argv):
        parser().print_help()
        return 0
    rest, flags = split(argv, "--data.")
    asked = parser().parse_args(rest)
    out = ending(asked.out, "--out", SUFFIXES)
    if asked.data and asked.split != "test":
        raise ConfigError("--split is for the run's own samples: leave it out, or --data.")
    vacant(out, asked.overwrite)
    if asked.processes > 1:
        return int(import_module("lit_ae.jobs.shards").spread("embed", argv, asked.processes))
    embedded = import_module("lit_ae.jobs.embedded")  # torch comes with it
    for line in embedded.embed(asked, flags):
        print(line)
    return 0
