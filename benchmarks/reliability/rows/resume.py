"""A run that is stopped and resumed ends as one that was not: at an epoch's end, amid one, and under accumulation."""

from __future__ import annotations

import random
import sys
from functools import partial
from pathlib import Path

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

TESTS = str(Path(__file__).resolve().parents[3] / "tests")
if TESTS not in sys.path:
    sys.path.append(TESTS)

from lit_ae.callbacks import KLAnnealing  # noqa: E402
from lit_ae.models.base import Autoencoder  # noqa: E402
from reliability.resumed import StopAt, difference, fit  # noqa: E402 (the path above)
from reliability.row import Row  # noqa: E402
from variants import SPEC, VARIANTS, digits  # noqa: E402

BATCHES = 7  # per epoch: 1,294 samples by 200
RATES = (partial(CosineAnnealingLR, T_max=5), partial(ReduceLROnPlateau, patience=0, threshold=10.0))


def trial(form: str, number: int, folder: Path) -> str | None:
    """Stop once, at a batch drawn from the number; its rest by 3 says where: an epoch's end, amid one, accumulating."""
    draw = random.Random(f"{form}-{number}")
    cls, arguments = VARIANTS[form]
    inner = [batch for batch in range(1, 3 * BATCHES) if batch % BATCHES]
    at = draw.choice([BATCHES, 2 * BATCHES] if number % 3 == 0 else inner)
    settings = {"accumulate_grad_batches": 3} if number % 3 == 2 else {}
    rate = RATES[(number + len(form)) % 2]

    def build() -> Autoencoder:
        return cls(**{"spec": SPEC, **arguments}, lr_scheduler=rate)

    def callbacks() -> list[Callback]:
        annealed = [KLAnnealing(length=2)] if "rate" in build().coefficients else []
        return [*annealed, EMAWeightAveraging(decay=0.9)]

    once = partial(fit, build=build, data=partial(digits, form, 200), callbacks=callbacks, **settings)
    once(folder / "whole")
    if not once(folder / "parts", stop=StopAt(at, 0 if at % BATCHES else -1)):
        return f"it did not stop at batch {at}"
    once(folder / "parts")
    found = difference(folder / "whole", folder / "parts")
    return f"stopped at batch {at}: {found}" if found else None


ROW = Row(
    name="resume",
    happens="resume at an epoch boundary, mid-epoch, under accumulation, with two optimizers, EMA, LR and KL schedules",
    follows="same step count, same weights, optimizers, schedules and metrics",
    forms=dict.fromkeys(VARIANTS, 3),
    trial=trial,
    workers=1,  # random generators and the signal that has come belong to the process
)
