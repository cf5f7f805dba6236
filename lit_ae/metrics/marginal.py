"""−log p(x) by importance sampling, within a memory budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lit_ae import importance
from lit_ae.batch import Batch, key
from lit_ae.errors import ConfigError
from lit_ae.models.generative import Variational
from lit_ae.models.randomness import reseed

SCRATCH = 2  # what operators use inside, in units of what they yield
CACHED = 2**24  # bytes: larger parts leave a processor's caches and take twice the time


class NLL(NamedTuple):
    """−log p(x) of each sample of the data, and the standard error of its estimate, in nats, (N,).

    The estimate is an upper bound in expectation, log p(x) being concave in the mean weight; where an error is near 1
    or above, few samples carry the weight, and more are needed.
    """

    nats: Tensor
    error: Tensor


@torch.no_grad()
def nll(
    model: Variational, batches: Batch | Iterable[Batch], samples: int = 5000, memory_mib: float = 256.0, seed: int = 0
) -> NLL:
    """Estimate −log p(x) as −log (1/S) Σ_s p(x, z_s) / q(z_s|x), z_s ~ q(z|x) (Burda et al. 2016, section 5).

    Data and samples are taken in parts so small that their latents, activations and likelihoods stay within the budget;
    the sum over samples is carried from part to part as its logarithm, so any number of samples is exact.

    Args:
        model: A model with a posterior of known density.
        batches: Data of one batch, or any number of batches; each is moved to the model's device as a whole.
        samples: Samples per sample of the data, S.
        memory_mib: Budget in MiB beside the model and one batch of data; on a CPU, at most 16 MiB of it are used, as
            larger parts are slower. One part has at least one sample of one sample of the data, whatever the budget.
        seed: Seeds the noise; the global generators are left as they were.

    Raises:
        ConfigError: The number of samples or the budget is not positive, or the posterior has no density.
    """
    if samples < 1 or not memory_mib > 0:
        raise ConfigError(f"samples and memory_mib must be positive: got {samples} and {memory_mib}.")
    devices = [model.device] if model.device.type == "cuda" else []
    training = model.training
    model.eval()
    try:
        with torch.random.fork_rng(devices):
            parts = _estimates(model, [batches] if isinstance(batches, Batch) else batches, samples, memory_mib, seed)
            nats, error = (torch.cat(columns) for columns in zip(*parts, strict=True))
    finally:
        model.train(training)
    return NLL(nats, error)


def _estimates(
    model: Variational, batches: Iterable[Batch], samples: int, memory_mib: float, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Estimate and error of part after part of the data, in order."""
    size, count, number = 0, 0, 0
    for given in batches:
        batch = changed(given, lambda part: part.to(model.device))
        if not size:
            budget = int(memory_mib * 2**20)
            size, count = plan(model, batch, samples, min(budget, CACHED) if model.device.type == "cpu" else budget)
        for start in range(0, len(batch.x), size):
            yield _estimate(model, rows(batch, start, start + size), samples, count, key(seed, number))
            number += 1


def _estimate(model: Variational, batch: Batch, samples: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Estimate and error for one part of the data, (B,), from `count` samples at a time."""
    total = square = batch.x.new_full((len(batch.x),), -torch.inf, dtype=torch.float32)
    for start in range(0, samples, count):
        reseed(key(seed, start), batch.x.device)
        log_w = log_weights(model, batch, min(count, samples - start))
        total, square = total.logaddexp(log_w.logsumexp(0)), square.logaddexp((2 * log_w).logsumexp(0))
    share = (square - 2 * total).exp()  # Σ w² / (Σ w)², the inverse of the effective number of samples
    return torch.tensor(samples).log() - total, (share - 1 / samples).clamp_min(0).sqrt()


def log_weights(model: Variational, batch: Batch, samples: int) -> Tensor:
    """log p(x, z) − log q(z|x) of samples of q(z|x), (samples, B)."""
    out = model(batch, samples)
    assert out.prior is not None
    return out.p.log_prob(batch.x) + importance.log_ratio(out.q, out.prior, out.z, out.log_q)


def rows(batch: Batch, start: int, stop: int) -> Batch:
    """Some samples of a batch."""
    return changed(batch, lambda part: part[start:stop])


def changed(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """The batch with a change made to all that it holds."""
    x, y, c, mask = (None if part is None else change(part) for part in batch[:4])
    assert x is not None
    return Batch(x, y, c, mask)


def plan(model: Variational, batch: Batch, samples: int, budget: int) -> tuple[int, int]:
    """How many samples of the data, and how many samples of each, one part may have within a budget in bytes.

    The need is taken to be a·B + b·B·K, with a and b measured on one sample of the data, and conservative: every tensor
    that an operator yields is counted as if none were freed, twice over for what operators use inside.
    """
    one = rows(batch, 0, 1)
    once, twice = (_bytes(model, one, k) for k in (1, 2))
    per_pair = max(twice - once, 1)
    per_row = max(once - per_pair, 0)
    count = max(1, min(samples, (budget - per_row) // per_pair))
    return max(1, budget // (per_row + count * per_pair)), count


def _bytes(model: Variational, batch: Batch, k: int) -> int:
    with _Count() as count:
        log_weights(model, batch, k)
    return SCRATCH * count.bytes


class _Count(TorchDispatchMode):
    """Sums the sizes of all tensors that operators yield, but views of what they were given."""

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **kwargs or {})
        given = {item.untyped_storage().data_ptr() for item in args if isinstance(item, Tensor)}
        for item in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(item, Tensor) and item.untyped_storage().data_ptr() not in given:
                self.bytes += item.untyped_storage().nbytes()
        return result
