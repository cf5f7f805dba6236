"""Lightning's weight averaging with every variant, as configs/trainer/ema.yaml sets it up."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import Callback, LightningDataModule
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch.utils.data import DataLoader

from lit_ae import shipped
from lit_ae.batch import Batch, DataSpec
from lit_ae.callbacks import KLAnnealing
from lit_ae.models.ae import AE
from lit_ae.models.beta_vae import BetaVAE
from lit_ae.models.vae import VAE
from trainer_for_tests import trainer as quiet

SPEC = DataSpec(input_shape=(6,), num_train=32)


class Toy(LightningDataModule):
    def train_dataloader(self) -> DataLoader:
        x = torch.rand(32, 6, generator=torch.Generator().manual_seed(0))
        return DataLoader([Batch(part) for part in x.split(8)], batch_size=None)

    val_dataloader = train_dataloader


class Codebook(VAE):
    """Keeps a moving average and a counter of its own, as an EMA codebook does."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("codes", torch.zeros(6))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def update(self, batch, out) -> None:
        self.codes.lerp_(batch.x.mean(0), 0.1)
        self.count += 1


def overlay() -> EMAWeightAveraging:
    """The callback with the arguments that the shipped config gives it."""
    config = yaml.safe_load(shipped.find("trainer/ema").read_text(encoding="utf-8"))
    (entry,) = config["trainer"]["callbacks+"]
    assert entry["class_path"].endswith("EMAWeightAveraging")
    return EMAWeightAveraging(**{**entry["init_args"], "decay": 0.9})


trainer = partial(quiet, epochs=2, num_sanity_val_steps=0)


@pytest.mark.parametrize("variant", [AE, VAE, BetaVAE, Codebook])
def test_training_ends_with_the_moving_average_of_the_weights(tmp_path, variant) -> None:
    class Steps(Callback):
        average: dict[str, torch.Tensor]

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            now = {name: value.detach().clone() for name, value in pl_module.named_parameters()}
            first = trainer.global_step == 1
            self.average = now if first else {name: 0.9 * self.average[name] + 0.1 * now[name] for name in now}

    steps, net = Steps(), variant(spec=SPEC, latent_dim=2)
    trainer(tmp_path, steps, overlay()).fit(net, Toy())
    for name, value in net.named_parameters():
        torch.testing.assert_close(value.detach(), steps.average[name], rtol=1e-5, atol=1e-6)


def test_buffers_are_not_averaged_twice(tmp_path) -> None:
    plain, averaged = Codebook(spec=SPEC, latent_dim=2), Codebook(spec=SPEC, latent_dim=2)
    trainer(tmp_path).fit(plain, Toy())
    trainer(tmp_path, overlay()).fit(averaged, Toy())
    assert torch.equal(averaged.codes, plain.codes)
    assert averaged.count == plain.count == 8
    assert averaged.count.dtype == torch.long


def test_validation_sees_the_average_and_training_goes_on_from_the_weights(tmp_path) -> None:
    states = []
    for callbacks in ([], [overlay()]):
        torch.manual_seed(0)
        net, path = VAE(spec=SPEC, latent_dim=2), Last()
        run = trainer(tmp_path, *callbacks, path)
        run.fit(net, Toy())
        states.append((path.state, float(run.callback_metrics["val/loss"])))
    (alone, loss), (beside, averaged_loss) = states
    assert all(torch.equal(value, beside[name]) for name, value in alone.items())
    assert averaged_loss > loss  # a slow average of weights that improve lags behind


class Last(Callback):
    """The weights after the last step."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.state = {name: value.detach().clone() for name, value in pl_module.state_dict().items()}


@pytest.mark.parametrize("variant", [AE, VAE, BetaVAE, Codebook])
def test_a_resumed_run_ends_with_equal_weights(tmp_path, variant) -> None:
    def callbacks() -> list[Callback]:
        return [overlay()] + ([KLAnnealing(length=3)] if variant is not AE else [])

    torch.manual_seed(0)
    whole = variant(spec=SPEC, latent_dim=2)
    start = {name: value.clone() for name, value in whole.state_dict().items()}
    trainer(tmp_path, *callbacks(), epochs=4).fit(whole, Toy())
    half = variant(spec=SPEC, latent_dim=2)
    half.load_state_dict(start)
    saver = Save(tmp_path / "half.ckpt")
    trainer(tmp_path, *callbacks(), saver, epochs=4).fit(half, Toy())
    rest = variant(spec=SPEC, latent_dim=2)
    trainer(tmp_path, *callbacks(), epochs=4).fit(rest, Toy(), ckpt_path=saver.path, weights_only=True)
    assert all(torch.equal(value, rest.state_dict()[name]) for name, value in whole.state_dict().items())
    # a checkpoint's own weights are the average, so that whoever loads it gets that
    stored = torch.load(saver.path, weights_only=True)
    assert not torch.equal(
        stored["state_dict"]["encoder.layers.0.weight"], stored["current_model_state"]["encoder.layers.0.weight"]
    )


class Save(Callback):
    """Saves a checkpoint after the second epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        if trainer.current_epoch == 1:
            trainer.save_checkpoint(self.path)
