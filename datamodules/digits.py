"""The embedded data: real handwritten digits that come with scikit-learn."""

from __future__ import annotations

from typing import Literal

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from datamodules.given import PictureSet
from datamodules.samples import Samples

__all__ = ["Digits"]


class Digits(PictureSet):
    """1,797 real handwritten digits of 8×8 pixels in 17 grey levels, embedded: nothing is downloaded.

    The test split of Alpaydin & Kaynak's "Optical recognition of handwritten digits" (UCI, 1998) as scikit-learn
    carries it. A fifth, stratified by class and always the same, is the test split here.
    """

    scale = 16.0
    picture_shape = (1, 8, 8)

    def load(self, split: Literal["train", "test"]) -> Samples:
        """1,437 samples for training and validation, or 360 for the test: x (N, 1, 8, 8) uint8 in 0..16."""
        pictures, labels = load_digits(return_X_y=True)
        train, test = train_test_split(range(len(labels)), test_size=0.2, random_state=0, stratify=labels)
        rows = sorted(train if split == "train" else test)
        x = torch.from_numpy(pictures[rows]).to(torch.uint8).reshape(-1, 1, 8, 8)
        return Samples(x, torch.from_numpy(labels[rows]))
