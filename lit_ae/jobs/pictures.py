"""The pictures of `lit_ae draw`, one function each: from opened runs to a figure, or to files by their suffix."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from math import isnan
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from lit_ae.batch import key
from lit_ae.callbacks.bubbles import Bubbles, History, gaussian, standard
from lit_ae.callbacks.figures import png, write
from lit_ae.callbacks.gif import gif
from lit_ae.jobs.measured import copies, error_of, inputs, latents, principal, restored, restored_error, several
from lit_ae.jobs.opening import Split, opened
from lit_ae.jobs.request import RESTORING, Request
from lit_ae.models.base import Autoencoder
from lit_ae.models.denoising_ae import DenoisingAE
from lit_ae.models.generative import Generative
from lit_ae.models.latent import VectorDecoding, VectorVariational
from lit_ae.models.masked_autoencoder import MaskedAutoencoder
from lit_ae.models.randomness import reseed
from lit_ae.plots.bubbles import bubbles as panels
from lit_ae.plots.concepts import Map, error_lines, latent_maps, noises, rebuilt, restorations
from lit_ae.plots.concepts import codes as code_images
from lit_ae.plots.energy import energy_maps, over_plane, plane_points, surroundings, vector_field
from lit_ae.plots.style import array
from lit_ae.plots.tiles import is_picture, limits
from lit_ae.storage import load

COLUMNS = 10  # of decoded random codes
CODES = 1000  # most codes on a map
ARROWS = 25  # along a side of the field
Drawing = Figure | dict[str, bytes]


def drawn(picture: str, folders: Sequence[str], split: Split, n: int) -> list[Path]:
    """Open the runs, draw, and write into the folder figures/ of the first: the files written.

    Raises:
        ConfigError: The runs cannot serve the picture.
        RunError: A run cannot be opened.
    """
    request = Request(picture, [opened(folder) for folder in folders], split, n)
    reseed(key(0), torch.device("cpu"))
    with torch.no_grad():
        found = DRAW[picture](request)
    contents = {"png": png(found)} if isinstance(found, Figure) else found
    folder = request.runs[0].run.figures
    for suffix, content in contents.items():
        write(folder / f"{picture}.{suffix}", content)
    return [folder / f"{picture}.{suffix}" for suffix in contents]


def maps(request: Request) -> Figure:
    """Codes of many samples, and n decoded random codes under each map."""
    request.need(VectorDecoding)
    request.need_shape(is_picture, "pictures")
    count = -(-request.n // COLUMNS) * COLUMNS
    parts, batches = [], request.first(CODES)
    for name, run, batch in zip(request.names(), request.runs, batches, strict=True):
        model, c = run.model, several(batch.c, count)
        z = model.embed(*inputs(batch))
        if not isinstance(model, Generative) or standard(model):
            x, about = model.decode(torch.randn(count, z.shape[1]), c).mean, "decoded z ~ N(0, I)"
        else:
            x, about = model.sample(count, c), "decoded z ~ p(z)"
        parts.append(Map(name, z, x.unflatten(0, (-1, COLUMNS)), about))
    return latent_maps(parts, batches[0].y, request.runs[0].class_names, limits(array(batches[0].x)))


def bubbles(request: Request) -> Drawing:
    """The history that a run trained with the callback Bubbles kept, or else the posteriors after training alone."""
    request.need(VectorVariational)
    (run,) = request.runs
    state = load(run.run.checkpoint("last", "best")).get("callbacks", {}).get(Bubbles().state_key)
    if state and len(state["epochs"]) > 1:
        still, moving = History(len(state["epochs"]), state).pictures(run.class_names)
        return {"png": png(still), "gif": gif(moving)}
    batch = run.first(request.n, request.split)
    q = gaussian(run.model.encode(*inputs(batch)), run.model)
    prior = standard(run.model)
    return panels(["after training"], q.mode[None], q.scale[None], batch.y, run.class_names, prior)


def denoising(request: Request) -> Figure:
    """Triptychs of n samples, a pair of rows for each run; what is hidden is shown grey."""
    request.need(RESTORING)
    request.need_shape(is_picture, "pictures")
    batches, parts = request.first(), []
    grey = sum(limits(array(batches[0].x))) / 2
    for run, batch in zip(request.runs, batches, strict=True):
        seen, x_hat = restored(run.model, batch)
        before, after = restored_error(run, request.split)
        told = noise_of(run.model) if isnan(before) else f"{noise_of(run.model)}\n{cost('x̃', before)}"
        parts.append((told, seen.nan_to_num(nan=grey), f"restored\n{cost('x̂', after)}", x_hat))
    return restorations(batches[0].x, parts)


def noise(request: Request) -> Figure:
    """One sample, corrupted n times and restored, over what n samples of its posterior are decoded to."""
    request.need(DenoisingAE, 0)
    request.need(VectorVariational, 1)
    request.need_shape(is_picture, "pictures")
    clean, given = (copies(batch, request.n) for batch in request.first(1))
    denoiser, variational = (run.model for run in request.runs)
    corrupted = denoiser.corrupt(clean)[0]
    denoised = [denoiser.reconstruct(*inputs(batch)) for batch in (clean, corrupted)]
    q = variational.encode(*inputs(given))
    decoded = [variational.decode(z, given.c).mean for z in (q.mode, q.sample())]
    rows = [(clean.x, corrupted.x), denoised, decoded]
    page = torch.stack([torch.cat([without[:1], noised]) for without, noised in rows])
    return noises(page, [f"x + noise\n({noise_of(denoiser)})", "restored", "decoded\nz ~ q(z|x)"])


def energy(request: Request) -> Figure:
    """Reconstruction cost over the plane, one heat map per run, under n samples."""
    request.need_shape(is_plane, "points in the plane")
    points = request.first()[0].x
    extent = surroundings(points)
    costs = [over_plane(cost_of(run.model), extent) for run in request.runs]
    return energy_maps(request.names(), costs, extent, points)


def field(request: Request) -> Figure:
    """Reconstruction minus input over the plane, over n samples."""
    request.need(DenoisingAE)
    request.need_shape(is_plane, "points in the plane")
    (batch,), (run,) = request.first(), request.runs
    x = plane_points(surroundings(batch.x), ARROWS).flatten(0, 1)
    return vector_field(x, run.model.reconstruct(x) - x, batch.x)


def sizes(request: Request) -> Figure:
    """n samples over what each run makes of them, the smallest latent first."""
    request.need(VectorDecoding)
    request.need_shape(is_picture, "pictures")
    batches, rows = request.first(), []
    for run, batch in sorted(zip(request.runs, batches, strict=True), key=lambda pair: latents(pair[0])):
        count, mse = latents(run), cost("x̂", error_of(run, request.split))
        title = f"{run.name}, " if len({each.name for each in request.runs}) > 1 else ""
        rows.append((f"{title}{count} latent{'s' * (count > 1)}\n{mse}", run.model.reconstruct(*inputs(batch))))
    return rebuilt(batches[0].x, rows)


def codes(request: Request) -> Figure:
    """The codes of n samples, an image per run."""
    request.need(VectorDecoding)
    z = [run.model.embed(*inputs(batch)) for run, batch in zip(request.runs, request.first(), strict=True)]
    return code_images(request.names(), z)


def error(request: Request) -> Figure:
    """A line per name of runs, and one of principal components where no cell is missing."""
    request.need(VectorDecoding)
    request.first(1)
    lines: dict[str, dict[int, float]] = defaultdict(dict)
    for run in request.runs:
        lines[run.name][latents(run)] = error_of(run, request.split)
    counts = [size for line in lines.values() for size in line]
    return error_lines(lines, principal(request.runs[0], request.split, min(counts), max(counts)))


DRAW: dict[str, Callable[[Request], Drawing]] = {
    function.__name__: function for function in (maps, bubbles, denoising, noise, energy, field, sizes, codes, error)
}


def noise_of(model: Autoencoder) -> str:
    """Kind and level of a denoising autoencoder's noise, or the share of a masked one's hidden patches."""
    if isinstance(model, MaskedAutoencoder):
        return f"{1 - model.visible / model.patches:.0%} of patches hidden"
    assert isinstance(model, DenoisingAE)
    return f"{model.noise.replace('_', ' ')}, {model.level:g}"


def cost(of: str, value: float) -> str:
    """How a squared distance to x is written."""
    return f"‖{of} \N{MINUS SIGN} x‖² = {value:.2f}"


def is_plane(shape: Sequence[int]) -> bool:
    """Whether samples are points in the plane."""
    return tuple(shape) == (2,)


def cost_of(model: Autoencoder) -> Callable[[Tensor], Tensor]:
    """Reconstruction cost ‖x − x̂‖², (N,), of points (N, 2)."""
    return lambda x: (model.reconstruct(x) - x).square().sum(1)
