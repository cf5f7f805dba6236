"""No checkpoint that is not finite is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lit_ae.errors import NonFiniteError
from lit_ae.finite import check, finite, suspects
from lit_ae.storage import AtomicCheckpointIO, load

NAN, INF = float("nan"), float("inf")


def stored(name: str = "", value: float = 0.0) -> dict[str, Any]:
    """A checkpoint of one weight, one mask and one moment, with a value put into one of them."""
    weight, mask, moment = torch.ones(3, 4), torch.zeros(5), torch.full((3, 4), 1e-9)
    for tensor, key in ((weight, "weight"), (mask, "mask"), (moment, "moment")):
        if key == name:
            tensor.view(-1)[2] = value
    state = {0: {"step": torch.tensor(3.0), "exp_avg": moment, "amsgrad": None}}
    return {
        "state_dict": {
            "net.weight": weight,
            "net.mask": mask,
            "net.count": torch.tensor(3),
            "net.none": torch.empty(0),
        },
        "optimizer_states": [{"state": state, "param_groups": [{"lr": INF, "params": [0]}]}],
        "buffers": ["net.mask", "net.count"],
        "callbacks": {"best": {"best_model_score": torch.tensor(INF)}},
    }


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("weight", NAN, "state_dict.net.weight holds nan"),
        ("weight", -INF, "state_dict.net.weight holds infinity"),
        ("mask", NAN, "state_dict.net.mask holds nan"),
        ("moment", NAN, "optimizer_states.0.state.0.exp_avg holds nan"),
        ("moment", INF, "optimizer_states.0.state.0.exp_avg holds infinity"),
    ],
)
def test_what_is_not_finite_is_refused_and_the_old_file_stays(
    name: str, value: float, named: str, tmp_path: Path
) -> None:
    path = tmp_path / "last.ckpt"
    writer = AtomicCheckpointIO()
    writer.save_checkpoint(stored(), path)
    before = path.read_bytes()
    with pytest.raises(NonFiniteError, match=named) as caught:
        writer.save_checkpoint(stored(name, value), path)
    assert caught.value.status == 5
    assert len(str(caught.value).splitlines()) == 1
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir() if "partial" in each.name] == []


@pytest.mark.parametrize(("name", "value"), [("mask", INF), ("mask", -INF), ("weight", 3e38), ("moment", -3e38)])
def test_masks_and_large_numbers_are_written(name: str, value: float, tmp_path: Path) -> None:
    AtomicCheckpointIO().save_checkpoint(stored(name, value), tmp_path / "last.ckpt")
    weights = load(tmp_path / "last.ckpt")["state_dict"]
    assert torch.equal(weights["net.mask"], stored(name, value)["state_dict"]["net.mask"])


def test_without_names_of_buffers_an_infinity_is_refused_wherever_it_is() -> None:
    with pytest.raises(NonFiniteError, match="mask"):
        check({**stored("mask", INF), "buffers": []})
    check(stored("mask", INF))


def test_averaged_weights_are_looked_at_too() -> None:
    with pytest.raises(NonFiniteError, match=r"current_model_state\.w"):
        check({**stored(), "current_model_state": {"w": torch.tensor([NAN])}})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_every_value_and_type_is_found(dtype: torch.dtype, value: float) -> None:
    largest = torch.finfo(dtype).max
    sound = torch.full((4, 3), largest, dtype=dtype)  # sums and norms of it overflow
    bad = sound.clone()
    bad[2, 1] = value
    assert finite(sound)
    assert not finite(bad)
    assert suspects([sound, bad, sound.clone(), bad[2, 1]]) == [1, 3]


def test_an_infinity_does_not_cancel_another() -> None:
    x: Tensor = torch.tensor([INF, -INF, 1.0])
    assert not finite(x)
    assert suspects([x]) == [0]


def test_whole_numbers_are_finite() -> None:
    assert finite(torch.tensor([2**62, -1]))
    assert suspects([]) == []
