"""Where the features come from by which generated samples are compared with real ones."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from lit_ae.metrics.classifier import Labels, trained
from lit_ae.metrics.networks import Network, from_file

BATCH = 256
Range = tuple[float, float]


class Extractor:
    """Features of samples, from a network that is named in every result.

    Args:
        name: What the network is, and what it was trained on: "Inception v3, weights.pth".
        extract: Turns samples, (B, *E), in [0, 1] where their range is known, into features, (B, *F).
    """

    def __init__(self, name: str, extract: Network) -> None:
        self.name, self.extract = name, extract

    @torch.no_grad()
    def __call__(self, x: Tensor, value_range: Range | None = None) -> Tensor:
        """Features, (B, F), on the CPU, from samples, (B, *E), in the data's units.

        Args:
            x: Samples, (B, *E), any number of them.
            value_range: Smallest and largest value that the data have, None where that is unknown.
        """
        return torch.cat([self.extract(unit(part, value_range)).flatten(1).float().cpu() for part in x.split(BATCH)])


def features(
    path: str | Path | None = None,
    x: Tensor | None = None,
    y: Tensor | None = None,
    value_range: Range | None = None,
    seed: int = 0,
    data: str = "the data",
    device: str | torch.device = "cpu",
) -> Extractor | None:
    """The network of a local file, or else a classifier trained on the data's labels, or else None.

    Args:
        path: An .onnx file, which takes samples scaled to [0, 1] and yields features, or the .pth file with the weights
            of Inception v3 that the package torch-fidelity publishes. Pictures are resized to what the network takes,
            grey ones repeated to three channels.
        x: Training samples, (N, *E), where there is no file.
        y: Their labels or factors, (N,) or (N, F), whole numbers; without them there are no features.
        value_range: Smallest and largest value that the data have, None where that is unknown.
        seed: Of the classifier.
        data: What the data are called.
        device: Where the network runs; that of an .onnx file always runs on the CPU.

    Raises:
        ConfigError: The file is missing, damaged, of another kind, or a package to read it with is missing.
    """
    if path is not None:
        return Extractor(*from_file(Path(path), torch.device(device)))
    if x is None or y is None or not len(y) or (y != y.round()).any() or not Labels(y).classes:
        return None
    return classifier(x, y, seed, value_range, data, device)


def classifier(
    x: Tensor,
    y: Tensor,
    seed: int = 0,
    value_range: Range | None = None,
    data: str = "the data",
    device: str | torch.device = "cpu",
) -> Extractor:
    """Features of the last hidden layer of a small classifier, trained here for some seconds.

    They are scaled to a mean square of 1 on the training samples, as the kernel of KID expects numbers of that size.

    Args:
        x: Training samples, (N, *E), of which a tenth is held out to judge the classifier by.
        y: Their labels, (N,), or factors, (N, F), of which it tells all; whole numbers.
        seed: Of its weights, its batches, and of what is held out.
        value_range: Smallest and largest value that the data have, None where that is unknown.
        data: What the data are called.
        device: Where it is trained and runs.
    """
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    held = order[: max(1, min(len(x) // 10, 10_000))]
    labels = Labels(y)
    rest = order[len(held) :]
    net = trained(x, labels, rest, seed, lambda part: unit(part, value_range), torch.device(device))
    right = sum(net.right(unit(x[part], value_range), labels.known[part]) for part in held.split(BATCH))
    seen = torch.cat([net.embed(unit(x[part], value_range)) for part in rest[:5000].split(BATCH)])
    size = seen.square().mean().sqrt().clamp_min(1e-12)
    judged = f"accuracy {right / len(held):.3f} on {len(held):,} others"
    return Extractor(
        f"classifier trained on {len(rest):,} samples of {data}, {judged}", lambda part: net.embed(part) / size
    )


def unit(x: Tensor, value_range: Range | None) -> Tensor:
    """Samples with the data's range as [0, 1], or as they are where it is unknown."""
    if value_range is None:
        return x.float()
    low, high = value_range
    return (x.float() - low) / ((high - low) or 1.0)
