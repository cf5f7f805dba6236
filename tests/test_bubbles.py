"""The callback Bubbles: what it remembers, what it draws, and that a resumed run goes on."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from PIL import Image
from torch.utils.data import DataLoader

from lit_ae.batch import Batch, DataSpec
from lit_ae.callbacks import Bubbles
from lit_ae.callbacks.bubbles import History, standard
from lit_ae.callbacks.figures import MAX_BYTES
from lit_ae.errors import ConfigError
from lit_ae.models.ae import AE
from lit_ae.models.vae import VAE
from lit_ae.posteriors import DiagonalGaussian
from trainer_for_tests import trainer


class Toy(LightningDataModule):
    """Random samples, three batches, the second a repeat that counts for nothing."""

    spec = DataSpec(input_shape=(6,), num_train=24)

    def __init__(self, labels: bool = True) -> None:
        super().__init__()
        x = torch.rand(24, 6, generator=torch.Generator().manual_seed(0))
        y = torch.arange(24) % 3
        parts = [(slice(0, 8), 1.0), (slice(8, 16), 0.0), (slice(16, 24), 1.0)]
        self.batches = [Batch(x[part], y[part] if labels else None, weight=weight) for part, weight in parts]

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.batches, batch_size=None)

    val_dataloader = train_dataloader


def model(**kwargs) -> VAE:
    torch.manual_seed(0)
    return VAE(spec=Toy.spec, **{"latent_dim": 3, **kwargs})


def fit(folder: Path, net, bubbles: Bubbles, epochs: int, resume: Path | None = None, **kwargs) -> Trainer:
    runner = trainer(folder, bubbles, epochs=epochs, **kwargs)
    runner.fit(net, Toy(), ckpt_path=resume, weights_only=True)
    return runner


@pytest.mark.parametrize("sanity", [0, 2])
def test_it_remembers_the_posteriors_before_training_and_after_each_epoch(tmp_path: Path, sanity: int) -> None:
    net, bubbles = model(), Bubbles(max_samples=12)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fit(tmp_path, net, bubbles, 3, num_sanity_val_steps=sanity)
    assert list(bubbles.history.moments) == [0, 1, 2, 3]
    counted = torch.cat([Toy().batches[0].x, Toy().batches[2].x[:4]])
    for epoch, state in ((0, before), (3, net.state_dict())):
        expected = model()
        expected.load_state_dict(state)
        q = expected.encode(counted)
        assert isinstance(q, DiagonalGaussian)
        mean, scale = bubbles.history.moments[epoch]
        torch.testing.assert_close(mean.float(), q.mode.detach(), atol=2e-3, rtol=2e-3)
        torch.testing.assert_close(scale.float(), q.scale.detach(), atol=2e-3, rtol=2e-3)
    assert bubbles.history.y is not None
    assert bubbles.history.y.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 1, 2, 0, 1]


def test_it_draws_both_moments_and_an_animation(tmp_path: Path) -> None:
    fit(tmp_path, model(), Bubbles(), 3)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"bubbles.png", "bubbles.gif"}
    assert all(path.stat().st_size <= MAX_BYTES for path in (tmp_path / "figures").iterdir())
    assert Image.open(tmp_path / "figures/bubbles.gif").n_frames == 4


def test_it_changes_nothing_in_training(tmp_path: Path) -> None:
    alone, watched = model(), model()
    trainer(tmp_path, epochs=2).fit(alone, Toy())
    fit(tmp_path, watched, Bubbles(), 2)
    assert all(torch.equal(value, watched.state_dict()[name]) for name, value in alone.state_dict().items())
    assert watched.training


def test_a_resumed_run_goes_on_with_what_was_seen(tmp_path: Path) -> None:
    first = Bubbles()
    runner = fit(tmp_path, model(), first, 2)
    runner.save_checkpoint(tmp_path / "last.ckpt")
    resumed = Bubbles()
    fit(tmp_path, model(), resumed, 4, tmp_path / "last.ckpt")
    assert list(resumed.history.moments) == [0, 1, 2, 3, 4]
    for epoch, (mean, scale) in first.history.moments.items():
        assert torch.equal(mean, resumed.history.moments[epoch][0])
        assert torch.equal(scale, resumed.history.moments[epoch][1])
    other = Bubbles(max_samples=5)
    fit(tmp_path, model(), other, 3, tmp_path / "last.ckpt")
    assert list(other.history.moments) == [3], "other samples cannot be compared"


def rows(value: float, n: int = 4) -> dict[str, torch.Tensor]:
    return {"mean": torch.full((n, 2), value), "scale": torch.ones(n, 2), "y": torch.arange(n)}


def test_long_runs_are_thinned_evenly_and_keep_their_ends() -> None:
    history = History(8)
    for epoch in range(101):
        history.add(epoch, rows(epoch))
        assert len(history.moments) <= 9
    epochs = list(history.moments)
    assert (epochs[0], epochs[-1]) == (0, 100)
    assert len(epochs) >= 5
    assert len({after - before for before, after in itertools.pairwise(epochs[:-1])}) == 1
    assert all(float(mean[0, 0]) == epoch for epoch, (mean, _) in history.moments.items())
    copied = History(8, history.state())
    copied.add(101, rows(101.0))
    assert next(iter(copied.moments)) == 0
    assert list(copied.moments)[-1] == 101


def test_evaluation_alone_draws_what_is_there_now(tmp_path: Path) -> None:
    trainer(tmp_path, Bubbles()).validate(model(), Toy(labels=False), verbose=False)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"bubbles.png"}


@pytest.mark.parametrize("net", [AE(spec=Toy.spec, latent_dim=3), VAE(spec=Toy.spec, latent_dim=1)])
def test_what_is_no_bubble_is_refused(tmp_path: Path, net) -> None:
    with pytest.raises(ConfigError, match="leave them out, or take a variational model"):
        fit(tmp_path, net, Bubbles(), 1)
    assert not standard(AE(spec=Toy.spec))


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="frames of 2 or more"):
        Bubbles(frames=1)
    with pytest.raises(ConfigError, match="max_samples of 1 or more"):
        Bubbles(max_samples=0)


ODD = {
    "epochs": [torch.zeros(9), [torch.zeros(9)], [0, "1"]],
    "means": [torch.zeros(9), [torch.zeros(3)], [torch.zeros(5, 2), torch.zeros(6, 2)], [[1], [2]]],
    "stride": [0, torch.ones(1), [1]],
    "prior": [torch.ones(1)],
    "y": [[1], 3],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in ODD.items() for value in values])
def test_a_state_that_is_no_history_is_refused(name: str, value: object) -> None:
    history, monitor = History(8), Bubbles()
    for epoch in (0, 1):
        history.add(epoch, {"mean": torch.zeros(5, 2), "scale": torch.ones(5, 2)})
    monitor.load_state_dict(history.state())
    with pytest.raises(ValueError, match="no history"):
        monitor.load_state_dict({**history.state(), name: value})
