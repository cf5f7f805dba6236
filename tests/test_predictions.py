from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from datamodules import Digits
from lit_ae.batch import Batch
from lit_ae.callbacks.predictions import PredictionWriter
from lit_ae.errors import StorageError
from lit_ae.models.vae import VAE


def trainer(folder: Path, **kwargs: Any) -> Trainer:
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=folder,
        callbacks=[PredictionWriter()],
        **kwargs,
    )


def test_every_test_sample_is_written_in_order(tmp_path: Path) -> None:
    data = Digits()
    model = VAE(spec=data.spec, latent_dim=3)
    trainer(tmp_path).predict(model, data, return_predictions=False)
    samples = next(iter(data.loader("test")))
    with np.load(tmp_path / "predictions.npz") as saved:
        written = {name: torch.from_numpy(saved[name]) for name in saved.files}
    n = len(data.split("test")[1])
    assert {name: tuple(value.shape) for name, value in written.items()} == {
        "z": (n, 3),
        "reconstruction": (n, *data.spec.input_shape),  # type: ignore[misc]
        "y": (n,),
    }
    head = len(samples.x)
    assert samples.y is not None
    assert torch.equal(written["y"][:head], samples.y)
    torch.testing.assert_close(written["z"][:head], model.embed(samples.x))
    torch.testing.assert_close(written["reconstruction"][:head], model.reconstruct(samples.x))


def test_batches_of_several_processes_interleave_and_repeats_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rank r of two holds batches r, r + 2, ...; of five batches the sixth, rank 1's last, is a repeat."""
    writers, parts = [PredictionWriter(str(tmp_path)) for _ in range(2)], []
    for rank, writer in enumerate(writers):
        process: Any = SimpleNamespace(world_size=2, global_rank=rank, is_global_zero=rank == 0)
        for batch_idx in range(3):
            number = batch_idx * 2 + rank
            outputs = {"z": torch.full((2, 1), float(number), dtype=torch.bfloat16)}
            batch = Batch(torch.zeros(2, 1), weight=float(number < 5))
            writer.on_predict_batch_end(process, process, outputs, batch, batch_idx)
        parts.append(writer._batches)

    def gather_object(mine: Any, into: list[Any] | None) -> None:
        if into is not None:
            into[:] = parts

    monkeypatch.setattr(torch.distributed, "gather_object", gather_object)
    for rank in (1, 0):
        process = SimpleNamespace(world_size=2, global_rank=rank, is_global_zero=rank == 0)
        writers[rank].on_predict_end(process, process)
        assert (tmp_path / "predictions.npz").exists() == (rank == 0)
    with np.load(tmp_path / "predictions.npz") as saved:
        assert saved["z"].ravel().tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
        assert saved["z"].dtype == np.float32


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    data = Digits()
    run = trainer(tmp_path / "file" / "run")
    with pytest.raises(StorageError, match=r"predictions\.npz"):
        run.predict(VAE(spec=data.spec), data, return_predictions=False)
