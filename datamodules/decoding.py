"""Picture files decoded to uint8, one at a time, in any process."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.corrupt import Exhausted, lacking, opened, reason
from lit_ae.batch import Shape

__all__ = ["Decoder", "Decoding", "attempt", "errors", "stack"]


class Decoder(NamedTuple):
    """How a file becomes a uint8 tensor (C, *size), the same for every file.

    Args:
        size: Height and width in pixels.
        channels: 1 for grey, 3 for colour.
        crop: Side in pixels of the centred square that is cut out first, black where a picture is smaller; None takes
            the largest part that has the proportions of `size`.
    """

    size: tuple[int, int]
    channels: int
    crop: int | None

    @property
    def shape(self) -> Shape:
        """(channels, *size)."""
        return (self.channels, *self.size)

    def __call__(self, path: Path) -> Tensor:
        """Decode one file.

        Raises:
            Exception: The file is not a whole picture; of which type depends on its format and damage.
        """
        with opened(path) as original:
            picture = flatten(ImageOps.exif_transpose(original), self.channels)
        if self.crop is not None:
            left, top = (picture.width - self.crop) // 2, (picture.height - self.crop) // 2
            picture = picture.crop((left, top, left + self.crop, top + self.crop))
        height, width = self.size
        if picture.size != (width, height):
            picture = ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(picture))
        return pixels[None] if self.channels == 1 else pixels.permute(2, 0, 1).contiguous()


class Decoding(Dataset[Tensor | str]):
    """Pictures by position; a file that does not decode yields a sentence, which passes between processes whole."""

    def __init__(self, paths: Sequence[Path], decoder: Decoder) -> None:
        # one array: a list of a million paths would be copied page by page as forked workers count references
        self.paths = np.array([os.fsencode(path) for path in paths])
        self.decoder = decoder

    def __getitem__(self, index: int) -> Tensor | str:
        path = Path(os.fsdecode(self.paths[index]))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # odd metadata: the pixels are whole, or an exception says so
                return self.decoder(path)
        except UnidentifiedImageError:
            return f"{path} is not a picture"
        except Exception as error:  # readers of damaged bytes raise anything
            problem = f"{path} does not decode ({reason(error)})"
            return Exhausted(problem) if lacking(error) else problem

    def __len__(self) -> int:
        return len(self.paths)


def stack(pictures: list[Tensor | str]) -> Tensor | str:
    """One tensor (B, C, H, W), or the first error."""
    whole = [picture for picture in pictures if isinstance(picture, Tensor)]
    if len(whole) < len(pictures):
        return next(picture for picture in pictures if isinstance(picture, str))
    return torch.stack(whole)


def attempt(pictures: list[Tensor | str]) -> tuple[Tensor | None, list[str]]:
    """One tensor of those that decode, None where none does, and what went wrong with each, "" where nothing did."""
    decoded = [picture for picture in pictures if isinstance(picture, Tensor)]
    return torch.stack(decoded) if decoded else None, errors(pictures)


def errors(pictures: list[Tensor | str]) -> list[str]:
    """What went wrong with each picture, "" where nothing did."""
    return [picture if isinstance(picture, str) else "" for picture in pictures]


def flatten(picture: Image.Image, channels: int) -> Image.Image:
    """Any mode to 8-bit grey or RGB: 16-bit grey is scaled, transparency laid on white."""
    if picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers, write 8 or 16 bits")
    if picture.mode.startswith("I"):  # Pillow would clip 16 bits at 255
        values = np.asarray(picture)
        if values.size and not 0 <= int(values.min()) <= int(values.max()) < 2**16:
            raise ValueError("its pixels do not lie in 0..65535, write 8 or 16 bits")
        picture = Image.fromarray((values // 257).astype(np.uint8))
    if picture.mode == "LAB":  # which Pillow converts to nothing else
        picture = picture.convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("L" if channels == 1 else "RGB")
