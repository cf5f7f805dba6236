"""What the report of `lit_ae test` is computed from: one pass over the test split, embeddings, generated samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import torch
from torch import Tensor

from datamodules.base import DataModule
from lit_ae.batch import Batch, key
from lit_ae.callbacks.collapse import in_rows
from lit_ae.jobs.kept import Kept
from lit_ae.jobs.measured import inputs, restored
from lit_ae.jobs.opening import Opened, Split
from lit_ae.jobs.request import RESTORING
from lit_ae.jobs.sampled import CHUNK, chosen, generated
from lit_ae.jobs.testing import Asked
from lit_ae.jobs.tracking import track
from lit_ae.metrics import pictures
from lit_ae.metrics.features import Extractor, features
from lit_ae.metrics.marginal import rows as part_of
from lit_ae.models.coded import Coded
from lit_ae.models.generative import Variational
from lit_ae.models.randomness import reseed
from lit_ae.plots.tiles import is_picture
from lit_ae.posteriors import DiagonalGaussian
from lit_ae.quantized import Codes

ROOM = 2**28  # numbers of latents that are held: of more, those of the first samples
Columns = dict[str, Tensor]


@dataclass
class Tested:
    """The evidence, each part of it gathered when the first measure asks for it.

    Args:
        run: The run, opened: its test split is the whole one, whatever the trainer's processes saw of it.
        asked: What the report is to hold.
        passed: Means that the trainer's pass logged, by name.
        batches: Test batches that the trainer's pass was limited to, None for all.
    """

    run: Opened
    asked: Asked
    passed: Mapping[str, float]
    batches: int | None = None

    @property
    def pictures(self) -> bool:
        """Whether samples are pictures."""
        return is_picture(self.run.model.input_shape)

    @property
    def span(self) -> tuple[float, float]:
        """Smallest and largest value of the training samples."""
        return self.run.model.spec.value_range or (0.0, 1.0)

    @property
    def restoring(self) -> bool:
        """Whether the variant restores what was corrupted."""
        return isinstance(self.run.model, RESTORING)

    def taken(self, split: Split = "test") -> Iterator[Batch]:
        """At most n samples of a split in the order of the data, by batches of the data's size.

        Where there are more they are drawn by chance: data may be sorted by class, and the first would be of one.
        """
        room, rows = self.asked.n, None
        limit = self.batches if split == "test" else None
        total = self.count if split == "test" else self.run.count(split)
        if total is not None and total > room and isinstance(self.run.data, DataModule):
            chance = torch.Generator().manual_seed(key(self.asked.seed))
            rows, limit = torch.randperm(total, generator=chance)[:room].sort().values, None
        for batch in islice(self.run.ordered(split, rows=rows), limit):
            yield part_of(batch, 0, room)
            room -= len(batch.x)
            if room <= 0:
                break

    @cached_property
    def count(self) -> int:
        """Samples that the trainer's pass saw: those of the test split, or of the batches that it was limited to."""
        total = self.run.count("test")
        if total is not None and self.batches is None:
            return total
        return sum(len(batch.x) for batch in islice(self.run.ordered("test"), self.batches))

    def tracked(self, what: str) -> Iterator[Batch]:
        """The n test samples by batches, with a progress bar."""
        size = self.run.data.eval_batch_size if isinstance(self.run.data, DataModule) else None
        return track(self.taken(), -(-min(self.asked.n, self.count) // size) if size else None, what)

    @cached_property
    def columns(self) -> Columns:
        """What one pass over the n test samples yields, each (N, ...), with the trainer's noise where these are all."""
        parts: list[Columns] = []
        room = ROOM
        for number, batch in enumerate(self.tracked("measure")):
            seed = key(self.run.model._seed, number)
            with torch.no_grad():
                found = self._of(batch, seed) | (self._latents(batch, seed) if room > 0 else {})
            parts.append({name: value.cpu() for name, value in found.items()})
            room -= max(value.numel() for value in found.values())
        return joined(parts)

    def _of(self, batch: Batch, seed: int) -> Columns:
        model, found = self.run.model, {}
        device = self.run.device
        reseed(seed, device)
        out = model(batch)
        found["distortion"] = -out.p.log_prob(batch.x).mean(0)
        found["mse_sampled"] = out.p.squared_error(batch.x).mean(0)
        if isinstance(model, Variational):
            found["rate"] = model.rate(out)
        reseed(seed, device)
        x_hat = restored(model, batch)[1] if self.restoring else model.reconstruct(*inputs(batch))
        there = torch.ones_like(batch.x, dtype=torch.bool) if batch.mask is None else batch.mask
        error = (batch.x - x_hat).square().where(there, 0.0)
        found["mse"] = error.flatten(1).sum(1)
        found["elements"] = there.expand_as(batch.x).flatten(1).sum(1)
        if self.pictures and batch.mask is None:
            found["psnr"] = pictures.psnr(x_hat, batch.x, self.span).reshape(-1)
            if min(batch.x.shape[-2:]) >= 3:
                found["ssim"] = pictures.ssim(x_hat, batch.x, self.span).reshape(-1)
        if batch.y is not None:
            found["y"] = batch.y
        return found

    def _latents(self, batch: Batch, seed: int) -> Columns:
        model, found = self.run.model, {}
        reseed(seed, self.run.device)
        found["z"] = model.embed(*inputs(batch)).flatten(1).float()
        if isinstance(model, Coded):
            q = model.encode(*inputs(batch))
            found["codes"] = q.codes
            if isinstance(q, Codes):
                found["logits"] = q.logits
        elif isinstance(model, Variational):
            qs, _ = model.conditionals(*inputs(batch))
            found["mean"] = in_rows([q.mean for q in qs]).float()
            if len(qs) == 1 and isinstance(qs[0], DiagonalGaussian):  # a hierarchy's depend on the latents above
                found["scale"] = qs[0].scale.flatten(1).float()
        return found

    @cached_property
    def training(self) -> Columns:
        """Embeddings `z` and labels `y` of n training samples."""
        parts: list[Columns] = []
        room = ROOM
        for number, batch in enumerate(track(self.taken("train"), None, "embed")):
            reseed(key(self.asked.seed, number), self.run.device)
            y = {} if batch.y is None else {"y": batch.y.cpu()}
            parts.append({"z": self.run.model.embed(*inputs(batch)).flatten(1).float().cpu(), **y})
            room -= parts[-1]["z"].numel()
            if room <= 0:
                break
        return joined(parts)

    @cached_property
    def source(self) -> Kept | None:
        """What generates: a fitted sampler, or None for the prior."""
        return chosen(self.run, self.asked.sampler)

    def generated(self, n: int) -> Iterator[Tensor]:
        """n generated samples by chunks, (B, *E), each with a key of its own; under the conditions of test samples."""
        return (part.x.to(self.run.device) for part in generated(self.run, self.source, n, self.asked.seed))

    @cached_property
    def extractor(self) -> Extractor | None:
        """The network that features come from: a given file's, or a classifier of n training samples."""
        model, name = self.run.model, type(self.run.data).__name__
        if self.asked.features is not None:
            return features(self.asked.features, device=self.run.device)
        batches = [(batch.x.cpu(), batch.y) for batch in self.taken("train")]
        if any(y is None for _, y in batches):
            return None
        x, y = (torch.cat([part.cpu() for part in column if part is not None]) for column in zip(*batches, strict=True))
        return features(None, x, y, model.spec.value_range, self.asked.seed, name, self.run.device)

    def compared(self, extract: Extractor) -> tuple[Tensor, Tensor]:
        """Features of the n test samples and of as many generated ones, (N, F) both."""
        span = self.run.model.spec.value_range
        real = torch.cat([extract(batch.x, span) for batch in self.taken()])
        chunks = track(self.generated(len(real)), -(-len(real) // CHUNK), "generate")
        return real, torch.cat([extract(x, span) for x in chunks])


def joined(parts: list[Columns]) -> Columns:
    """Columns of all batches; some are of the first batches alone."""
    return {name: torch.cat([part[name] for part in parts if name in part]) for name in parts[0]}
