"""The measures of `lit_ae test`, by subject: rows of what a run and its data allow, or why they allow none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import log, prod, sqrt

import torch
from torch import Tensor
from torch.distributions import Distribution

from lit_ae.errors import ConfigError
from lit_ae.functional import bits_per_dim
from lit_ae.jobs.kept import kept, serving
from lit_ae.jobs.tabled import Row
from lit_ae.jobs.tested import Tested
from lit_ae.metrics import marginal
from lit_ae.models.coded import Coded
from lit_ae.models.generative import Generative, Variational
from lit_ae.models.vq_vae import code_use
from lit_ae.posteriors import DiagonalGaussian
from lit_ae.quantized import Codes

SUBSETS = 50  # that KID is averaged over


class Unfit(Exception):
    """Why a subject cannot be measured here, in words that may follow "but"."""


def mean(key: str, name: str, values: Tensor, unit: str = "", source: str = "", whole: float | None = None) -> Row:
    """The mean of one value per sample, with its standard error.

    Args:
        key: As in `Row`.
        name: As in `Row`.
        values: One value per sample, (N,).
        unit: As in `Row`.
        source: As in `Row`.
        whole: The mean over more samples, of which these are some, where the trainer's pass knows it.
    """
    values = values.cpu().double()
    value = values.mean().item() if whole is None else whole
    return Row(key, name, value, unit, error(values), source or samples(len(values)))


def error(values: Tensor) -> float | None:
    """Standard error of a mean, of values (N,)."""
    return values.double().std().item() / sqrt(len(values)) if len(values) > 1 else None


def share(key: str, name: str, value: float, n: int, source: str) -> Row:
    """A share of n samples, with its standard error where they are independent."""
    return Row(key, name, value, "%", sqrt(value * (1 - value) / n), source)


def samples(n: int, kind: str = "") -> str:
    """A number of samples in words."""
    return f"{n:,} {kind}{' ' if kind else ''}sample{'' if n == 1 else 's'}"


def likelihood(of: Tested) -> Iterable[Row]:
    """Nats of the trainer's pass, whose standard errors are those of n of its samples, and log p(x)."""
    columns, passed, model = of.columns, of.passed, of.run.model
    source = samples(of.count)
    shrink = sqrt(len(columns["distortion"]) / max(of.count, 1))

    def nats(key: str, name: str, values: Tensor, unit: str = "nats", scale: float = 1.0) -> Row:
        spread = error(scale * values)
        return Row(key, name, passed[key], unit, None if spread is None else spread * shrink, source)

    if "rate" in columns and "elbo" in passed:
        yield nats("elbo", "ELBO", columns["distortion"] + columns["rate"])
    yield nats("distortion", "distortion", columns["distortion"])
    if "rate" in columns and "rate" in passed:
        yield nats("rate", "rate", columns["rate"])
    if "bits_per_dim" in passed:
        per_dim = float(bits_per_dim(torch.tensor(1.0), prod(model.input_shape)))
        yield nats("bits_per_dim", "ELBO, bits/dim", columns["distortion"] + columns["rate"], "bits", per_dim)
    if isinstance(model, Variational) and of.asked.wants("log_px"):
        yield from log_px(of, model)


def log_px(of: Tested, model: Variational) -> Iterable[Row]:
    """log p(x) by importance sampling, with the error over the data and, beside it, that of the sampling alone."""
    draws = of.asked.nll_samples
    try:
        found = marginal.nll(model, of.tracked("log p(x)"), draws, seed=of.asked.seed)
    except ConfigError:  # a posterior without a density
        return
    own = found.error.cpu().double().square().sum().sqrt().item() / len(found.error)
    note = f"{draws:,} importance sample{'' if draws == 1 else 's'} each"
    note += f", which add an error of {own:.2g}" if draws > 1 else ""
    extra = (("importance_samples", draws), ("importance_error", own))
    yield replace(mean("log_px", "log p(x)", -found.nats, "nats"), note=note, extra=extra)


def reconstruction(of: Tested) -> Iterable[Row]:
    """Errors of what is decoded from the posterior's mode, or restored from corrupted samples."""
    columns = of.columns
    yield mean("mse", "MSE, sum over x", columns["mse"])
    yield mean("mse_mean", "MSE, mean over x", columns["mse"] / columns["elements"].double().mean())
    sampled = columns["mse_sampled"]
    if not (of.restoring or sampled.allclose(columns["mse"], rtol=1e-3)):  # a point is no sample
        shrink = sqrt(len(sampled) / max(of.count, 1))
        spread = error(sampled)
        whole = None if spread is None else spread * shrink
        yield Row("mse_sampled", "MSE, z sampled", of.passed["mse"], "", whole, samples(of.count))
    if "psnr" in columns:
        finite = columns["psnr"][columns["psnr"].isfinite()]
        yield mean("psnr", "PSNR", finite, "dB")
    if "ssim" in columns:
        yield mean("ssim", "SSIM", columns["ssim"])


def latents(of: Tested) -> Iterable[Row]:
    """What the posterior says of the data."""
    from lit_ae.metrics.latents import active_units, mutual_information

    columns, device = of.columns, of.run.device
    if not isinstance(of.run.model, Variational):
        raise Unfit(f"{of.run.variant} has no posterior with a rate")
    if "mean" in columns:
        size, source = columns["mean"].shape[1], samples(len(columns["mean"]))
        yield Row("active_units", "active units", active_units(columns["mean"]), source=source, note=f"of {size:,}")
    q: Distribution
    if "scale" in columns:
        q = DiagonalGaussian(columns["mean"].to(device), columns["scale"].to(device))
    elif "logits" in columns:
        q = Codes(columns["logits"].to(device))
    else:
        return
    if of.asked.wants("mutual_information"):
        n = len(columns["z"])
        note = f"at most log {n:,} = {log(n):.2f}"
        value = mutual_information(q, seed=of.asked.seed)
        yield Row("mutual_information", "mutual information", value, "nats", source=samples(n), note=note)


def codes(of: Tested) -> Iterable[Row]:
    """How much of a codebook is used."""
    model = of.run.model
    if not isinstance(model, Coded):
        raise Unfit(f"{of.run.variant} has no codes")
    found = of.columns["codes"]
    depth = model.code_shape[0] if len(model.code_shape) == 3 else 1
    share, perplexity = code_use(found, model.num_codes, depth)
    source, note = samples(len(found)), f"of {model.num_codes:,}"
    yield Row("codes_used", "codes used", share.item(), "%", source=source, note=note)
    yield Row("codes_perplexity", "perplexity", perplexity.item(), source=source, note=note)


def generation(of: Tested) -> Iterable[Row]:
    """How near generated samples come to those of the test split, by features of both."""
    from lit_ae.metrics.generation import fid, kid, prdc

    if not (isinstance(of.run.model, Generative) or kept(of.run.run)):
        hint = ": fit a sampler with lit_ae fit-sampler" if serving(of.run.model) else ", and no sampler fits it"
        raise Unfit(f"{of.run.variant} has no prior to sample from{hint}")
    if any(batch.mask is not None for batch in of.taken()):
        raise Unfit("some of its test samples are not observed in full")
    if min(of.count, of.asked.n) <= 5:
        raise Unfit("that takes more than 5 test samples")
    if of.extractor is None:
        raise Unfit("its data have no labels, or too few, to train a classifier on: give --features FILE")
    real, fake = of.compared(of.extractor)
    n = len(real)
    made = f"sampler {of.source.kind}" if of.source else "prior"
    source = f"{n:,} test samples and {n:,} from the {made}; features: {of.extractor.name}"
    yield Row("fid", "FID", fid(real, fake), source=source)
    size = min(1000, max(2, n // 2))
    value, spread = kid(real, fake, subsets=SUBSETS, size=size, seed=of.asked.seed)
    note = f"± is the deviation over {SUBSETS} subsets of {size:,}"
    yield Row("kid", "KID", value, "", spread, source, note, kind="deviation")
    if of.asked.wants("precision", "recall", "density", "coverage"):
        for key, value in prdc(real, fake)._asdict().items():
            if key == "density":  # no share: it may exceed 1
                yield Row(key, key, value, source=source)
            else:
                yield share(key, key, value, n, source)


def embedding(of: Tested) -> Iterable[Row]:
    """How well labels can be told from embeddings of the test split, with those of the training split known."""
    from lit_ae.metrics.probes import knn_accuracy, linear_probe

    z, y = of.columns["z"], of.columns.get("y")
    if y is None or y.ndim != 1 or y.is_floating_point():
        raise Unfit("its data have no labels")
    known, y = of.training, y[: len(z)]
    y_train = known["y"]
    if len(y_train.unique()) < 2:
        raise Unfit("its training samples have one label only")
    source = f"{samples(len(y))}, {len(y_train):,} training samples"
    measures: dict[str, tuple[str, Callable[..., float], str]] = {
        "knn_accuracy": ("k-NN accuracy", knn_accuracy, "5 neighbours"),
        "linear_probe_accuracy": ("linear probe", linear_probe, "logistic regression"),
    }
    for key, (name, measure, how) in measures.items():
        if of.asked.wants(key):
            yield replace(share(key, name, measure(known["z"], y_train, z, y), len(y), source), note=how)


def disentanglement(of: Tested) -> Iterable[Row]:
    """How the latents of the test split stand to its known factors."""
    from lit_ae.metrics import disentanglement as scores
    from lit_ae.metrics import interventions

    y, z, seed = of.columns.get("y"), of.columns["z"], of.asked.seed
    if y is None or y.ndim != 2 or y.shape[1] < 2 or (y != y.round()).any():
        raise Unfit("its data have no known factors: y of two or more columns of whole numbers")
    factors = y[: len(z)].long()
    source = f"{samples(len(z))}, {y.shape[1]} factors"
    simple: dict[str, tuple[str, Callable[[], float]]] = {
        "mig": ("MIG", lambda: scores.mig(z, factors)),
        "sap": ("SAP", lambda: scores.sap(z, factors)),
        "factor_vae_score": ("FactorVAE score", lambda: interventions.factor_vae_score(z, factors, seed=seed)),
        "beta_vae_score": ("BetaVAE score", lambda: interventions.beta_vae_score(z, factors, seed=seed)),
        "modularity": ("modularity", lambda: scores.modularity(z, factors)),
    }
    for key, (name, score) in simple.items():
        if of.asked.wants(key):
            yield Row(key, name, score(), source=source)
    if of.asked.wants("dci_disentanglement", "dci_completeness", "dci_informativeness"):
        for key, value in scores.dci(z, factors, seed=seed)._asdict().items():
            yield Row(f"dci_{key}", f"DCI {key}", value, source=source)


def loss(of: Tested) -> Iterable[Row]:
    """Whatever else the variant logs."""
    source = samples(of.count)
    for key, value in of.passed.items():
        if key not in ("elbo", "distortion", "rate", "bits_per_dim", "mse"):
            yield Row(key, key, value, source=source)


@dataclass(frozen=True)
class Subject:
    """A subject of the table.

    Args:
        title: Its heading.
        rows: Measures it, or raises `Unfit`.
    """

    title: Callable[[Tested], str] | str
    rows: Callable[[Tested], Iterable[Row]]

    def heading(self, of: Tested) -> str:
        """Its heading for a run."""
        return self.title if isinstance(self.title, str) else self.title(of)


def restored(of: Tested) -> str:
    """What the errors of reconstructions are errors of."""
    kind = "restored from corrupted samples" if of.restoring else "decoded from the posterior's mode"
    return f"Reconstruction, {kind}"


MEASURED: dict[str, Subject] = {
    "likelihood": Subject("Likelihood", likelihood),
    "reconstruction": Subject(restored, reconstruction),
    "latents": Subject("Latents", latents),
    "codes": Subject("Codes", codes),
    "generation": Subject("Generation", generation),
    "embedding": Subject("Embedding", embedding),
    "disentanglement": Subject("Disentanglement", disentanglement),
    "loss": Subject("Also logged", loss),
}
