"""Pictures go to the run folder and to every logger that takes pictures."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from lit_ae.errors import StorageError

MAX_BYTES = 300_000  # what a README or a report shows without waiting
RESOLUTIONS = (150, 120, 100, 80, 60)  # dots per inch, the first that fits


def png(figure: Figure) -> bytes:
    """Draw a figure, 1200 pixels wide; where the file grows large, in 256 colours and then with fewer pixels."""
    canvas = FigureCanvasAgg(figure)
    for resolution in RESOLUTIONS:
        buffer = io.BytesIO()
        canvas.print_figure(buffer, format="png", dpi=resolution, bbox_inches="tight", pad_inches=0.1)
        if buffer.tell() > MAX_BYTES:
            picture = Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE)
            buffer = io.BytesIO()
            picture.save(buffer, format="png", optimize=True)
        if buffer.tell() <= MAX_BYTES:
            break
    return buffer.getvalue()


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"Cannot write the picture {path}: {error.strerror or error}. Free space, or set --runs."
        ) from error


def publish(trainer: Trainer, name: str, draw: Callable[[], Figure], history: bool = False) -> None:
    """Write a figure to `<run>/figures/<name>.png` and send it to the loggers; call it on every process.

    Args:
        trainer: Knows the run folder and the loggers.
        name: Name of the picture.
        draw: Draws the picture; only the first process calls it.
        history: Keep `<name>-epoch<k>.png` of every epoch too, instead of the newest picture alone.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """
    folder = Path(trainer.log_dir or trainer.default_root_dir) / "figures"  # asks all processes
    if not trainer.is_global_zero:
        return
    figure = draw()
    content = png(figure)
    path = folder / f"{name}.png"
    write(path, content)
    if history:
        write(folder / f"{name}-epoch{trainer.current_epoch}.png", content)
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_figure(f"figures/{name}", figure, trainer.global_step)
        elif isinstance(logger, WandbLogger):
            logger.log_image(f"figures/{name}", [str(path)], trainer.global_step)
    figure.clear()
