"""What saving costs: seconds spent on checkpoints over the seconds of training, at the default interval.

    python benchmarks/reliability/saving.py [RUN ...] [--data DIR]     RUN: a part of its name, by default all

Timed inside real runs of the console script, around all that keeping does between two batches: looking whether a save
is due, copying a new best, sealing, writing and verifying files.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / "results" / "reliability" / "saving.csv"
HIDDEN = "[2048, 2048]"
LARGE = ["--config", "vae_mnist", "--model.encoder", "MLPEncoder", "--model.encoder.hidden", HIDDEN]
LARGE += ["--model.decoder", "MLPDecoder", "--model.decoder.hidden", HIDDEN]
WIDE = ["--config", "vae", "--model.encoder.hidden", HIDDEN, "--model.decoder.hidden", HIDDEN]
SETTINGS = {  # name → arguments; each trains for some minutes or ends before
    "VAE, embedded digits, 1,000 epochs": ["--config", "vae", "--trainer.max_epochs", "1000"],
    "VAE, MNIST, 10 epochs": ["--config", "vae_mnist", "--trainer.max_epochs", "10"],
    "VAE of 12 million weights, MNIST, 2 epochs": ["--trainer.max_epochs", "2", *LARGE],
    "VAE of 12 million weights, MNIST, 10 epochs": ["--trainer.max_epochs", "10", *LARGE],
    "VAE of 10 million weights, embedded digits, 50 epochs of 11 batches": ["--trainer.max_epochs", "50", *WIDE],
    "VAE of 10 million weights, embedded digits, 400 epochs of 11 batches": ["--trainer.max_epochs", "400", *WIDE],
}
CLOCK = '''
import json, time
from lightning.pytorch.callbacks import Callback

class Clock(Callback):
    """Seconds in training, and in what the checkpoint callback does."""
    def on_train_start(self, trainer, module):
        self.started, self.saving, self.saves, self.bests = time.monotonic(), 0.0, 0, 0
        keeper = trainer.checkpoint_callback
        for name in ("after_batch", "after_epoch", "at_end"):
            setattr(keeper, name, self.timed(getattr(keeper, name)))
        keeper._save = self.counted(keeper._save)
        compare = keeper._compare
        def compared(trainer):
            before = keeper.best_model_score
            compare(trainer)
            self.bests += before is not keeper.best_model_score
        keeper._compare = compared

    def timed(self, call):
        def inside(*args):
            before = time.monotonic()
            try:
                call(*args)
            finally:
                self.saving += time.monotonic() - before
        return inside

    def counted(self, save):
        def inside(*args):
            save(*args)
            self.saves += 1
        return inside

    def teardown(self, trainer, module, stage):
        took = {"training": time.monotonic() - self.started, "saving": self.saving, "saves": self.saves}
        with open("clock.json", "w") as file:
            json.dump({**took, "bests": self.bests}, file)
'''


def measured(arguments: list[str], data: str) -> dict[str, float]:
    """Train once, and say how long and how long in saving."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "clock.py").write_text(CLOCK, encoding="utf-8")
        mnist = ["--data.root", data] if "vae_mnist" in arguments else []
        command = [str(Path(sys.executable).with_name("lit_ae")), "fit", *arguments, *mnist]
        subprocess.run([*command, "--trainer.callbacks+=clock.Clock"], cwd=folder, check=True, capture_output=True)
        size = Path(next(Path(folder).glob("runs/*/0/checkpoints/last.ckpt"))).stat().st_size
        return {**json.loads(Path(folder, "clock.json").read_text(encoding="utf-8")), "size": size}


def main() -> None:
    """Measure what is asked for, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN", help=f"of {'; '.join(SETTINGS)}")
    parser.add_argument("--data", default=os.environ.get("LIT_AE_DATA", "data"), help="folder of MNIST")
    asked = parser.parse_args()
    for name, arguments in SETTINGS.items():
        if not asked.runs or any(part in name for part in asked.runs):
            keep(line(name, measured(arguments, str(Path(asked.data).resolve()))))
    print(f"results  {OUT}")


def line(name: str, took: dict[str, float]) -> dict[str, str]:
    """A line of the table."""
    return {
        "Run": name,
        "Checkpoint, MB": f"{took['size'] / 1e6:.1f}",
        "Training, s": f"{took['training']:.1f}",
        "Saves": str(took["saves"]),
        "New bests": str(took["bests"]),
        "Saving, s": f"{took['saving']:.2f}",
        "Share": f"{took['saving'] / took['training']:.2%}",
    }


def keep(new: dict[str, str]) -> None:
    """Write a line in place of an earlier one of its run."""
    print(new, flush=True)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    lines = {}
    if OUT.is_file():
        with OUT.open(newline="", encoding="utf-8") as file:
            lines = {each["Run"]: each for each in csv.DictReader(file)}
    lines[new["Run"]] = new
    with OUT.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(new), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines[name] for name in SETTINGS if name in lines)


if __name__ == "__main__":
    main()
