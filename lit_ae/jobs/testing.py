"""What `lit_ae test` measures beside the trainer's pass, and its flags. Imports no torch."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lit_ae.errors import ConfigError

# subject → its measures, as metrics.json calls them
SUBJECTS: dict[str, tuple[str, ...]] = {
    "likelihood": ("elbo", "distortion", "rate", "log_px", "bits_per_dim"),
    "reconstruction": ("mse", "mse_mean", "mse_sampled", "psnr", "ssim"),
    "latents": ("active_units", "mutual_information"),
    "codes": ("codes_used", "codes_perplexity"),
    "generation": ("fid", "kid", "precision", "recall", "density", "coverage"),
    "embedding": ("knn_accuracy", "linear_probe_accuracy"),
    "disentanglement": (
        "mig",
        "sap",
        "dci_disentanglement",
        "dci_completeness",
        "dci_informativeness",
        "factor_vae_score",
        "beta_vae_score",
        "modularity",
    ),
    "loss": (),  # whatever else the variant logs
}
NAMES = (*SUBJECTS, *(name for names in SUBJECTS.values() for name in names))
N, NLL_SAMPLES = 10_000, 100
QUICK = {"n": 1000, "nll_samples": 10}
FLAGS: dict[str, dict[str, Any]] = {
    "metrics": {
        "nargs": "+",
        "type": str,
        "metavar": "NAME",
        "help": f"Subjects ({', '.join(SUBJECTS)}) or names in metrics.json; by default all that the run allows.",
    },
    "n": {
        "type": int,
        "help": "Samples at most of the test split and of the training split, drawn by chance, and generated, that "
        "the report looks at, "
        f"beside the trainer's own pass over the whole test split ({N}).",
    },
    "nll_samples": {"type": int, "help": f"Importance samples for log p(x) of each sample ({NLL_SAMPLES})."},
    "features": {
        "type": str,
        "metavar": "FILE",
        "help": "Network for FID, KID, precision, recall, density and coverage of pictures; by default a classifier "
        "that is trained on the run's own training data.",
    },
    "sampler": {"type": str, "metavar": "KIND", "help": "Fitted sampler that generates, or `prior` (the newest)."},
    "seed": {"type": int, "default": 0, "help": "Seed of all that the report draws."},
    "quick": {
        "action": "store_true",
        "help": f"A first look: n {QUICK['n']} and nll_samples {QUICK['nll_samples']} where these are not given.",
    },
}


@dataclass(frozen=True)
class Asked:
    """What the report is to hold.

    Args:
        metrics: Measures to take; None is all that the run allows.
        n: Samples at most.
        nll_samples: Importance samples per sample.
        features: File of a network, None for a classifier trained on the data.
        sampler: Kind of sampler that generates, None for the newest.
        seed: Of all that is drawn.
    """

    metrics: frozenset[str] | None = None
    n: int = N
    nll_samples: int = NLL_SAMPLES
    features: Path | None = None
    sampler: str | None = None
    seed: int = 0

    def wants(self, *names: str) -> bool:
        """Whether one of these measures is wanted."""
        return self.metrics is None or not self.metrics.isdisjoint(names)


def add_flags(parser: Any) -> None:
    """Add the flags of the report to the parser of the trainer's command, in whose help they stand last.

    They are no part of what config.yaml keeps of a run.
    """
    group = parser.add_argument_group("Report: what is measured beside the trainer's own pass")
    for name, settings in FLAGS.items():
        group.add_argument(f"--{name}", **settings)


def asked(given: Mapping[str, Any] | argparse.Namespace) -> Asked:
    """The report that flags ask for.

    Raises:
        ConfigError: A value does not fit.
    """
    values: dict[str, Any] = {name: dict(vars(given)).get(name) for name in FLAGS}
    quick = QUICK if values.pop("quick") else {}
    for name, default in (("n", N), ("nll_samples", NLL_SAMPLES)):
        if values[name] is None:
            values[name] = quick.get(name, default)
    for name, least in (("n", 2), ("nll_samples", 1), ("seed", 0)):
        if values[name] < least:
            raise ConfigError(f"--{name} is {values[name]}: give at least {least}.")
    if values["features"] is not None:
        values["features"] = Path(values["features"])
        if not values["features"].is_file():
            raise ConfigError(f"--features is {values['features']}, and there is no such file: name a network's file.")
    if values["metrics"] is not None:
        values["metrics"] = chosen(values["metrics"])
    return Asked(**values)


def chosen(names: Sequence[str]) -> frozenset[str]:
    """Measures by their names, or by those of their subjects.

    Raises:
        ConfigError: There is no such measure.
    """
    for name in names:
        if name not in NAMES:
            near = get_close_matches(name, NAMES, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(SUBJECTS)}, and the names in these."
            raise ConfigError(f"--metrics has {name!r}, and there is no such measure: {hint}")
    return frozenset(measure for name in names for measure in (name, *SUBJECTS.get(name, ())))
