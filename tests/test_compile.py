from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback

from datamodules import Digits
from lit_ae.callbacks import compile as module
from lit_ae.callbacks.compile import Compile, networks, obstacle
from lit_ae.models.vae import VAE


def fit(folder: Path, callbacks: list[Callback]) -> VAE:
    torch.manual_seed(0)
    data = Digits()
    model = VAE(spec=data.spec)
    Trainer(
        max_steps=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=callbacks,
    ).fit(model, data)
    return model


def compiled(model: VAE) -> list[bool]:
    return [net._compiled_call_impl is not None for net in networks(model)]


def test_networks_are_the_outermost_encoders_and_decoders() -> None:
    model = VAE(spec=Digits().spec)
    nets = networks(model)
    assert len(nets) == 2
    assert all(any(net is found for found in nets) for net in (model.encoder, model.decoder))


@pytest.mark.slow
def test_compiled_networks_learn_the_same_under_the_same_names(tmp_path: Path) -> None:
    plain, fast = fit(tmp_path, []), fit(tmp_path, [Compile()])
    assert compiled(fast) == [True, True]
    assert compiled(plain) == [False, False]
    assert plain.state_dict().keys() == fast.state_dict().keys()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(fast.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)
    assert copy.deepcopy(fast).state_dict().keys() == plain.state_dict().keys()  # what weight averaging does


def test_a_machine_that_cannot_compile_trains_uncompiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "obstacle", lambda device: "no C++ compiler")
    with pytest.warns(UserWarning, match="goes on uncompiled, because this machine cannot compile: no C") as caught:
        model = fit(tmp_path, [Compile()])
    assert compiled(model) == [False, False]
    assert len([entry for entry in caught if "uncompiled" in str(entry.message)]) == 1


@pytest.mark.slow
def test_a_missing_compiler_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setattr(config, "force_disable_caches", True)
    torch._dynamo.reset()
    assert "compiler" in obstacle(torch.device("cpu")).lower()


def test_evaluation_is_not_compiled(tmp_path: Path) -> None:
    data = Digits()
    model = VAE(spec=data.spec)
    Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path, callbacks=[Compile()]
    ).validate(model, data, verbose=False)
    assert compiled(model) == [False, False]
