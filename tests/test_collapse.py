"""The collapse monitor: closed forms, the warning in words, and the same numbers on every process."""

from __future__ import annotations

import warnings

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch.utils.data import DataLoader

from lit_ae import functional
from lit_ae.batch import Batch, DataSpec
from lit_ae.callbacks import CollapseMonitor
from lit_ae.errors import ConfigError
from lit_ae.models.ae import AE
from lit_ae.models.vae import VAE
from lit_ae.posteriors import DiagonalGaussian
from trainer_for_tests import trainer

SPEC = DataSpec(input_shape=(4,), num_train=32)


class Toy(LightningDataModule):
    def train_dataloader(self) -> DataLoader:
        x = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
        return DataLoader([Batch(part) for part in x.split(8)], batch_size=None)

    val_dataloader = train_dataloader


class Known(VAE):
    """A posterior that is known: mean s · x, standard deviation t, per dimension."""

    s = torch.tensor([1.0, 0.0, 0.5, 0.0])
    t = torch.tensor([0.1, 1.0, 0.5, 1.0])

    def encode(self, x, c=None, mask=None):
        return DiagonalGaussian(self.s * x + 0 * self.encoder(x)[:, :4], self.t.expand_as(x))


class Prior(Known):
    """A posterior that is the prior."""

    s, t = torch.zeros(4), torch.ones(4)


def test_the_numbers_are_those_of_the_posterior(tmp_path) -> None:
    run = trainer(tmp_path, CollapseMonitor())
    (values,) = run.validate(Known(spec=SPEC, latent_dim=4), Toy(), verbose=False)
    x = torch.cat([batch.x for batch in Toy().val_dataloader()])
    kl = (0.5 * ((Known.s * x) ** 2 + Known.t**2 - 1) - Known.t.log()).mean(0)
    assert values["val/kl_max"] == pytest.approx(float(kl.max()), rel=1e-5)
    assert values["val/kl_min"] == pytest.approx(0, abs=1e-6)
    assert values["val/active_units"] == 2
    q = DiagonalGaussian(Known.s * x, Known.t.expand_as(x))
    torch.manual_seed(0)
    exact = float(functional.mutual_information(q, q.rsample((500,))))
    assert values["val/mutual_information"] == pytest.approx(exact, abs=0.1)
    assert (tmp_path / "figures" / "latent_kl.png").is_file()


def test_a_collapsed_posterior_has_no_information_and_is_told_once(tmp_path) -> None:
    run = trainer(tmp_path, CollapseMonitor(), epochs=4)
    with pytest.warns(
        UserWarning, match=r"Posterior collapse: 4 of 4 latent dimensions carry under 0\.01 nats"
    ) as seen:
        run.fit(Prior(spec=SPEC, latent_dim=4), Toy())
    told = [str(warning.message) for warning in seen if "Posterior collapse" in str(warning.message)]
    assert len(told) == 1
    assert "E[rate] is" in told[0]
    assert "KLAnnealing" in told[0]
    assert run.callback_metrics["val/mutual_information"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("model", "epochs"), [(Prior, 1), (Known, 3)])
def test_it_waits_for_patience_and_says_nothing_of_a_used_latent(tmp_path, model, epochs) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        trainer(tmp_path, CollapseMonitor(patience=2), epochs=epochs).fit(model(spec=SPEC, latent_dim=4), Toy())
    assert not [warning for warning in seen if "Posterior collapse" in str(warning.message)]


def test_a_checkpoint_can_monitor_it(tmp_path) -> None:
    run = trainer(tmp_path, CollapseMonitor(), epochs=2)
    run.fit(VAE(spec=SPEC, latent_dim=3), Toy())
    assert {"val/active_units", "val/mutual_information", "val/kl_max"} <= run.callback_metrics.keys()


def test_models_without_a_rate_and_bad_arguments_are_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match="AE has no rate that could collapse"):
        trainer(tmp_path, CollapseMonitor()).fit(AE(spec=SPEC, latent_dim=2), Toy())
    with pytest.raises(ConfigError, match="threshold above 0"):
        CollapseMonitor(threshold=0)


@pytest.mark.slow
def test_two_processes_report_what_one_reports(tmp_path) -> None:
    from datamodules.digits import Digits

    values = []
    for devices in (1, 2):
        data = Digits(batch_size=32)
        torch.manual_seed(0)
        net = VAE(spec=data.spec, latent_dim=3)
        run = Trainer(
            default_root_dir=tmp_path,
            callbacks=[CollapseMonitor()],
            devices=devices,
            strategy="ddp_spawn" if devices > 1 else "auto",
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        values.append(run.validate(net, data, verbose=False)[0])
    one, two = values
    assert two["val/kl_max"] == pytest.approx(one["val/kl_max"], rel=1e-5)
    assert two["val/active_units"] == one["val/active_units"]
    assert two["val/mutual_information"] == pytest.approx(one["val/mutual_information"], abs=0.1)
