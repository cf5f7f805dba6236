"""Write the tables of docs/recipes.md from benchmarks/results: `make recipes`. No number of theirs is typed in."""

# ruff: noqa: RUF001 (the page's own names)
from __future__ import annotations

import csv
import re
from pathlib import Path

DOCS = Path(__file__).parent
PAGE, RESULTS = DOCS / "recipes.md", DOCS.parent / "benchmarks" / "results"
PAPER = {("VAE", "1"): "86.76", ("IWAE", "5"): "85.54", ("IWAE", "50"): "84.78"}  # Burda et al., table 1, nats
TABLE = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def burda(row: dict[str, str]) -> dict[str, str]:
    """The importance-weighted autoencoders beside their paper."""
    return {
        "Model": f"{row['model']}, K = {row['samples_trained']}",
        "Epochs": row["epochs"],
        "Seed": row["seed"],
        "Training, minutes": row["train_minutes"],
        "−ELBO": f"{-float(row['elbo']):.2f}",
        "−log p(x)": f"{row['nll']} ± {row['nll_standard_error']}",
        "Paper, 3,280 epochs": PAPER[row["model"], row["samples_trained"]],
    }


def ladder(row: dict[str, str]) -> dict[str, str]:
    """The hierarchy beside a VAE of its size."""
    return {
        "Model": row["model"],
        "Recipe": f"`{row['recipe']}`",
        "Parameters": f"{int(row['parameters']):,}",
        "Epochs": row["epochs"],
        "Seed": row["seed"],
        "Training, minutes": row["train_minutes"],
        "−ELBO": f"{-float(row['elbo']):.2f}",
        "−log p(x)": f"{row['nll']} ± {row['nll_standard_error']}",
        "Samples": f"{int(row['nll_samples']):,}",
        "Pictures": f"{int(row['pictures']):,}",
    }


def codes(row: dict[str, str]) -> dict[str, str]:
    """Codebooks at an equal number of codes."""
    return {
        "Quantizer": row["quantizer"],
        "Codes": f"{int(row['codes']):,}",
        "‖x − x̂‖² per picture": f"{row['error_per_picture']} ± {row['error_standard_error']}",
        "Codes used": f"{float(row['codes_used']):.1%}",
        "Perplexity": row["perplexity"],
        "Parameters": f"{int(row['parameters']):,}",
        "Steps": f"{int(row['steps']):,}",
        "Seed": row["seed"],
        "Training, minutes": row["minutes"],
    }


TABLES = {"burda": ("iwae_mnist", burda), "ladder": ("ladder_mnist", ladder), "codes": ("codes-cifar10", codes)}


def table(name: str) -> str:
    """One table as Markdown."""
    file, columns = TABLES[name]
    with (RESULTS / f"{file}.csv").open(encoding="utf-8", newline="") as lines:
        rows = [columns(row) for row in csv.DictReader(lines)]
    heads = list(rows[0])
    body = [heads, ["---"] * len(heads), *(list(row.values()) for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in body)


def written(text: str) -> str:
    """The page with its tables as they should be."""
    return TABLE.sub(lambda found: f"{found[1]}{table(found[2])}{found[3]}", text)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
