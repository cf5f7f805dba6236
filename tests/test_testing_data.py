"""`lit_ae test` on data with known factors, and on tables with missing cells."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from conftest import Console

FAST = ("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.callbacks=[]")
SHORT = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=3", "--trainer.logger=false")


def test_known_factors(lit_ae: Console, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    y = draw.integers(0, 4, (800, 2))
    np.savez(tmp_path / "factors.npz", x=(y + 0.01 * draw.normal(size=y.shape)).astype("float32"), y=y)
    data = ("--data=Arrays", "--data.path=factors.npz", "--data.test_fraction=0.5")
    model = ("--model=AE", "--model.latent_dim=2", "--model.encoder.hidden=[]", "--model.decoder.hidden=[]")
    assert lit_ae("fit", *model, *data, *FAST, *SHORT).status == 0
    checkpoint = tmp_path / "runs/ae/0/checkpoints/best.ckpt"
    stored = torch.load(checkpoint, weights_only=True)
    for name, value in stored["state_dict"].items():  # an encoder that hands the factors through
        if name.startswith("encoder") and value.shape == (2, 2):
            value.copy_(torch.eye(2))
    torch.save(stored, checkpoint)
    done = lit_ae("test", "runs/ae/0", *FAST, "--metrics", "disentanglement")
    assert done.status == 0, done.err
    found = json.loads((tmp_path / "runs/ae/0/metrics.json").read_text(encoding="utf-8"))
    for name in ("mig", "dci_disentanglement", "dci_completeness", "factor_vae_score", "beta_vae_score", "modularity"):
        assert found[name] > 0.9, name
    assert "elbo" not in found
    assert "distortion" not in found


def test_a_table_with_missing_cells(lit_ae: Console, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(200, 5)).astype("float32")
    x[draw.random(x.shape) < 0.1] = np.nan
    np.savez(tmp_path / "table.npz", x=x)
    data = ("--data=Arrays", "--data.path=table.npz", "--data.missing=mask")
    model = ("--model=VAE", "--model.latent_dim=2", "--model.encoder.hidden=[8]", "--model.decoder.hidden=[8]")
    assert lit_ae("fit", *model, *data, *FAST, *SHORT).status == 0
    done = lit_ae("test", "runs/vae/0", *FAST, "--nll_samples=20")
    assert done.status == 0, done.err
    found = json.loads((tmp_path / "runs/vae/0/metrics.json").read_text(encoding="utf-8"))
    assert all(np.isfinite(found[name]) for name in ("elbo", "log_px", "mse", "mse_mean"))
    assert found["mse_mean"] < found["mse"] < 5 * found["mse_mean"]  # some cells do not count
    assert "not observed in full" in done.out
