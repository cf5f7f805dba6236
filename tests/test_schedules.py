"""Schedules: closed forms, registration, and exact resuming."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from torch.utils.data import DataLoader

from lit_ae.batch import Batch, DataSpec
from lit_ae.callbacks.schedules import FreeBits, KLAnnealing, Schedule, cyclical, ramp
from lit_ae.errors import ConfigError
from lit_ae.models.ae import AE
from lit_ae.models.beta_vae import BetaVAE
from lit_ae.models.vae import VAE

BATCHES = 4


class Toy(LightningDataModule):
    """Four batches of eight vectors."""

    def train_dataloader(self) -> DataLoader:
        x = torch.rand(8 * BATCHES, 6, generator=torch.Generator().manual_seed(0))
        return DataLoader([Batch(part) for part in x.split(8)], batch_size=None)

    val_dataloader = train_dataloader


class Record(Callback):
    """What the schedules said at every batch."""

    def __init__(self) -> None:
        self.values: list[dict[str, float]] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        count = pl_module.batches_trained(batch_idx)
        self.values.append({name: float(value) for name, value in pl_module.annealed(count).items()})


def trainer(folder: Path, *callbacks: Callback, epochs: int = 2, **kwargs) -> Trainer:
    return Trainer(
        default_root_dir=folder,
        callbacks=list(callbacks),
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"enable_checkpointing": False, **kwargs},
    )


def model(kind=VAE, **kwargs):
    return kind(spec=DataSpec(input_shape=(6,), num_train=8 * BATCHES), latent_dim=2, **kwargs)


@pytest.mark.parametrize("shape", ["linear", "cosine", "sigmoid"])
def test_ramps_rise_from_zero_to_one_through_a_half(shape) -> None:
    values = [ramp(i / 50, shape) for i in range(51)]
    assert (values[0], values[25], values[-1]) == pytest.approx((0, 0.5, 1))
    assert all(a < b for a, b in pairwise(values))
    assert (ramp(-1, shape), ramp(2, shape)) == pytest.approx((0, 1))


def test_cosine_and_sigmoid_match_their_closed_forms() -> None:
    assert ramp(1 / 3, "cosine") == pytest.approx(0.25)
    logistic = torch.sigmoid(torch.tensor([-6.0, 12 * (0.3 - 0.5), 6.0]))
    assert ramp(0.3, "sigmoid") == pytest.approx(
        float((logistic[1] - logistic[0]) / (logistic[2] - logistic[0])), abs=1e-5
    )


def test_cyclical_is_fu_et_al() -> None:
    # T = 8, M = 2, R = 1/2: β(τ) = τ / R for τ ≤ R, else 1
    assert [cyclical(i / 8, 2, 0.5) for i in range(9)] == pytest.approx([0, 0.5, 1, 1, 0, 0.5, 1, 1, 1])
    assert cyclical(-0.1, 2, 0.5) == 0


def test_epochs_are_counted_in_batches_and_the_target_is_the_models(tmp_path) -> None:
    record = Record()
    trainer(tmp_path, KLAnnealing(begin=1, length=1), record, epochs=3).fit(model(BetaVAE, beta=8.0), Toy())
    assert [row["rate"] for row in record.values] == [0, 0, 0, 0, 0, 2, 4, 6, 8, 8, 8, 8]
    assert {row["distortion"] for row in record.values} == {1.0}


def test_steps_in_batches(tmp_path) -> None:
    record = Record()
    schedule = Schedule("distortion", "steps", start=3.0, unit="batches", steps=[(5, 0.5), (2, 2.0)])
    net = model(AE)
    trainer(tmp_path, schedule, record).fit(net, Toy())
    assert [row["distortion"] for row in record.values] == [3, 3, 2, 2, 2, 0.5, 0.5, 0.5]
    assert net.coefficients["distortion"] == 0.5  # evaluation uses what training ended with
    assert net.schedules == {}


def test_a_weight_of_zero_takes_a_term_out_of_the_gradient(tmp_path) -> None:
    class Gradients(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
            self.seen = [p.grad.abs().sum() for p in pl_module.parameters()]

    gradients = Gradients()
    off = [Schedule(name, "steps", start=0.0, steps=[(99, 1.0)]) for name in ("rate", "distortion")]
    trainer(tmp_path, *off, gradients, epochs=1).fit(model(), Toy())
    assert not torch.stack(gradients.seen).any()


def test_a_scheduled_scalar_that_is_no_weight_reaches_the_loss(tmp_path) -> None:
    record = Record()
    net = model(BetaVAE, capacity=25.0)
    trainer(tmp_path, Schedule("capacity", length=2), record).fit(net, Toy())
    assert [row["capacity"] for row in record.values] == pytest.approx([25 * i / 8 for i in range(8)])


@pytest.mark.parametrize("shape", ["linear", "cyclical"])
def test_a_resumed_run_continues_exactly(tmp_path, shape) -> None:
    def annealing() -> KLAnnealing:
        return KLAnnealing(shape=shape, length=3, cycles=2)

    whole, first, second = Record(), Record(), Record()
    net = model()
    start = {name: value.clone() for name, value in net.state_dict().items()}
    trainer(tmp_path, annealing(), whole, epochs=4).fit(net, Toy())
    again = model()
    again.load_state_dict(start)
    run = trainer(tmp_path, annealing(), first, epochs=2, enable_checkpointing=True)
    run.fit(again, Toy())
    run.save_checkpoint(tmp_path / "half.ckpt")
    rest = model()
    trainer(tmp_path, annealing(), second, epochs=4).fit(rest, Toy(), ckpt_path=tmp_path / "half.ckpt")
    assert first.values + second.values == whole.values
    assert all(torch.equal(value, rest.state_dict()[name]) for name, value in net.state_dict().items())


def test_an_unknown_coefficient_is_named_with_what_there_is(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"^KLAnnealing: AE has no coefficient 'rate'; it has 'distortion'\. Leave"):
        trainer(tmp_path, KLAnnealing()).fit(model(AE), Toy())
    with pytest.raises(ConfigError, match="did you mean 'free_bits'"):
        trainer(tmp_path, Schedule("freebits")).fit(model(), Toy())
    with pytest.raises(ConfigError, match="AE has no coefficient 'free_bits'"):
        trainer(tmp_path, FreeBits(0.1)).fit(model(AE), Toy())


def test_two_schedules_of_one_coefficient_are_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"'rate' \(KLAnnealing and Schedule\)"):
        trainer(tmp_path, KLAnnealing(), Schedule("rate")).fit(model(), Toy())


@pytest.mark.parametrize(
    "arguments", [{"length": 0}, {"begin": -1}, {"cycles": 0}, {"ratio": 1.5}, {"shape": "steps"}, {"steps": [(1, 1)]}]
)
def test_arguments_out_of_range_are_refused(arguments) -> None:
    with pytest.raises(ConfigError, match="KLAnnealing needs"):
        KLAnnealing(**arguments)


def test_free_bits_set_the_models_coefficient(tmp_path) -> None:
    net = model()
    trainer(tmp_path, FreeBits(0.25), epochs=0).fit(net, Toy())
    assert net.coefficients["free_bits"] == 0.25
    with pytest.raises(ConfigError, match="0 nats or more"):
        FreeBits(-1.0)


def test_a_stream_has_no_epochs(tmp_path) -> None:
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            while True:
                yield Batch(torch.rand(4, 6))

    loader = DataLoader(Stream(), batch_size=None)
    with pytest.raises(ConfigError, match="unit: batches"):
        trainer(tmp_path, KLAnnealing(), max_steps=3, epochs=-1).fit(model(), loader)
    record = Record()
    trainer(tmp_path, KLAnnealing(unit="batches", length=2), record, max_steps=3, epochs=-1).fit(model(), loader)
    assert [row["rate"] for row in record.values] == [0, 0.5, 1]
