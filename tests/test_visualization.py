"""Pictures: what they are drawn from, that they are drawn for every kind of data, and where they go."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lit_ae.batch import Batch, DataSpec
from lit_ae.callbacks import LatentVisualization, Reconstructions, publish
from lit_ae.callbacks.figures import MAX_BYTES, write
from lit_ae.errors import ConfigError, NonFiniteError, StorageError
from lit_ae.models.ae import AE
from lit_ae.models.vae import VAE
from lit_ae.plots import (
    kl_bars,
)
from trainer_for_tests import trainer

ALL = {"latent", "latent_grid", "traversals", "interpolations", "reconstructions", "samples"}


class Toy(LightningDataModule):
    """Random samples of a shape, three batches, with labels and perhaps conditions."""

    def __init__(
        self, shape: tuple[int, ...], y: str | None = "classes", c: bool = False, weights=(1.0, 1.0, 1.0)
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        x = torch.rand(24, *shape, generator=generator)
        labels = {"classes": torch.arange(24) % 3, "scale": torch.rand(24, 2), None: None}[y]
        parts = [slice(0, 8), slice(8, 16), slice(16, 24)]
        self.batches = [
            Batch(
                x[p],
                None if labels is None else labels[p],
                torch.eye(3)[torch.arange(24) % 3][p] if c else None,
                None,
                w,
            )
            for p, w in zip(parts, weights, strict=True)
        ]
        self.spec = DataSpec(input_shape=shape, num_train=24)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.batches, batch_size=None)

    val_dataloader = train_dataloader


class Conditional(VAE):
    """Adds its condition to the latent; fails without one."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.shift = nn.Linear(3, self.latent_shape[0])

    def decode(self, z, c=None, mask=None):
        return super().decode(z + self.shift(c), c, mask)


def drawn(folder: Path) -> set[str]:
    paths = list((folder / "figures").glob("*"))
    assert all(0 < path.stat().st_size <= MAX_BYTES and path.suffix == ".png" for path in paths)
    return {path.stem for path in paths}


@pytest.mark.parametrize(
    ("kind", "shape", "latents", "labels", "missing"),
    [
        (VAE, (1, 8, 8), 2, "classes", set()),
        (VAE, (3, 7, 5), 5, "scale", set()),
        (VAE, (2, 6, 6), 1, None, set()),
        (VAE, (6,), 3, "classes", {"latent_grid"}),
        (VAE, (1,), 1, "scale", {"latent_grid"}),
        (AE, (1, 8, 8), 4, "classes", {"samples"}),
        (AE, (40,), 2, None, {"latent_grid", "samples"}),
    ],
)
def test_every_kind_of_data_and_model_is_drawn(tmp_path, kind, shape, latents, labels, missing) -> None:
    data = Toy(shape, labels)
    net = kind(spec=data.spec, latent_dim=latents)
    trainer(tmp_path, LatentVisualization(grid=5), Reconstructions(n=6, samples=12)).fit(net, data)
    assert drawn(tmp_path) == ALL - missing
    assert net.training


def test_conditions_are_passed_on(tmp_path) -> None:
    data = Toy((1, 4, 4), c=True)
    trainer(tmp_path, LatentVisualization(grid=3), Reconstructions()).fit(
        Conditional(spec=data.spec, latent_dim=2), data
    )
    assert drawn(tmp_path) == ALL


def test_half_precision_is_drawn(tmp_path) -> None:
    data = Toy((1, 4, 4))
    net = VAE(spec=data.spec, latent_dim=3)
    trainer(tmp_path, LatentVisualization(grid=3), Reconstructions(), precision="bf16-mixed").fit(net, data)
    assert drawn(tmp_path) == ALL


def test_a_diverged_model_is_told_not_drawn(tmp_path) -> None:
    data = Toy((1, 4, 4))
    net = VAE(spec=data.spec, latent_dim=3)
    nn.init.constant_(next(net.encoder.parameters()), float("nan"))
    run = trainer(tmp_path, LatentVisualization())
    with pytest.warns(UserWarning, match="every code is NaN"), pytest.raises(NonFiniteError):
        run.validate(net, data, verbose=False)
    assert drawn(tmp_path) == set()


class Drawn(LatentVisualization):
    """Remembers when it drew, and of what."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.epochs: list[int] = []
        self.rows: dict[str, Tensor] = {}
        self.weights: list[Tensor] = []

    def draw(self, trainer, model, rows) -> None:
        self.epochs.append(trainer.current_epoch)
        self.rows = rows
        self.weights.append(next(model.parameters()).clone())


def test_it_draws_every_n_epochs_at_the_end_and_never_in_the_sanity_check(tmp_path) -> None:
    data, every = Toy((1, 4, 4)), Drawn(every_n_epochs=2)
    trainer(tmp_path, every, epochs=5).fit(VAE(spec=data.spec, latent_dim=2), data)
    assert every.epochs == [1, 3, 4]
    last = Drawn(every_n_epochs=0)
    trainer(tmp_path, last, epochs=-1, max_steps=7).fit(VAE(spec=data.spec, latent_dim=2), data)
    assert len(last.epochs) == 1  # nobody knew the last epoch beforehand
    alone = Drawn()
    trainer(tmp_path, alone).validate(VAE(spec=data.spec, latent_dim=2), data, verbose=False)
    assert len(alone.epochs) == 1


def test_codes_are_modes_of_real_samples_up_to_the_limit(tmp_path) -> None:
    data, seen = Toy((1, 4, 4), weights=(1.0, 0.0, 1.0)), Drawn(max_samples=12)
    net = VAE(spec=data.spec, latent_dim=2)
    trainer(tmp_path, seen).validate(net, data, verbose=False)
    x = torch.cat([data.batches[0].x, data.batches[2].x[:4]])  # the repeat of weight 0 does not count
    torch.testing.assert_close(seen.rows["z"], net.embed(x))
    assert seen.rows["y"].tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 1, 2, 0, 1]


@pytest.mark.parametrize("first", [True, False])
def test_pictures_show_the_averaged_weights_wherever_the_callback_stands(tmp_path, first) -> None:
    data, seen = Toy((1, 4, 4)), Drawn(every_n_epochs=1)
    average = EMAWeightAveraging(decay=0.5, use_buffers=False)
    net = VAE(spec=data.spec, latent_dim=2)
    trainer(tmp_path, *([average, seen] if first else [seen, average]), epochs=2).fit(net, data)
    assert torch.equal(seen.weights[-1], next(net.parameters()))  # training ends with the average


def test_figures_do_not_change_training(tmp_path) -> None:
    data, states = Toy((1, 4, 4)), []
    for callbacks in ([], [LatentVisualization(every_n_epochs=1, grid=3), Reconstructions(every_n_epochs=1)]):
        torch.manual_seed(0)
        net = VAE(spec=data.spec, latent_dim=2)
        trainer(tmp_path, *callbacks, epochs=2).fit(net, data)
        states.append(net.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_history_keeps_every_epochs_picture(tmp_path) -> None:
    data = Toy((4,))
    trainer(tmp_path, Reconstructions(every_n_epochs=1, samples=0, history=True), epochs=2).fit(
        AE(spec=data.spec, latent_dim=2), data
    )
    assert drawn(tmp_path) == {"reconstructions", "reconstructions-epoch0", "reconstructions-epoch1"}


# ---- plots: what is on them


def test_a_picture_goes_to_the_run_folder_and_the_loggers(tmp_path) -> None:
    logger = TensorBoardLogger(tmp_path, name="", version="")
    run = trainer(tmp_path, logger=logger)
    publish(run, "hello", lambda: kl_bars(torch.rand(3)))
    logger.experiment.flush()
    assert (tmp_path / "figures" / "hello.png").read_bytes().startswith(b"\x89PNG")
    assert b"figures/hello" in b"".join(path.read_bytes() for path in tmp_path.glob("events*"))


def test_only_the_first_process_draws(tmp_path, monkeypatch) -> None:
    run = trainer(tmp_path)
    monkeypatch.setattr(type(run), "is_global_zero", property(lambda self: False))

    def refuse() -> Figure:
        raise AssertionError

    publish(run, "hello", refuse)
    assert not (tmp_path / "figures").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path) -> None:
    (tmp_path / "figures").write_text("a file, not a folder")
    with pytest.raises(StorageError, match=r"Cannot write the picture .*hello\.png.*set --runs"):
        publish(trainer(tmp_path), "hello", lambda: kl_bars(torch.rand(3)))


def test_a_full_disk_leaves_the_last_picture_whole(tmp_path, monkeypatch) -> None:
    path = tmp_path / "figures" / "hello.png"
    write(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [other.name for other in path.parent.iterdir()] == ["hello.png"]


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="LatentVisualization needs every_n_epochs"):
        LatentVisualization(every_n_epochs=-1)
    with pytest.raises(ConfigError, match="max_samples of 1"):
        Reconstructions(n=0)
    with pytest.raises(ConfigError, match="samples of 0 or more"):
        Reconstructions(samples=-1)
