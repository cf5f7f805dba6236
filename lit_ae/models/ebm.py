"""The energy-based latent-variable model: no encoder, latents are inferred."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Distribution

from lit_ae.batch import Batch, Shape
from lit_ae.errors import ConfigError
from lit_ae.free_energy import box_grid, box_starts, descend, gibbs, langevin
from lit_ae.functional import full_precision
from lit_ae.likelihoods import Likelihood
from lit_ae.models.base import Coefficients
from lit_ae.models.generative import Generative
from lit_ae.models.latent import VectorDecoding
from lit_ae.models.output import Output
from lit_ae.nn import fold
from lit_ae.posteriors import Delta, DiagonalGaussian
from lit_ae.priors import Prior, StandardNormal

MAX_GRID = 2**20  # points


class EBM(Generative, VectorDecoding):
    """Energy-based latent-variable model: a decoder alone, its latents found by minimising or marginalising an energy.

    E(x, z) = C + λ R with C = −log p(x|z) and R = −log p(z). Minimises F_∞ = min_z E, or
    F_β = −1/β log ∫ exp(−βE) dz = ⟨C⟩ + λ⟨R⟩ − H/β over the weights w ∝ exp(−βE): the terms distortion, regularizer and
    entropy (−H/β), whose gradient is ⟨∂E⟩. At β = λ = 1, −F_β is log p(x).

    Only a grid and importance sampling know the entropy: with minimisation the loss is F_∞, and with Langevin sampling
    ⟨E⟩, which has the gradient of F_β but not its value. Samples are decoded from p(z), which is the model's own law of
    z where β = λ = 1. The embedding is always the latent of least energy found. What needs no parameters' gradient, the
    search and the sampling, reads the target coefficients, not the annealed ones.

    Args:
        prior: Builds p(z) from the shape of one latent.
        inference: How z is dealt with: "minimise" by gradient descent, or marginalise over a "grid" (1 to 3 latents),
            by "importance" sampling, or by "langevin" sampling.
        inverse_temperature: β per nat.
        regularizer: Weight λ of R; 0 leaves it out.
        box: Lowest and highest value of each latent, within which descent starts and the grid lies.
        restarts: Number of latents per sample that descend, from the middle of the box and from fixed points spread
            over it; with a grid one descends, from its best point.
        inference_steps: Steps of gradient descent, and of Langevin sampling from where that ends.
        step_size: First step of the descent, and every step of Langevin sampling, per unit of gradient.
        grid_points: Points of the grid per latent.
        inference_samples: Samples per sample of the data, importance and Langevin.
        proposal_scale: Standard deviation of an importance proposal about the least energy; None for the prior.

    Reference:
        LeCun, Chopra, Hadsell, Ranzato & Huang, "A Tutorial on Energy-Based Learning", 2006.
        LeCun & Canziani, "Deep Learning", NYU course 2021, lectures on latent-variable energy-based models.
    """

    starts: Tensor
    grid: Tensor

    def __init__(
        self,
        *args: Any,
        prior: Callable[[Shape], Prior] = StandardNormal,
        inference: Literal["minimise", "grid", "importance", "langevin"] = "minimise",
        inverse_temperature: float = 1.0,
        regularizer: float = 1.0,
        box: tuple[float, float] = (-3.0, 3.0),
        restarts: int = 4,
        inference_steps: int = 20,
        step_size: float = 0.05,
        grid_points: int = 50,
        inference_samples: int = 64,
        proposal_scale: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        sizes = {"restarts": restarts, "inference_steps": inference_steps, "inference_samples": inference_samples}
        for name, size in {**sizes, "grid_points": grid_points}.items():
            if size < 1:
                raise ConfigError(f"{name} is {size}: set --model.{name} to 1 or more.")
        scale = 1.0 if proposal_scale is None else proposal_scale
        scales = {"inverse_temperature": inverse_temperature, "step_size": step_size, "proposal_scale": scale}
        for name, value in scales.items():
            if not 0 < value < float("inf"):
                raise ConfigError(f"{name} is {value}: set --model.{name} to a finite number above 0.")
        if regularizer < 0:
            raise ConfigError(f"regularizer is {regularizer}: set --model.regularizer to 0 or more.")
        (low, high), (dim,) = box, self.latent_shape
        if not low < high:
            raise ConfigError(f"box is [{low}, {high}]: set --model.box to a lower and a higher bound.")
        if inference not in ("minimise", "grid", "importance", "langevin"):
            raise ConfigError(
                f"inference is {inference!r}: set --model.inference to minimise, grid, importance or langevin."
            )
        if inference == "grid" and (dim > 3 or grid_points**dim > MAX_GRID):
            raise ConfigError(
                f"A grid of {grid_points} points a side over {dim} latents is too large: choose --model.inference "
                "importance, or at most 3 latents and 2^20 points in all."
            )
        self.inference, self.inference_steps, self.step_size = inference, inference_steps, step_size
        self.proposal_scale = proposal_scale
        self.samples = inference_samples if inference in ("importance", "langevin") else 1
        self.prior_net = prior(self.latent_shape)
        self.coefficients |= {"regularizer": regularizer, "inverse_temperature": inverse_temperature}
        self.register_buffer("starts", box_starts(low, high, restarts, dim), persistent=False)
        points, self.log_cell = box_grid(low, high, grid_points, dim) if inference == "grid" else (torch.empty(0), 0.0)
        self.register_buffer("grid", points, persistent=False)

    def prior(self, c: Tensor | None = None) -> Distribution:
        """p(z), event (D,)."""
        return self.prior_net(c)

    def costs(self, batch: Batch, z: Tensor, p: Likelihood) -> tuple[Tensor, Tensor]:
        """C and R in nats, (*K, B), of latents z, (*K, B, D), and what they are decoded to."""
        return -p.log_prob(batch.x), -self.prior(batch.c).log_prob(z)

    def energy(self, batch: Batch, z: Tensor, p: Likelihood | None = None) -> Tensor:
        """E(x, z) in nats, (*K, B), of latents z, (*K, B, D), under the target coefficients."""
        cost, penalty = self.costs(batch, z, p or self.decode(z, batch.c, batch.mask))
        return self.coefficients["distortion"] * cost + self.coefficients["regularizer"] * penalty

    def encode(self, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Delta:
        """The latent of least energy that the search finds, batch (B,), event (D,); no graph leads to it."""
        batch = Batch(x, None, c, mask)
        if self.inference == "grid":
            return self.nearest(batch, *self.on_grid(batch))
        return self.descended(batch, full_precision(self.starts)[:, None].expand(-1, len(x), -1))

    def descended(self, batch: Batch, starts: Tensor) -> Delta:
        """The best of the latents that descend from these, (K, B, D)."""
        return least(*descend(lambda z: self.energy(batch, z), starts, self.inference_steps, self.step_size))

    @torch.no_grad()
    def nearest(self, batch: Batch, z: Tensor, p: Likelihood) -> Delta:
        """The latent that descends from the best point of the grid."""
        return self.descended(batch, least(z, self.energy(batch, z, p)).mode[None])

    def on_grid(self, batch: Batch) -> tuple[Tensor, Likelihood]:
        """The grid's latents, (K, B, D), each of them decoded once for the whole batch where there is no condition."""
        points = full_precision(self.grid)[:, None]
        z = points.expand(-1, len(batch.x), -1)
        if self.condition is not None:
            return z, self.decode(z, batch.c, batch.mask)
        raw = fold(self.decoder, points)
        return z, self.likelihood(raw.expand(*z.shape[:2], *raw.shape[2:])).masked(batch.mask)

    def forward(self, batch: Batch, k: int | None = None) -> Output:
        """Infer latents: the best one k times, k samples, or the whole grid; `aux` has log dz, (B, K), where known."""
        prior, count = self.prior(batch.c), k or self.samples
        if self.inference == "grid":
            z, p = self.on_grid(batch)
            return Output(
                self.nearest(batch, z, p), z, p, prior, aux={"log_volume": z.new_full((len(batch.x), 1), self.log_cell)}
            )
        q, aux = self.encode(batch.x, batch.c, batch.mask), {}
        z = q.sample(torch.Size((count,)))
        if self.inference == "langevin":
            beta = self.coefficients["inverse_temperature"]
            z = langevin(lambda at: self.energy(batch, at), z, self.inference_steps, self.step_size, beta)
        elif self.inference == "importance":
            with torch.no_grad():
                proposal = self.proposal(q, prior)
                z = proposal.sample(torch.Size((count,)))
                aux = {"log_volume": (-proposal.log_prob(z) - log(count)).mT}
        return Output(q, z, self.decode(z, batch.c, batch.mask), prior, aux=aux)

    def proposal(self, q: Delta, prior: Distribution) -> Distribution:
        """Where importance samples come from, batch (B,): the prior, or a Gaussian about the least energy."""
        if self.proposal_scale is None:
            return prior.expand(q.batch_shape)
        return DiagonalGaussian(q.mode, torch.full_like(q.mode, self.proposal_scale))

    def weights(self, batch: Batch, out: Output, coef: Coefficients) -> tuple[Tensor, ...]:
        """C, R and w, (K, B), and H[w] where it is known, (B,)."""
        assert isinstance(out.z, Tensor)
        cost, penalty = self.costs(batch, out.z, out.p)
        if "log_volume" not in out.aux:
            return cost, penalty, torch.full_like(cost, 1 / len(cost))
        energy = coef["distortion"] * cost + coef["regularizer"] * penalty
        return cost, penalty, *gibbs(energy, out.aux["log_volume"].mT, coef["inverse_temperature"])

    def loss(self, batch: Batch, out: Output, coef: Coefficients) -> dict[str, Tensor]:
        """⟨C⟩, ⟨R⟩ and, where it is known, −H/β in nats, (B,): weighted, their sum is F."""
        cost, penalty, weights, *entropy = self.weights(batch, out, coef)
        terms = {"distortion": (weights * cost).sum(0), "regularizer": (weights * penalty).sum(0)}
        return terms if not entropy else {**terms, "entropy": -entropy[0] / coef["inverse_temperature"]}

    def metrics(self, batch: Batch, out: Output) -> dict[str, Tensor]:
        """Squared error under w, (B,): points of a grid do not count alike."""
        weights = self.weights(batch, out, dict(self.coefficients))[2]
        return {"mse": (weights * out.p.squared_error(batch.x)).sum(0)}

    @torch.no_grad()
    def free_energy(self, x: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """F_∞ or F_β in nats, (B,), as the inference goes; ⟨E⟩ with Langevin sampling. Low where x is likely."""
        batch = Batch(x, None, c, mask)
        coef: Coefficients = dict(self.coefficients)
        terms = self.loss(batch, self(batch), coef)
        return torch.stack([coef.get(name, 1.0) * term for name, term in terms.items()]).sum(0)


def least(z: Tensor, energy: Tensor) -> Delta:
    """The latent of least energy among K: z is (K, B, D), energy (K, B)."""
    best = energy.argmin(0)[None, :, None].expand(1, -1, z.shape[2])
    return Delta(z.gather(0, best)[0])
