"""Codes without a codebook: each feature is rounded to a few numbers."""

from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_ae.errors import ConfigError
from lit_ae.nn.quantizers.base import Quantizer, check, distance


class FSQ(Quantizer):
    """Finite scalar quantization: feature j is bounded, then rounded to one of L_j numbers in [−1, 1].

    Nothing is learned and no term is added (Mentzer et al. 2023, section 3).

    Args:
        features: Number of features of one vector, as many as levels.
        levels: Numbers L_j that each feature takes, 2 or more; their product is the number of codes.

    Raises:
        ConfigError: There are more or fewer levels than features, or a feature with one level.
    """

    basis: Tensor
    steps: Tensor

    def __init__(self, features: int, levels: tuple[int, ...] = (8, 5, 5, 5)) -> None:
        super().__init__(features)
        if len(levels) != features:
            raise ConfigError(
                f"FSQ has {len(levels)} levels, one per latent channel, but latent_dim is {features}: "
                f"set --model.latent_dim to {len(levels)}."
            )
        check(self, levels=(min(levels), 2))
        self.levels, self.num_codes = tuple(levels), prod(levels)
        self.register_buffer("steps", torch.tensor(levels), persistent=False)
        self.register_buffer("basis", torch.tensor([prod(levels[:j]) for j in range(features)]), persistent=False)

    def project(self, z: Tensor) -> Tensor:
        """Bound feature j so that it rounds to L_j whole numbers, then divide by ⌊L_j / 2⌋."""
        return (self.bounded(z.movedim(1, -1)) / (self.steps // 2)).movedim(-1, 1)

    def bounded(self, z: Tensor) -> Tensor:
        """Numbers that round to −⌊L/2⌋ … ⌈L/2⌉ − 1, (*B, D), of z, (*B, D)."""
        half = (self.steps - 1).to(z.dtype) * (1 + 1e-3) / 2
        offset = (self.steps % 2 == 0).to(z.dtype) / 2
        return (z + (offset / half).atanh()).tanh() * half - offset

    @torch.no_grad()
    def encode(self, z: Tensor) -> Tensor:
        """Σ_j (rounded_j + ⌊L_j / 2⌋) · Π_{i<j} L_i, (B, *S)."""
        whole = self.bounded(z.movedim(1, -1)).round().long() + self.steps // 2
        return (whole * self.basis).sum(-1)

    def lookup(self, codes: Tensor) -> Tensor:
        """The rounded numbers over ⌊L_j / 2⌋, (B, D, *S)."""
        whole = codes[..., None] // self.basis % self.steps
        return ((whole - self.steps // 2) / (self.steps // 2)).movedim(-1, 1)


class LFQ(Quantizer):
    """Lookup-free quantization: each feature becomes its sign, so that D features have 2^D codes (Yu et al. 2023).

    Terms are, per sample and summed over positions, the `entropy` of q(code|z) ∝ exp(−‖z − code‖² / τ), which asks
    vectors to be clear, and the commitment; and for the batch (in training that of all processes) the `diversity`:
    minus the entropy of the codes' mean probability, times the number of positions, which asks for all codes to be
    used (eq. 5).

    Args:
        features: Number of features of one vector, up to 14, since the diversity looks at all codes.
        commitment: Weight of the pull of vectors to their codes (van den Oord et al. 2017, β in eq. 3).
        entropy: Weight of the entropy and of the diversity.
        temperature: τ in the probability of a code.

    Raises:
        ConfigError: There are more features, or a value is out of range.
    """

    powers: Tensor

    def __init__(self, features: int, commitment: float = 0.25, entropy: float = 0.1, temperature: float = 0.5) -> None:
        super().__init__(features)
        if features > 14:
            raise ConfigError(f"LFQ has 2^latent_dim codes, but latent_dim is {features}: set --model.latent_dim ≤ 14.")
        check(self, commitment=(commitment, 0), entropy=(entropy, 0))
        if temperature <= 0:
            raise ConfigError(f"temperature is {temperature}: set --model.quantizer.temperature above 0.")
        self.num_codes, self.temperature = 2**features, temperature
        self.coefficients = {"commitment": commitment, "entropy": entropy, "diversity": entropy}
        powers = 2 ** torch.arange(features - 1, -1, -1)
        self.register_buffer("powers", powers, persistent=False)

    @torch.no_grad()
    def encode(self, z: Tensor) -> Tensor:
        """The signs as bits, the first feature's the highest, (B, *S)."""
        return ((z.movedim(1, -1) > 0) * self.powers).sum(-1)

    def lookup(self, codes: Tensor) -> Tensor:
        """Minus or plus one, (B, D, *S)."""
        return ((codes[..., None] & self.powers).ne(0).to(torch.get_default_dtype()) * 2 - 1).movedim(-1, 1)

    def terms(self, z: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """Commitment and entropy, (B,), and diversity, ()."""
        logits = 4 * z.movedim(1, -1) / self.temperature  # of plus against minus: a product of bits, as codes are
        plus = logits.sigmoid()
        entropy = (F.softplus(logits) - plus * logits).flatten(1).sum(1)
        probability = plus.new_ones(*plus.shape[:-1], 1).reshape(-1, 1)
        for bit in plus.reshape(-1, self.features).unbind(1):
            probability = torch.stack([probability * (1 - bit[:, None]), probability * bit[:, None]], 2).flatten(1)
        mean = probability.mean(0)
        if self.training and torch.is_grad_enabled():
            mean = pooled(mean, len(probability))
        positions = logits[0, ..., 0].numel()
        diversity = positions * torch.special.xlogy(mean, mean.clamp(min=1e-12)).sum()
        return {"commitment": distance(z, self.lookup(codes)), "entropy": entropy, "diversity": diversity}


def pooled(mean: Tensor, count: int) -> Tensor:
    """The mean over all processes of what is a mean over `count` on this one, (D,).

    The gradient is that of this process's part: averaged over processes with their weights, it is that of the whole.
    """
    if not torch.distributed.is_initialized():
        return mean
    sums = torch.cat([mean.detach() * count, mean.new_tensor([count])])
    torch.distributed.all_reduce(sums)
    return sums[:-1] / sums[-1] + (mean - mean.detach())
