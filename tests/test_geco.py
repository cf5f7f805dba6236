"""GECO: the constraint is met, λ moves the right way, a resumed run goes on exactly."""

from __future__ import annotations

import csv

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lit_ae.batch import Batch, DataSpec
from lit_ae.callbacks.geco import GECO
from lit_ae.callbacks.schedules import Schedule
from lit_ae.errors import ConfigError
from lit_ae.loggers import MetricsCSV
from lit_ae.models.vae import VAE
from trainer_for_tests import trainer


class Toy(LightningDataModule):
    """Vectors on a line in four dimensions, with a little noise."""

    def train_dataloader(self) -> DataLoader:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(256, 1, generator=generator) * torch.tensor([1.0, -1.0, 2.0, 0.5])
        x = x + 0.05 * torch.randn(256, 4, generator=generator)
        return DataLoader([Batch(part) for part in x.split(64)], batch_size=None)


class Watch(Callback):
    def __init__(self) -> None:
        self.lambdas: list[float] = []
        self.terms: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.lambdas.append(float(pl_module.annealed(0)["distortion"]))
        self.terms.append({name: float(value) for name, value in outputs["terms"].items()})


def model() -> VAE:
    torch.manual_seed(0)
    return VAE(spec=DataSpec(input_shape=(4,), num_train=256), latent_dim=1)


@pytest.mark.parametrize("target", [2.9, 4.0])
def test_the_constraint_is_met_and_is_tight(tmp_path, target) -> None:
    watch = Watch()
    trainer(tmp_path, GECO(target, step_size=0.05, decay=0.9), watch, epochs=150).fit(model(), Toy())
    late = [row["distortion"] for row in watch.terms[-100:]]
    assert sum(late) / len(late) == pytest.approx(target, abs=0.1)


def test_lambda_follows_algorithm_one() -> None:
    geco = GECO(10.0, step_size=0.1, decay=0.5, clip=2.0)
    geco.multiplier = torch.tensor(1.0)

    class Strategy:
        def reduce(self, value: Tensor, reduce_op: str) -> Tensor:
            return value

    class Fake:
        strategy = Strategy()

    for distortion in (11.0, 14.0, 2.0):
        outputs = {"terms": {"distortion": torch.tensor(distortion)}}
        geco.on_train_batch_end(Fake(), nn.Identity(), outputs, Batch(torch.zeros(1)), 0)  # type: ignore[arg-type]
    # averages 1, 2.5, -2.75; steps clipped to 1, 2, -2
    assert float(geco.value(0)) == pytest.approx(torch.tensor(0.1 * (1 + 2 - 2)).exp().item())


def test_lambda_rises_while_the_constraint_is_violated_and_falls_after(tmp_path) -> None:
    rising, falling = Watch(), Watch()
    trainer(tmp_path, GECO(-1e6), rising, epochs=2).fit(model(), Toy())
    trainer(tmp_path, GECO(1e6), falling, epochs=2).fit(model(), Toy())
    assert 1 < rising.lambdas[0] < rising.lambdas[-1]
    assert rising.lambdas == sorted(rising.lambdas)
    assert 1 > falling.lambdas[0] > falling.lambdas[-1]
    assert falling.lambdas == sorted(falling.lambdas, reverse=True)


def test_a_resumed_run_continues_exactly(tmp_path) -> None:
    whole, second = Watch(), Watch()
    net = model()
    trainer(tmp_path, GECO(3.0), whole, epochs=4).fit(net, Toy())
    half = trainer(tmp_path, GECO(3.0), epochs=2)
    half.fit(model(), Toy())
    half.save_checkpoint(tmp_path / "half.ckpt")
    assert torch.load(tmp_path / "half.ckpt", weights_only=True)["callbacks"]["GECO"]["multiplier"] == whole.lambdas[7]
    rest = model()
    trainer(tmp_path, GECO(3.0), second, epochs=4).fit(rest, Toy(), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert second.lambdas == whole.lambdas[8:]
    assert all(torch.equal(value, rest.state_dict()[name]) for name, value in net.state_dict().items())


def test_lambda_is_logged(tmp_path) -> None:
    run = trainer(tmp_path, GECO(-1e6), epochs=1, log_every_n_steps=1)
    run.logger = MetricsCSV(tmp_path)
    run.fit(model(), Toy())
    logged = [row["coefficient/distortion"] for row in csv.DictReader((tmp_path / "metrics.csv").open())]
    assert len(logged) == 4
    assert float(logged[-1]) > 1


def test_conflicts_and_bad_arguments_are_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"'distortion' \(GECO and Schedule\)"):
        trainer(tmp_path, GECO(1.0), Schedule("distortion"), epochs=1).fit(model(), Toy())
    with pytest.raises(ConfigError, match="cannot constrain 'mse'"):
        trainer(tmp_path, GECO(1.0, term="mse"), epochs=1).fit(model(), Toy())
    with pytest.raises(ConfigError, match="GECO needs"):
        GECO(1.0, decay=1.0)
