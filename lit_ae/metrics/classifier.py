"""A small classifier, trained for some seconds, whose last hidden layer gives features."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_ae.batch import Shape
from lit_ae.optim import stop_driver_search

STEPS, SIZE, RATE = 400, 128, 3e-3  # batches, samples in each, highest learning rate
WIDTH = 128  # features
COARSE = 7  # pictures are halved until no side is longer


class Labels:
    """Labels or factors as classes 0, 1, ..., where they vary and a class has two samples or more on average.

    Args:
        y: Labels, (N,), or factors, (N, F).
    """

    def __init__(self, y: Tensor) -> None:
        columns = [torch.unique(column, return_inverse=True)[1] for column in y.cpu().reshape(len(y), -1).T]
        able = [column for column in columns if 2 <= int(column.max()) + 1 <= len(y) / 2]
        self.known = torch.stack(able, 1) if able else torch.zeros(len(y), 0, dtype=torch.int64)
        self.classes = [int(column.max()) + 1 for column in able]


class Classifier(nn.Module):
    """Convolutions for pictures, a perceptron for anything else; one class per factor.

    Args:
        shape: Shape of one sample.
        classes: Number of classes of each factor.
        like: Samples, (n, *E), whose mean and deviation make the unit of what the network sees.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, shape: Shape, classes: list[int], like: Tensor) -> None:
        super().__init__()
        over = (0, 2, 3) if len(shape) == 3 else (0,)
        self.register_buffer("mean", like.mean(over, keepdim=True))
        deviation = like.std(over, keepdim=True, correction=0)
        self.register_buffer("scale", torch.where(deviation > 0, deviation, 1.0))
        layers: list[nn.Module] = []
        if len(shape) == 3:
            n_in, height, width = shape
            n_out = 16
            while max(height, width) > COARSE:
                layers += [nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), nn.ReLU()]
                n_in, n_out = n_out, min(2 * n_out, 128)
                height, width = (height + 1) // 2, (width + 1) // 2
            size = n_in * height * width
        else:
            size = like[0].numel()
            layers += [nn.Flatten(), nn.Linear(size, 256), nn.ReLU()]
            size = 256
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(size, WIDTH), nn.ReLU())
        self.head = nn.Linear(WIDTH, sum(classes))
        self.classes = classes

    def embed(self, x: Tensor) -> Tensor:
        """Features, (B, F), wherever x lies."""
        return self.body((x.to(self.mean.device) - self.mean) / self.scale)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Logits of each factor, (B, classes)."""
        return self.head(self.embed(x)).split(self.classes, 1)

    @torch.no_grad()
    def right(self, x: Tensor, known: Tensor) -> float:
        """Number of samples told right, (B, F) classes being known; a part of one where only some factors are."""
        told = torch.stack([logits.argmax(1) for logits in self(x)], 1).cpu()
        return (told == known).double().mean(1).sum().item()


def trained(
    x: Tensor,
    labels: Labels,
    rows: Tensor,
    seed: int,
    prepare: Callable[[Tensor], Tensor],
    device: torch.device,
) -> Classifier:
    """A classifier, trained for a fixed number of steps, without a trace in the global generators.

    Args:
        x: Samples, (N, *E).
        labels: Their labels.
        rows: Which of them to train on.
        seed: Of its weights and batches.
        prepare: What is done to samples first, batch by batch.
        device: Where it is trained.
    """
    stop_driver_search()
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng([]), torch.inference_mode(False), torch.enable_grad():
        torch.default_generator.manual_seed(seed)
        net = Classifier(tuple(x.shape[1:]), labels.classes, prepare(x[rows[:5000]])).to(device)
        optimizer = torch.optim.Adam(net.parameters(), lr=RATE, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
        for _ in range(STEPS):
            chosen = rows[torch.randint(len(rows), (SIZE,), generator=generator)]
            known = labels.known[chosen].to(device)
            logits = net(prepare(x[chosen]))
            loss = torch.stack([F.cross_entropy(each, column) for each, column in zip(logits, known.T, strict=True)])
            optimizer.zero_grad()
            loss.sum().backward()
            optimizer.step()
            schedule.step()
    return net.eval().requires_grad_(False)
