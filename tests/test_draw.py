"""`lit_ae draw`: every picture from real runs, what is refused, and what opening a run gives back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from conftest import QUICK, Console, environment
from lit_ae.callbacks.figures import MAX_BYTES
from lit_ae.cli import main
from lit_ae.errors import ConfigError, DataError, RunError
from lit_ae.jobs import pictures
from lit_ae.jobs.draw import PICTURES
from lit_ae.jobs.opening import opened
from lit_ae.storage import load

ENCODER, DECODER = "--model.encoder.hidden=[16]", "--model.decoder.hidden=[16]"
PLANE = "--data=Points --data.n=100 --data.batch_size=30"
RUNS = {  # name → arguments of a short run
    "ae": f"--model=AE --model.latent_dim=2 {ENCODER}",
    "wide": f"--model=AE --model.latent_dim=5 {ENCODER}",
    "vae": f"--model=VAE --model.latent_dim=2 {ENCODER}",
    "flat": f"--model=VAE --model.latent_dim=1 {ENCODER}",
    "denoising": f"--model=DenoisingAE {ENCODER}",
    "plane": f"--model=AE {ENCODER} {PLANE}",
    "plane_denoising": f"--model=DenoisingAE {ENCODER} {PLANE}",
    "plane_ebm": f"--model=EBM --model.latent_dim=1 {PLANE}",
    "classes": f"--model=CVAE --model.latent_dim=3 {ENCODER} --data.condition=label",
}
DRAWN = {
    "maps": "ae vae",
    "bubbles": "vae",
    "denoising": "denoising denoising",
    "noise": "denoising vae",
    "energy": "plane plane_denoising plane_ebm",
    "field": "plane_denoising",
    "sizes": "wide ae vae",
    "codes": "ae wide",
    "error": "ae wide vae",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one short run of each kind. Pictures are written into it."""
    folder = tmp_path_factory.mktemp("runs")
    for name, arguments in RUNS.items():
        common = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=3", "--trainer.callbacks=[]", DECODER]
        common += ["--trainer.logger=false", f"--runs={folder}", f"--name={name}", *QUICK[:2]]
        assert main(["fit", *arguments.split(), *common]) == 0
    return folder


def test_every_picture_is_listed_and_has_its_function() -> None:
    assert set(PICTURES) == set(pictures.DRAW) == set(DRAWN)


@pytest.mark.parametrize("picture", DRAWN)
def test_it_draws_into_the_folder_of_the_first_run(picture: str, runs: Path, lit_ae: Console) -> None:
    folders = [runs / name / "0" for name in DRAWN[picture].split()]
    done = lit_ae("draw", picture, *map(str, folders))
    path = folders[0] / "figures" / f"{picture}.png"
    assert (done.status, done.out, done.err) == (0, f"picture  {path}\n", "")
    assert 5_000 < path.stat().st_size <= MAX_BYTES
    assert Image.open(path).width >= 500
    content = path.read_bytes()
    lit_ae("draw", picture, *map(str, folders))
    assert path.read_bytes() == content, "drawn twice, it differs"


def test_conditions_are_passed_on(runs: Path, lit_ae: Console) -> None:
    folder = runs / "classes" / "0"
    for picture in ("maps", "bubbles", "sizes", "codes", "error"):
        assert lit_ae("draw", picture, str(folder)).status == 0
    assert lit_ae("draw", "noise", str(runs / "denoising/0"), str(folder), "--split", "val", "--n", "3").status == 0


MISTAKES = [
    ("mpas {ae}", 2, "There is no picture 'mpas': did you mean 'maps'?"),
    ("xyz {ae}", 2, "there are maps, bubbles"),
    ("maps", 2, "The picture maps is drawn from AE VAE, 0 runs were named"),
    ("noise {denoising}", 2, "1 runs were named"),
    ("bubbles {ae}", 2, "needs a run with a posterior and a prior, such as VAE's"),
    ("bubbles {flat}", 2, "of two latents or more"),
    ("denoising {ae}", 2, "The picture denoising needs a run of DenoisingAE or MaskedAutoencoder: "),
    ("noise {vae} {denoising}", 2, "needs a run of DenoisingAE"),
    ("field {denoising}", 2, "needs runs on points in the plane"),
    ("energy {ae}", 2, "has samples of shape (1, 8, 8)"),
    ("maps {plane}", 2, "needs runs on pictures"),
    ("sizes {ae} {plane}", 2, "needs runs on pictures"),
    ("error {ae} {plane}", 3, "compares runs on the same data"),
    ("maps nowhere", 4, "There is no run in nowhere"),
    ("maps {ae}/checkpoints/lost.ckpt", 4, "There is no checkpoint"),
    ("maps {ae} --n 0", 2, "--n is 0"),
    ("maps {ae} --n few", 2, "invalid int value: 'few'"),
    ("maps {ae} --split all", 2, "invalid choice: 'all'"),
    ("maps {ae} --size 3", 2, "unrecognized arguments: --size 3"),
]


@pytest.mark.parametrize(("line", "status", "words"), MISTAKES)
def test_mistakes_end_in_one_sentence(line: str, status: int, words: str, runs: Path, lit_ae: Console) -> None:
    done = lit_ae("draw", *line.format(**{name: str(runs / name / "0") for name in RUNS}).split())
    assert (done.status, done.out) == (status, "")
    assert words in done.err
    assert len(done.err.splitlines()) == 1


def test_help_lists_the_pictures_and_imports_no_torch(tmp_path: Path) -> None:
    code = "import sys; from lit_ae.cli import main; status = main(sys.argv[1:]); assert 'torch' not in sys.modules"
    outputs = set()
    for arguments in (["draw"], ["draw", "--help"]):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        outputs.add(done.stdout)
    (text,) = outputs
    lines = {line.split()[0] for line in text.splitlines() if line.startswith("  ")}
    assert set(PICTURES) <= lines


# ---- opening


def test_an_opened_run_is_the_trained_model_ready_to_use(runs: Path) -> None:
    run = opened(runs / "vae" / "0")
    assert (run.name, run.variant, run.model.training, run.model.device.type) == ("vae", "VAE", False, "cpu")
    best = load(runs / "vae/0/checkpoints/best.ckpt")["state_dict"]
    assert all(torch.equal(value, best[name]) for name, value in run.model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in run.model.parameters())
    assert run.model.reconstruct(run.first(3).x).shape == (3, 1, 8, 8)


def test_first_samples_are_those_of_the_split_in_order(runs: Path) -> None:
    run = opened(runs / "vae" / "0", ["--data.batch_size=16"])
    every = torch.cat([batch.x for batch in run.batches("test")])
    assert len(every) == 360
    assert torch.equal(run.first(40).x, every[:40])
    assert len(run.first(10_000).x) == 360
    assert len(run.first(10_000, "val").x) == 143
    assert len(run.first(10_000, "train").x) == 1294
    conditional = opened(runs / "classes" / "0").first(20)
    assert torch.equal(conditional.y, conditional.c)


def test_a_checkpoint_is_opened_as_such(runs: Path) -> None:
    assert opened(runs / "ae/0/checkpoints/last.ckpt").variant == "AE"


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda run: (run / "config.yaml").write_text("model: [1\n"), RunError, "is not valid YAML"),
        (lambda run: (run / "config.yaml").write_text("name: x\n"), RunError, "has no model"),
        (lambda run: replace(run, "latent_dim", "latent_dmi"), RunError, "latent_dmi"),
        (lambda run: replace(run, "models.VAE", "models.Lost"), RunError, "Lost"),
        (
            lambda run: (replace(run, "Digits", "Points"), replace(run, "    on_error: raise\n", "")),
            DataError,
            "trained on",
        ),
        (lambda run: [path.write_bytes(b"junk") for path in run.glob("checkpoints/*")], RunError, "damaged"),
        (lambda run: [path.unlink() for path in run.glob("checkpoints/*")], RunError, "holds no checkpoint"),
    ],
)
def test_damaged_runs_are_refused(spoil, error: type[Exception], words: str, runs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    for path in ("config.yaml", "checkpoints/best.ckpt"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes((runs / "vae/0" / path).read_bytes())
    spoil(folder)
    with pytest.raises(error, match=words):
        opened(folder)


def replace(run: Path, old: str, new: str) -> None:
    text = (run / "config.yaml").read_text()
    assert old in text
    (run / "config.yaml").write_text(text.replace(old, new))


def test_flags_that_do_not_fit_are_a_mistake_of_the_caller(runs: Path) -> None:
    with pytest.raises(ConfigError, match="batch_sise"):
        opened(runs / "vae" / "0", ["--data.batch_sise=3"])
