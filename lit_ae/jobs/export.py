"""`lit_ae export`: encoder and decoder for other programs. Imports no torch at its top."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module

from lit_ae.jobs.parsing import Parser, common, split

FORMATS = ("onnx", "torch", "safetensors", "all")
DESCRIPTION = """Write a finished run for other programs, into RUN/export:

  onnx         encoder.onnx and decoder.onnx, for ONNX Runtime, browsers and phones
  torch        encoder.pt2 and decoder.pt2, for torch.export.load and ahead-of-time compilation
  safetensors  model.safetensors and model.json, for lit_ae.load: every model, nothing to unpickle

The encoder maps x to z, the means, with log_variance or codes where there are any; the decoder z to E[x|z]. The batch
may have any size; conditions and masks are inputs of their own. Each file is run on real samples of the run's data, at
batch sizes 1 and 7, and kept where it agrees with PyTorch to 1e-4. README.md and signature.json beside them say what
goes in and what comes out."""
EPILOG = """  --data.*     a setting of the data that beats the run's own

  lit_ae export runs/vae/0 --format onnx
  lit_ae export runs/vae/0 --format all --out shared/vae"""


def parser() -> Parser:
    """The arguments of the command."""
    parser = Parser(
        "lit_ae export",
        usage="lit_ae export RUN [--format onnx|torch|safetensors|all] [--out DIR] [--overwrite]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    common(parser, "run", "overwrite")
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="what is written (onnx)")
    parser.add_argument("--out", metavar="DIR", help="folder that is written (RUN/export)")
    return parser


def main(argv: Sequence[str]) -> int:
    """Export a run.

    Raises:
        ConfigError: An argument does not fit, the folder is there already, packages are missing, or a file does not
            agree with PyTorch.
        RunError: The run cannot be opened.
        DataError: The data, on which the files are checked, are missing.
    """
    if not argv or {"-h", "--help"} & set(argv):
        parser().print_help()
        return 0
    rest, flags = split(argv, "--data.")
    asked = parser().parse_args(rest)
    exported = import_module("lit_ae.jobs.exported")  # torch comes with it
    for line in exported.export(asked, flags):
        print(line)
    return 0
