"""`lit_ae draw`: the pictures that lectures draw, from finished runs. Imports no torch before it knows what to draw."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import NamedTuple

from lit_ae.errors import ConfigError
from lit_ae.jobs.parsing import Parser


class Picture(NamedTuple):
    """What a picture is drawn from.

    Args:
        runs: The runs that it takes, as the usage says it.
        summary: What it shows.
        least: Fewest runs.
        most: Most runs, None for any number.
        n: Samples shown, by default.
    """

    runs: str
    summary: str
    least: int
    most: int | None
    n: int


PICTURES = {  # each a function of this name in pictures.py
    "maps": Picture("AE VAE", "latent maps on the same axes, with decoded random codes under each", 1, 3, 40),
    "bubbles": Picture("VAE", "mean and radius of each posterior, animated where Bubbles was a callback", 1, 1, 200),
    "denoising": Picture("DENOISING ...", "clean, corrupted and restored samples; MaskedAutoencoder too", 1, None, 10),
    "noise": Picture("DENOISING VAE", "noise in the input against noise in the latent", 2, 2, 9),
    "energy": Picture("RUN ...", "reconstruction cost over the plane, of runs on 2-D points", 1, None, 400),
    "field": Picture("DENOISING", "where reconstruction moves each point of the plane", 1, 1, 400),
    "sizes": Picture("RUN ...", "the same samples rebuilt at several latent sizes", 1, None, 10),
    "codes": Picture("RUN ...", "which latents answer to which sample: codes as images", 1, None, 60),
    "error": Picture("RUN ...", "test error against latent size, with PCA's", 1, None, 0),
}
LIST = "\n".join(f"  {name:<10} {picture.runs:<14} {picture.summary}" for name, picture in PICTURES.items())
EPILOG = f"""pictures, and the runs that they are drawn from:
{LIST}

  lit_ae draw maps runs/ae/0 runs/vae/0     writes runs/ae/0/figures/maps.png

A run is a folder, whose best checkpoint is drawn, or one of the checkpoints in it."""


def parser() -> Parser:
    """The arguments of the command."""
    parser = Parser(
        "lit_ae draw",
        usage="lit_ae draw PICTURE RUN [RUN ...] [--split SPLIT] [--n N]",
        description="Draw a picture of finished runs, into the folder figures/ of the first.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("picture", metavar="PICTURE", help="one of those below")
    parser.add_argument("runs", metavar="RUN", nargs="*", help="folders of runs")
    parser.add_argument(
        "--split", choices=("train", "val", "test"), default="test", help="which samples are drawn (default: test)"
    )
    parser.add_argument("--n", type=int, help="how many samples are drawn (default: as many as fit)")
    return parser


def main(argv: Sequence[str]) -> int:
    """Draw one picture.

    Raises:
        ConfigError: There is no such picture, or the runs cannot serve it.
        RunError: A run cannot be opened.
    """
    if not argv:
        parser().print_help()
        return 0
    asked = parser().parse_args(argv)
    picture = PICTURES.get(asked.picture)
    if picture is None:
        near = get_close_matches(asked.picture, PICTURES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(PICTURES)}."
        raise ConfigError(f"There is no picture {asked.picture!r}: {hint}")
    given = len(asked.runs)
    if given < picture.least or (picture.most is not None and given > picture.most):
        raise ConfigError(
            f"The picture {asked.picture} is drawn from {picture.runs}, {given} runs were named: "
            f"lit_ae draw {asked.picture} {picture.runs.replace(' ...', ' [...]')}"
        )
    if asked.n is not None and asked.n < 1:
        raise ConfigError(f"--n is {asked.n}: give at least 1.")
    pictures = import_module("lit_ae.jobs.pictures")  # torch comes with it
    for path in pictures.drawn(asked.picture, asked.runs, asked.split, asked.n or picture.n):
        print(f"picture  {path}")
    return 0
