from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
import rich
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback

from datamodules import Digits
from lit_ae.callbacks.progress import Progress, short
from lit_ae.models.ae import AE
from lit_ae.models.base import Autoencoder
from lit_ae.models.vae import VAE


def fit(folder: Path, callbacks: list[Callback], model: type[Autoencoder] = VAE, **kwargs: object) -> Trainer:
    seed_everything(0)
    settings: dict[str, object] = {"max_epochs": 6, "limit_train_batches": 3, "log_every_n_steps": 1, **kwargs}
    data = Digits()
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=callbacks,
        **settings,  # type: ignore[arg-type]
    )
    trainer.fit(model(spec=data.spec), data)
    return trainer


def epoch_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("epoch ")]


def test_without_a_terminal_it_prints_lines_with_the_newest_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = fit(tmp_path, [Progress(lines=3)])
    lines = epoch_lines(capsys.readouterr().out)
    assert [line.split()[1] for line in lines] == ["2/6", "4/6", "6/6"]
    values = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert lines[-1] == (
        f"epoch 6/6  train/loss {values['train/loss']:.2f}  val/elbo {values['val/elbo']:.2f}  "
        f"distortion {values['val/distortion']:.2f}  rate {short(values['val/rate'])} nats"
    )


@pytest.mark.parametrize(
    ("value", "text"), [(-25.314, "-25.31"), (29.0, "29.00"), (0.0, "0.00"), (0.0761, "0.0761"), (3.2e7, "3.2e+07")]
)
def test_values_are_as_short_as_they_say_something(value: float, text: str) -> None:
    assert short(value) == text


def test_a_model_without_an_elbo_shows_its_loss(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path, [Progress(lines=1)], AE, max_epochs=1)
    (line,) = epoch_lines(capsys.readouterr().out)
    assert re.fullmatch(r"epoch 1/1  train/loss \S+  val/loss \S+", line)


def test_steps_are_counted_in_epochs_and_the_last_line_is_not_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(tmp_path, [Progress(lines=2)], max_epochs=-1, max_steps=15)
    assert [line.split()[1] for line in epoch_lines(capsys.readouterr().out)] == ["2/5", "4/5", "5/5"]


def test_no_lines_when_none_are_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path, [Progress(lines=0)], max_epochs=2)
    assert epoch_lines(capsys.readouterr().out) == []


def test_in_a_terminal_it_draws_a_bar_with_the_terms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = io.StringIO()
    console = rich.get_console()
    monkeypatch.setattr(console, "_file", screen)
    monkeypatch.setattr(console, "_force_terminal", True)
    bar = Progress()
    monkeypatch.setattr(bar, "_console_kwargs", {"file": screen, "force_terminal": True, "width": 100})
    fit(tmp_path, [bar], max_epochs=2)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert re.search(r"Epoch 1/1 .* 3/3 .*it/s loss: \S+ elbo: \S+ distortion: \S+ rate: \S+", text)
    assert epoch_lines(capsys.readouterr().out) == []


def test_the_bar_is_redrawn_by_time_and_not_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(number / 1000 for number in range(1, 10_000))  # a batch per millisecond
    monkeypatch.setattr("lit_ae.callbacks.progress.time.monotonic", lambda: next(clock))
    bar = Progress()
    assert sum(bar._redraw() for _ in range(2000)) == 10
    assert bar._redraw(last=True)
