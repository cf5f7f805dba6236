"""Draw every picture of docs/concepts.md and of the README's table of variants: `make concepts`.

The page is the recipe: each of its ```bash blocks is run as it stands, in a folder of its own, and the pictures that
are linked between it and the next block are taken from those that it drew.

python docs/pictures.py [FOLDER [CONFIG ...]]: with configs named, only their pictures for the README are drawn.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from lit_ae import shipped

DOCS = Path(__file__).parent
PAGE = DOCS / "concepts.md"
BLOCK = re.compile(r"```bash\n(.*?)```\n(.*?)(?=```bash\n|\Z)", re.DOTALL)
LINK = re.compile(r"\]\(img/concepts/([^)]+)\)")
OWN_FILES = {"ae_fashion", "ae_images", "sequences", "vae_fashion", "vae_mnist", "vae_table"}  # data not embedded
SHOWS_BEST = {  # a picture of the run; for the others, `sizes`
    "adversarial_ae": "latent",
    "ae": "latent",
    "autoencoder_kl": "reconstructions",
    "beta_vae": "traversals",
    "categorical_vae": "reconstructions",
    "ciwae": "samples",
    "cvae": "samples",
    "denoising_ae": "denoising",
    "ebm_ellipse": "energy",
    "factor_vae": "traversals",
    "fsq": "reconstructions",
    "hierarchical_vae": "samples",
    "iwae": "samples",
    "lfq": "reconstructions",
    "masked_autoencoder": "denoising",
    "miwae": "samples",
    "mixed_table": "latent",
    "piwae": "samples",
    "residual_vq": "reconstructions",
    "tabular": "latent",
    "vae": "latent",
    "vae_gan": "samples",
    "vq_vae": "reconstructions",
    "vqgan": "reconstructions",
}
COUNT = {"sizes": 5, "denoising": 5, "energy": 400}  # samples, where `lit_ae draw` draws the picture
WIDTH, MAX_BYTES, LARGE = 480, 40_000, 200_000


def main(folder: Path) -> None:
    """Run every block of the page and every config in a folder, where what is done already is not done again."""
    for commands, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        printed = run(commands, folder)
        for name in LINK.findall(text):
            content = chosen(name, printed, folder).read_bytes()
            place(DOCS / "img" / "concepts" / name, content)
    thumbnails(variants(), folder)


def thumbnails(names: list[str], folder: Path) -> None:
    """Run configs, and place the picture that shows each best."""
    for name in names:
        picture = SHOWS_BEST.get(name, "sizes")
        commands = f"lit_ae fit --config {name} --runs thumbnails\n"
        if picture in COUNT:
            commands += f"lit_ae draw {picture} thumbnails/{name}/0 --n {COUNT[picture]}\n"
        printed = run(commands, folder)
        place(DOCS / "img" / "variants" / f"{name}.png", thumbnail(chosen(f"{picture}.png", printed, folder)))


def variants() -> list[str]:
    """Configs that train on embedded data, overlays left out."""
    return [name for name in shipped.names() if "/" not in name and name not in OWN_FILES]


def run(commands: str, folder: Path) -> list[str]:
    """Run a block: the paths of the pictures that it printed, the newest last."""
    log = folder / f"{hashlib.sha1(commands.encode()).hexdigest()}.log"
    if not log.is_file():
        print(commands.strip(), flush=True)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(["bash", "-ec", commands], cwd=folder, env={**os.environ, "PATH": path}, text=True,
                              stdout=subprocess.PIPE, check=True)  # fmt: skip
        log.write_text(done.stdout, encoding="utf-8")
    return re.findall(r"^picture +(.+)$", log.read_text(encoding="utf-8"), re.MULTILINE)


def chosen(name: str, printed: list[str], folder: Path) -> Path:
    """The newest picture called `<picture>` or `<run>_<picture>`."""
    for path in reversed([Path(line) for line in printed]):
        if name in (path.name, f"{path.parents[2].name}_{path.name}"):
            return folder / path
    raise SystemExit(f"No block of {PAGE} drew {name}: it drew {', '.join(printed)}.")


def thumbnail(path: Path) -> bytes:
    """A picture as wide as the README's table needs it at most."""
    picture = Image.open(path).convert("RGB")
    picture.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
    for colours in (128, 64, 32, 16):
        buffer = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True)
        if buffer.tell() <= MAX_BYTES:
            break
    return buffer.getvalue()


def place(path: Path, content: bytes) -> None:
    """Write a picture; a large one in 256 colours, since a page has many."""
    if path.suffix == ".png" and len(content) > LARGE:
        buffer = io.BytesIO()
        picture = Image.open(io.BytesIO(content)).convert("RGB")
        picture.quantize(256, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True)
        content = min(content, buffer.getvalue(), key=len)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    print(f"{path.relative_to(DOCS)}  {len(content) // 1000} kB", flush=True)


if __name__ == "__main__":
    if any(argument.startswith("-") for argument in sys.argv[1:]):
        sys.exit(__doc__)  # a flag is no folder
    if len(sys.argv) > 1:
        Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
        given = Path(sys.argv[1]).resolve()
        thumbnails(sys.argv[2:], given) if len(sys.argv) > 2 else main(given)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
