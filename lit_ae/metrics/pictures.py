"""How near reconstructions come to their originals, as papers on pictures measure it."""

from __future__ import annotations

from torch import Tensor
from torchmetrics.functional import mean_squared_error
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from lit_ae.errors import DataError


def mse(made: Tensor, x: Tensor, mask: Tensor | None = None) -> float:
    """Mean squared error per element, in squared units of x.

    Args:
        made: Reconstructions, (B, *E).
        x: Originals, (B, *E).
        mask: True where x is observed, broadcast to (B, *E); other elements do not count.

    Raises:
        DataError: Nothing is observed.
    """
    if mask is None:
        return mean_squared_error(made.flatten(), x.flatten()).item()
    seen = mask.expand_as(x)
    if not seen.any():
        raise DataError("No element is observed: there is no error to measure.")
    return mean_squared_error(made[seen], x[seen]).item()


def psnr(made: Tensor, x: Tensor, value_range: tuple[float, float]) -> Tensor:
    """Peak signal-to-noise ratio of each sample in decibels, 10 log₁₀((high − low)² / MSE), (B,).

    Args:
        made: Reconstructions, (B, *E).
        x: Originals, (B, *E).
        value_range: Smallest and largest value that x may have.
    """
    low, high = value_range
    return peak_signal_noise_ratio(
        made.flatten(1) - low, x.flatten(1) - low, data_range=high - low, dim=1, reduction="none"
    )


def ssim(made: Tensor, x: Tensor, value_range: tuple[float, float]) -> Tensor:
    """Structural similarity of each picture and its original, (B,): 1 where they are equal.

    The window is Wang et al.'s, a Gaussian of σ = 1.5 pixels on 11 x 11; on pictures with a side below 11, a narrower
    one that fits into them.

    Args:
        made: Reconstructions, (B, C, H, W).
        x: Originals, (B, C, H, W).
        value_range: Smallest and largest value that x may have.

    Raises:
        DataError: The samples are no pictures of 3 x 3 pixels or more.

    Reference:
        Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE Transactions on
        Image Processing 2004.
    """
    if x.ndim != 4 or min(x.shape[-2:]) < 3:
        raise DataError(f"Samples of shape {tuple(x.shape[1:])} have no structural similarity: they are no pictures.")
    half = (min(x.shape[-2:]) - 1) // 2
    low, high = value_range
    value = structural_similarity_index_measure(
        made - low, x - low, sigma=min(1.5, half / 3.5), data_range=high - low, reduction="none"
    )
    assert isinstance(value, Tensor)
    return value
