"""What saving costs: seconds spent in saving checkpoints over the seconds of training, at the default interval.

    python benchmarks/reliability/saving.py [--data DIR]

Timed inside real runs of the console script, by a callback around every call of the trainer's `save_checkpoint`.
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
SETTINGS = {  # name → arguments; each trains for some minutes or ends before
    "VAE, embedded digits, 1,000 epochs": ["--config", "vae", "--trainer.max_epochs", "1000"],
    "VAE, MNIST, 10 epochs": ["--config", "vae_mnist", "--trainer.max_epochs", "10"],
}
CLOCK = '''
import json, time
from lightning.pytorch.callbacks import Callback

class Clock(Callback):
    """Seconds in training and in saving."""
    def on_train_start(self, trainer, module):
        self.started, self.saving, self.saves = time.monotonic(), 0.0, 0
        save = trainer.save_checkpoint
        def timed(*args, **kwargs):
            before = time.monotonic()
            save(*args, **kwargs)
            self.saving += time.monotonic() - before
            self.saves += 1
        trainer.save_checkpoint = timed

    def teardown(self, trainer, module, stage):
        took = {"training": time.monotonic() - self.started, "saving": self.saving, "saves": self.saves}
        with open("clock.json", "w") as file:
            json.dump(took, file)
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
    """Measure every setting, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("LIT_AE_DATA", "data"), help="folder of MNIST")
    data = str(Path(parser.parse_args().data).resolve())
    lines = []
    for name, arguments in SETTINGS.items():
        took = measured(arguments, data)
        lines.append(
            {
                "Run": name,
                "Checkpoint, MB": f"{took['size'] / 1e6:.1f}",
                "Training, s": f"{took['training']:.1f}",
                "Saves": str(took["saves"]),
                "Saving, s": f"{took['saving']:.2f}",
                "Share": f"{took['saving'] / took['training']:.2%}",
            }
        )
        print(lines[-1], flush=True)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    with OUT.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    print(f"results  {OUT}")


if __name__ == "__main__":
    main()
