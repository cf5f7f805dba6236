"""Everything works from Python, without the command line."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from datamodules import Digits
from lit_ae.errors import ConfigError
from lit_ae.models.vae import VAE
from lit_ae.nn import MLPEncoder
from variants import SPEC


def test_fit_test_and_reload(tmp_path: Path) -> None:
    data = Digits(batch_size=256)
    model = VAE(spec=data.spec, latent_dim=2, encoder=partial(MLPEncoder, hidden=(16,)))
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, logger=False, enable_progress_bar=False
    )
    trainer.fit(model, data)
    (result,) = trainer.test(model, data, verbose=False)
    assert result["test/elbo"] < 0
    again = VAE.load_from_checkpoint(trainer.checkpoint_callback.best_model_path, weights_only=True)
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(again.embed(x), model.embed(x))


def test_a_model_without_a_spec_says_what_it_needs() -> None:
    with pytest.raises(ConfigError, match=r"pass spec=data\.spec"):
        VAE()


class Instance(torch.nn.Module):
    pass


@pytest.mark.parametrize(
    "encoder", [lambda shape, features: MLPEncoder(shape, features), partial(lambda *a: MLPEncoder(*a)), Instance()]
)
def test_what_a_checkpoint_cannot_hold_is_refused_at_construction(encoder: object) -> None:
    with pytest.raises(ConfigError, match=r"encoder=.* cannot be written into a checkpoint"):
        VAE(spec=SPEC, encoder=encoder)  # type: ignore[arg-type]


def test_a_local_class_is_refused_at_construction() -> None:
    class Local(MLPEncoder):
        pass

    with pytest.raises(ConfigError, match="cannot be written into a checkpoint"):
        VAE(spec=SPEC, encoder=Local)
