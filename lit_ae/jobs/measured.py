"""What the pictures of several runs compare: latents, errors, and the same samples again and again."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from lit_ae.batch import Batch
from lit_ae.jobs.opening import Opened, Split
from lit_ae.models.base import Autoencoder
from lit_ae.models.latent import VectorDecoding
from lit_ae.models.masked_autoencoder import MaskedAutoencoder


def inputs(batch: Batch) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """What encoders see of a batch."""
    return batch.x, batch.c, batch.mask


def copies(batch: Batch, n: int) -> Batch:
    """A batch of one sample, n times."""
    return Batch(*(several(part, n) for part in batch[:4]))  # type: ignore[arg-type]


def several(part: Tensor | None, n: int) -> Tensor | None:
    """The entries of a batch, (B, ...), again and again until they are n."""
    return None if part is None else part.repeat(-(-n // len(part)), *[1] * (part.ndim - 1))[:n]


def latents(run: Opened) -> int:
    """Number of latents."""
    return int(np.prod(run.model.latent_shape)) if isinstance(run.model, VectorDecoding) else 0


def error_of(run: Opened, split: Split) -> float:
    """Mean of ‖x − x̂‖² over a split, in squared units of x, x̂ decoded from the posterior's mode."""
    errors = []
    for batch in run.batches(split):
        z = run.model.embed(*inputs(batch))
        errors.append(run.model.decode(z, batch.c, batch.mask).squared_error(batch.x))
    return float(torch.cat(errors).mean())


def restored(model: Autoencoder, batch: Batch) -> tuple[Tensor, Tensor]:
    """What a model sees of samples, nan where that is nothing, and what it restores, (B, *E) both."""
    seen = model.corrupt(batch)[0]
    x_hat = model.reconstruct(*inputs(seen))
    if not isinstance(model, MaskedAutoencoder):
        return seen.x, x_hat
    assert seen.mask is not None
    return seen.x.where(seen.mask, float("nan")), seen.x.where(seen.mask, x_hat)  # it restores hidden patches alone


def restored_error(run: Opened, split: Split) -> tuple[float, float]:
    """Means of ‖x̃ − x‖² and ‖x̂ − x‖² over a split, x̂ restored from the corrupted x̃; nan where some is hidden."""
    pairs = [(torch.stack(restored(run.model, batch)) - batch.x).square() for batch in run.batches(split)]
    before, after = torch.cat(pairs, 1).flatten(2).sum(2).mean(1).tolist()
    return before, after


def principal(run: Opened, split: Split, least: int, most: int) -> dict[int, float]:
    """Number of principal components of the training split → mean of ‖x − x̂‖² over a split."""
    train, seen = ([*run.batches(name)] for name in ("train", split))
    if any(batch.mask is not None for batch in (*train, *seen)):
        return {}
    fitted, x = (torch.cat([batch.x for batch in part]).flatten(1).double().numpy() for part in (train, seen))
    pca = PCA(min(most, *fitted.shape), svd_solver="full").fit(fitted)
    centred = x - pca.mean_
    captured = np.cumsum(np.square(centred @ pca.components_.T).mean(0))
    total = np.square(centred).sum(1).mean()
    return {i: float(total - captured[i - 1]) for i in range(least, len(captured) + 1)}
