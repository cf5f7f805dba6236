"""nan and infinity in inputs, losses and gradients, for every variant in both precisions."""

from __future__ import annotations

import copy
import math
import random
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from lit_ae.batch import Batch
from lit_ae.callbacks.non_finite import NonFinite
from lit_ae.errors import NonFiniteError
from lit_ae.finite import floating, suspects
from lit_ae.models.base import Autoencoder
from lit_ae.storage import AtomicCheckpointIO, load
from reliability.row import Row

TESTS = str(Path(__file__).resolve().parents[3] / "tests")
if TESTS not in sys.path:
    sys.path.append(TESTS)

from variants import VARIANTS, build, digits  # noqa: E402 (the path above)

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}
KINDS = ("nan in x", "inf in x", "loss", "gradient")
ACTIONS = ("stop", "skip", "skip too many")  # the last two with two spoilt batches, of which all or one may be left out
SAID = {"nan in x": "The input", "inf in x": "The input", "loss": "The loss", "gradient": "A gradient"}
EPOCH, EPOCHS = 3, 2  # batches, epochs


class Fault(Callback):
    """Spoils batches, and notes the state of training before and after each.

    Args:
        kind: One of KINDS.
        at: Numbers of the batches, over all epochs.
        draw: Where the value and the place come from.
    """

    def __init__(self, kind: str, at: list[int], draw: random.Random) -> None:
        self.kind, self.at, self.draw = kind, at, draw
        infinite = draw.choice((math.inf, -math.inf))
        self.value = {"nan in x": math.nan, "inf in x": infinite}.get(kind, draw.choice((math.nan, infinite)))
        self.before: list[dict[str, Any]] = []
        self.after: list[dict[str, Any]] = []
        self.now = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        assert isinstance(pl_module, Autoencoder)
        loss, picks, scaled = pl_module.loss, self.draw.random(), self.draw.random() < 0.5
        moved = self.draw.choice([parameter for parameter in pl_module.parameters() if parameter.requires_grad])

        def spoilt(*args: Any) -> dict[str, Tensor]:
            terms = loss(*args)
            if self.now and self.kind == "loss":
                moving = [name for name, term in terms.items() if term.requires_grad]  # each player has one at least
                name = moving[int(picks * len(moving))]
                terms[name] = terms[name] * self.value if scaled else terms[name] + self.value
            return terms

        def spoilt_gradient(gradient: Tensor) -> Tensor:
            return torch.full_like(gradient, self.value) if self.now and self.kind == "gradient" else gradient

        moved.register_hook(spoilt_gradient)
        pl_module.loss = spoilt  # type: ignore[method-assign]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        self.now = trainer.current_epoch * EPOCH + batch_idx in self.at
        if self.now:
            self.before.append(state(trainer, pl_module))
            if self.kind.endswith("in x"):
                cells = batch.x.view(-1)
                for _ in range(self.draw.choice((1, 3, 50))):
                    cells[self.draw.randrange(len(cells))] = self.value

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if self.now:
            self.after.append(state(trainer, pl_module))
        self.now = False


def state(trainer: Trainer, model: LightningModule) -> dict[str, Any]:
    """A copy of everything that a batch may leave a trace in."""
    assert isinstance(model, Autoencoder)
    means = model._means["train"]
    optimizer = trainer.optimizers[0].state_dict()
    return copy.deepcopy({"weights": model.state_dict(), "optimizer": optimizer, "means": (means.total, means.count)})


def equal(one: Any, other: Any) -> bool:
    """Whether plain values with tensors in them are bit for bit equal."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def trial(form: str, number: int, folder: Path) -> str | None:
    """Train with one spoilt batch, or with two."""
    variant, precision = form.split(", ")
    draw = random.Random(f"{form} {number}")
    kind, action = KINDS[number % 4], ACTIONS[number // 4 % 3]
    torch.manual_seed(number)
    model, data = build(variant), digits(variant, 16)
    count = 1 if action == "stop" else 2
    fault = Fault(kind, sorted(draw.sample(range(1, EPOCH * EPOCHS), count)), draw)
    guard = NonFinite("stop") if action == "stop" else NonFinite("skip", most=2 if action == "skip" else 1)
    keep = ModelCheckpoint(folder, "last", every_n_train_steps=1, enable_version_counter=False)
    trainer = Trainer(
        accelerator="cpu", precision=PRECISIONS[precision], max_epochs=EPOCHS, limit_train_batches=EPOCH,  # type: ignore[arg-type]
        limit_val_batches=1, num_sanity_val_steps=0, logger=False, enable_progress_bar=False, log_every_n_steps=1,
        enable_model_summary=False, default_root_dir=folder, plugins=[AtomicCheckpointIO()],
        callbacks=[fault, guard, keep],
    )  # fmt: skip
    try:
        trainer.fit(model, data)
    except NonFiniteError as error:
        return stopped(str(error), error.status, action, fault, folder) or unsound(folder)
    except Exception as error:
        return f"{kind}, {action}: {type(error).__name__}: {error}"
    if action != "skip":
        return f"{kind}, {action}: training went on"
    if guard.skipped != count:
        return f"{kind}: {guard.skipped} batches were left out"
    if fault.at[-1] < EPOCH * EPOCHS - 1 and equal(fault.before[-1]["weights"], model.state_dict()):
        return f"{kind}: nothing was trained afterwards"
    return traces(fault, count) or unsound(folder)


def traces(fault: Fault, count: int) -> str | None:
    """Where the first batches that were spoilt left a trace."""
    if len(fault.after) != count:
        return f"{fault.kind}: {len(fault.after)} batches were left out, not {count}"
    for before, after in zip(fault.before, fault.after, strict=False):
        for part, value in before.items():
            if part == "means" and fault.kind == "gradient":  # its loss was finite, and is logged
                continue
            if not equal(value, after[part]):
                return f"{fault.kind}: the batch left a trace in the {part}"
    return None


def stopped(said: str, status: int, action: str, fault: Fault, folder: Path) -> str | None:
    """What is wrong with a stop."""
    if action == "skip":
        return f"{fault.kind}: stopped with {said!r}"
    epoch, batch = divmod(fault.at[-1], EPOCH)
    place = f"{SAID[fault.kind]} of batch {batch} in epoch {epoch} is not finite"
    limit = "" if action == "stop" else ", and so were 1 batches before it, which is as many as NonFinite leaves out"
    if status != 5 or not said.startswith(f"{place}{limit}: "):
        return f"{fault.kind}, {action}: status {status}, {said!r}"
    if not equal(load(folder / "last.ckpt")["state_dict"], fault.before[-1]["weights"]):
        return f"{fault.kind}: last.ckpt is not the state before the batch"
    return traces(fault, len(fault.at) - 1)  # the last moved nothing: it had no end


def unsound(folder: Path) -> str | None:
    """What is not finite in the last checkpoint."""
    stored = load(folder / "last.ckpt")
    found = [*floating(stored["state_dict"], "weights"), *floating(stored["optimizer_states"], "optimizer")]
    return f"last.ckpt is not finite: {found[bad[0]][0]}" if (bad := suspects([value for _, value in found])) else None


ROW = Row(
    name="non_finite",
    happens="nan or infinity in an input, a loss or a gradient",
    follows="stop with status 5, or up to K batches leave no trace, as asked; no such checkpoint is ever written",
    forms={f"{variant}, {precision}": len(KINDS) * len(ACTIONS) for variant in VARIANTS for precision in PRECISIONS},
    trial=trial,
    workers=1,  # generators and the model's hooks are those of the process
)
