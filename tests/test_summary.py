"""`lit_ae summary`: the table tells the truth, the picture is there, nothing else is."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from conftest import Console
from lit_ae.arguments import resolve
from lit_ae.jobs.diagram import ours
from lit_ae.jobs.layers import describe
from lit_ae.models import VAE


def rows(text: str) -> dict[str, list[str]]:
    """Cells of the table by the path of the layer."""
    found: dict[str, list[str]] = {}
    parents: list[str] = []
    for line in text.split("─\n")[1].splitlines()[:-1]:
        name, *cells = [cell.strip() for cell in line.strip().split("  ") if cell.strip()]
        parents[(len(line) - len(line.lstrip())) // 2 :] = [name]
        found[".".join(parents)] = cells
    return found


def check_picture(path: Path) -> None:
    assert path.stat().st_size <= 300_000
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.width >= 600
        assert picture.height >= 200
        assert len(picture.convert("RGB").getcolors(100_000) or []) > 5


def test_a_config_by_name(lit_ae: Console, tmp_path: Path) -> None:
    done = lit_ae("summary", "vae")
    assert done.status == 0, done.err
    assert done.out.startswith("VAE on Digits: sample (1, 8, 8) → latent (2) → reconstruction (1, 8, 8)\n")
    assert done.out.endswith("picture  vae_architecture.png\n")
    table = rows(done.out)
    assert table["encoder"] == ["MLPEncoder", "(B, 1, 8, 8)", "(B, 4)", "35,332"]
    assert table["encoder.layers.0"] == ["Linear", "(B, 64)", "(B, 512)", f"{64 * 512 + 512:,}"]
    assert table["decoder.layers.2"] == ["Linear", "(B, 512)", "(B, 128)", f"{512 * 128 + 128:,}"]
    names = [name for name in table if "." not in name]
    assert names == ["encoder", "posterior", "decoder", "likelihood", "prior_net"]
    check_picture(tmp_path / "vae_architecture.png")
    assert [path.name for path in tmp_path.iterdir()] == ["vae_architecture.png"]  # no run folder


@pytest.mark.parametrize(
    "name", ["vae", "conv_ae", "recurrent_ae", "cvae", "ebm", "target_prop", "mixed_table", "vq_vae"]
)
def test_parameters_add_up(name: str) -> None:
    described = describe(resolve(["fit", "--config", name]))
    total = sum(parameter.numel() for parameter in described.model.parameters())
    leaves = [
        layer
        for layer in described.layers
        if not any(other.name.startswith(f"{layer.name}.") for other in described.layers)
    ]
    assert sum(layer.parameters for layer in leaves) == total
    assert sum(layer.parameters for layer in described.layers if "." not in layer.name) == total
    assert f"\n{total:,} parameters, {total:,} of them trained" in described.text()


@pytest.mark.parametrize("name", ["hierarchical_vae", "masked_autoencoder"])
def test_networks_that_are_no_chains_have_a_table_alone(name: str, lit_ae: Console, tmp_path: Path) -> None:
    done = lit_ae("summary", name)
    assert done.status == 0, done.err
    assert done.out.splitlines()[-1].startswith("picture  none: ")
    assert "encoder" in rows(done.out)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_shapes_of_pictures_steps_and_conditions() -> None:
    conv = {layer.name: layer for layer in describe(resolve(["fit", "--config", "conv_ae"])).layers}
    assert conv["encoder.trunk.1"].outputs == "(B, 32, 4, 4)"
    assert conv["decoder.trunk.7"].inputs == "(B, 32, 4, 4)"
    steps = {layer.name: layer for layer in describe(resolve(["fit", "--config", "recurrent_ae"])).layers}
    assert steps["encoder.rnn"].outputs == "(B, 8, 64), (1, B, 64), (1, B, 64)"
    described = describe(resolve(["fit", "--config", "cvae"]))
    condition = {layer.name: layer for layer in described.layers}["condition"]
    assert (condition.inputs, condition.outputs) == ("(B)", "(B, 16)")
    assert "sample (1, 8, 8) and class → latent (2)" in described.heading


def test_flags_and_overlays_beat_the_config(lit_ae: Console, tmp_path: Path) -> None:
    picture = tmp_path / "deep" / "net.png"
    flags = ("--config", "trainer/fast", "--model.latent_dim", "5", "--model.encoder.hidden=[32,16]")
    done = lit_ae("summary", "vae", *flags, "--out", str(picture))
    assert done.status == 0, done.err
    assert rows(done.out)["encoder.layers.4"] == ["Linear", "(B, 16)", "(B, 10)", f"{16 * 10 + 10}"]
    check_picture(picture)


def test_only_flags_describe_the_default_config(lit_ae: Console) -> None:
    done = lit_ae("summary", "--name", "mine")
    assert done.status == 0, done.err
    assert done.out.endswith("picture  mine_architecture.png\n")


def test_deep_networks_with_skips(lit_ae: Console, tmp_path: Path) -> None:
    flags = ("--model.encoder", "ResNetEncoder", "--model.decoder", "ResNetDecoder")
    done = lit_ae("summary", "ae", *flags)
    assert done.status == 0, done.err
    check_picture(tmp_path / "ae_architecture.png")


def test_a_run_keeps_its_picture(trained: Path, lit_ae: Console, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "vae" / "0"
    shutil.copytree(trained, run)
    shutil.rmtree(run / "checkpoints")  # what is described needs no weights
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    done = lit_ae("summary", "runs/vae/0")
    assert done.status == 0, done.err
    assert rows(done.out)["encoder.layers.0"][2:] == ["(B, 16)", f"{64 * 16 + 16:,}"]  # the run's own width
    check_picture(run / "figures" / "architecture.png")
    assert {path for path in tmp_path.rglob("*") if path.is_file()} - before == {run / "figures" / "architecture.png"}


@pytest.mark.slow
def test_what_others_made_is_not_replaced_unasked(lit_ae: Console, tmp_path: Path) -> None:
    path = tmp_path / "vae_architecture.png"
    Image.new("RGB", (3, 3)).save(path)
    done = lit_ae("summary", "vae")
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert "--overwrite" in done.err
    assert not ours(path)
    assert lit_ae("summary", "vae", "--overwrite").status == 0
    assert ours(path)
    assert lit_ae("summary", "vae").status == 0  # one's own is drawn anew


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ((), 2, "lit_ae summary vae"),
        (("nowhere",), 2, "no shipped config of that name"),
        (("runs/vae/7",), 4, "There is no run in runs/vae/7"),
        (("vae", "--out", "net.svg"), 2, "ends in .png"),
        (("vae", "--out"), 2, "--out needs a value"),
        (("vae", "--model.latent_dims", "3"), 2, "latent_dim"),
        (("vae", "--model.latent_dim", "0"), 2, "latent_dim is 0"),
        (("ae_images", "--data.root", "nowhere"), 3, "nowhere"),
    ],
)
def test_mistakes_end_in_one_message(arguments: tuple[str, ...], status: int, said: str, lit_ae: Console) -> None:
    done = lit_ae("summary", *arguments)
    assert done.status == status, done.err
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_damaged_run(lit_ae: Console, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model: [")
    done = lit_ae("summary", str(tmp_path))
    assert done.status == 4
    assert "name another run" in done.err


def test_without_the_drawing_library(lit_ae: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "visualtorch", None)
    done = lit_ae("summary", "vae")
    assert done.status == 2
    assert "pip install visualtorch" in done.err
    assert "102,532 parameters" in done.out  # the table does not need it


def test_other_data_than_the_run_saw(trained: Path, lit_ae: Console, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    config = yaml.safe_load((trained / "config.yaml").read_text(encoding="utf-8"))
    config["model"]["init_args"]["spec"]["input_shape"] = [1, 9, 9]
    (run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert lit_ae("summary", "run").status == 3


@pytest.mark.slow
def test_help_and_a_real_process(console: Console, tmp_path: Path) -> None:
    assert "usage: lit_ae summary CONFIG|RUN" in console("summary", "--help").out
    done = console("summary", "linear_ae")
    assert done.status == 0, done.err
    assert done.err == ""
    assert rows(done.out)["decoder.layers.0"] == ["Linear", "(B, 8)", "(B, 64)", f"{8 * 64 + 64}"]
    check_picture(tmp_path / "linear_ae_architecture.png")


def test_describing_leaves_the_model_usable() -> None:
    model = describe(resolve(["fit", "--config", "vae"])).model
    assert isinstance(model, VAE)
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
