"""What `lit_ae compare` writes: tables, pictures, and one page that holds all of it."""

from __future__ import annotations

import base64
import csv
import io
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

import torch

from lit_ae.callbacks.figures import png
from lit_ae.callbacks.figures import write as write_bytes
from lit_ae.errors import ConfigError
from lit_ae.jobs.contest import BETTER, Group, best, columns, entry, groups, table
from lit_ae.jobs.opening import opened
from lit_ae.jobs.tabled import digits
from lit_ae.plots.compare import maps, rate_distortion, side_by_side
from lit_ae.plots.concepts import rebuilt
from lit_ae.plots.style import array
from lit_ae.plots.tiles import is_picture, limits

CAPTIONS = {
    "rate_distortion": "What each run pays for its latents, and what it loses all the same.",
    "latent_maps": "Where the same samples lie in each latent space: one run of each, the first.",
    "reconstructions": "The same samples, rebuilt by one run of each.",
    "samples": "Samples of the prior, where there is one.",
}
NAMES = {
    "elbo": "ELBO", "bits_per_dim": "bits/dim", "mse": "MSE", "log_px": "log p(x)", "psnr": "PSNR", "ssim": "SSIM",
    "fid": "FID", "kid": "KID", "mig": "MIG", "sap": "SAP", "train_minutes": "train minutes",
}  # fmt: skip
UNITS = {"elbo": "nats", "distortion": "nats", "rate": "nats", "log_px": "nats", "psnr": "dB"}
MISSING = "\N{EN DASH}"
ARROWS = {1: "↑", -1: "↓"}


def compare(asked: Namespace, folders: Sequence[str], flags: Sequence[str]) -> list[str]:
    """Measure runs and write all that a comparison holds, and say in lines what was written.

    Raises:
        ConfigError: The runs are of different data.
        RunError: A run cannot be opened.
        DataError: The data are missing.
    """
    entries = []
    for folder in dict.fromkeys(folders):
        entries.append(entry(opened(folder, flags, device=asked.device), asked.split, asked.seed))
        if entries[-1].data != entries[0].data:
            raise ConfigError(
                f"{entries[0].run.folder} and {entries[-1].run.folder} have different {asked.split} samples: compare "
                "runs on the same data, with the same transforms."
            )
    found, out = groups(entries), Path(asked.out)
    pictures = drawn(found)
    for name in CAPTIONS:
        (out / f"{name}.png").unlink(missing_ok=True)  # of an earlier comparison
    for name, content in pictures.items():
        write_bytes(out / f"{name}.png", content)
    kind = str(entries[0].config["data"].get("class_path", "")).rsplit(".", 1)[-1]
    about = f"{entries[0].count:,} {asked.split} samples of {kind}"
    texts = {"csv": as_csv(table(found)), "md": markdown(found, about, pictures), "html": page(found, about, pictures)}
    for suffix, text in texts.items():
        write_bytes(out / f"comparison.{suffix}", text.encode())
    return [
        *plain(found),
        "",
        *(f"table    {out / f'comparison.{suffix}'}" for suffix in ("csv", "md")),
        f"page     {out / 'comparison.html'}",
        *(f"picture  {out / f'{name}.png'}" for name in pictures),
    ]


def drawn(found: Sequence[Group]) -> dict[str, bytes]:
    """The pictures that these runs allow, by name."""
    torch.manual_seed(0)
    firsts = [group.entries[0] for group in found]
    labels = [group.label for group in found]
    span = firsts[0].span or limits(array(firsts[0].x))
    pictures = {}
    common = Counter(each.likelihood for each in firsts if "rate" in each.values).most_common(1)
    rated = [group for group in found if "rate" in group.entries[0].values]
    rated = [group for group in rated if group.entries[0].likelihood == common[0][0]]
    if rated:
        points = [list(zip(group.values("rate"), group.values("distortion"), strict=True)) for group in rated]
        pictures["rate_distortion"] = png(rate_distortion([group.label for group in rated], points))
    mapped = [each.z for each in firsts]
    pictures["latent_maps"] = png(maps(labels, mapped, [each.y for each in firsts], firsts[0].class_names))
    if is_picture(firsts[0].x.shape[1:]):
        rows = [(label, each.x_hat) for label, each in zip(labels, firsts, strict=True)]
        pictures["reconstructions"] = png(rebuilt(firsts[0].x, rows))
    drawn = {label: each.drawn for label, each in zip(labels, firsts, strict=True) if each.drawn is not None}
    if drawn:
        pictures["samples"] = png(side_by_side(list(drawn), list(drawn.values()), span))
    return pictures


def heads(found: Sequence[Group]) -> list[str]:
    """Titles of the measures' columns."""
    titles = []
    for name in columns(found):
        arrow = f" {ARROWS[BETTER[name]]}" if name in BETTER else ""
        unit = f" ({UNITS[name]})" if name in UNITS else ""
        titles.append(f"{NAMES.get(name, name.replace('_', ' '))}{unit}{arrow}")
    return titles


def cell(group: Group, name: str) -> str:
    """A measure as text: mean ± standard deviation, in as many digits as that allows."""
    value = group.summary(name)
    if value is None:
        return MISSING
    if name == "parameters":
        return f"{value[0]:,.0f}"
    places = digits(value[1], 2) if value[1] > 0 else digits(value[0], 4)
    text = f"{value[0]:,.{places}f}" + (f" ± {value[1]:,.{places}f}" if value[1] > 0 else "")
    return text.replace("-", "\N{MINUS SIGN}")


def body(found: Sequence[Group], bold: str = "{}") -> list[list[str]]:
    """The table as text, row by row; `bold` is how the best is written."""
    marks = {name: best(found, name) for name in columns(found)}
    rows = []
    for i, group in enumerate(found):
        cells = [bold.format(cell(group, name)) if mark[i] else cell(group, name) for name, mark in marks.items()]
        rows.append([group.label, str(len(group.entries)), group.entries[0].likelihood, *cells])
    return rows


def plain(found: Sequence[Group]) -> list[str]:
    """The table for a terminal; the best are marked with a star."""
    rows = [["run", "runs", "p(x|z)", *heads(found)], *body(found, "{}*")]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *rest = (
            text.ljust(width) if i in (0, 2) else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([first, *rest]).rstrip())
    return lines


def note(found: Sequence[Group]) -> str:
    """What a reader must know of the numbers."""
    parts = [
        "Mean ± standard deviation over runs that differ by their seed alone."
        if any(len(g.entries) > 1 for g in found)
        else ""
    ]
    parts.append("Bold: the best of each column.")
    if len({group.entries[0].likelihood for group in found}) > 1:
        parts.append("Nats under different likelihoods do not compare, and none of them is marked.")
    return " ".join(part for part in parts if part)


def markdown(found: Sequence[Group], about: str, pictures: dict[str, bytes]) -> str:
    """The table and the pictures as Markdown."""
    head = ["run", "runs", "p(x|z)", *heads(found)]
    rows = [head, ["---"] * 3 + ["---:"] * (len(head) - 3), *body(found, "**{}**")]
    lines = ["# Comparison", "", f"On {about}. {note(found)}", ""]
    lines += ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in rows]
    for name in pictures:
        lines += ["", f"![{name.replace('_', ' ')}]({name}.png)", "", CAPTIONS[name]]
    lines += [
        "",
        "Runs:",
        "",
        *(f"- {group.label}: {', '.join(str(e.run.folder) for e in group.entries)}" for group in found),
    ]
    return "\n".join(lines) + "\n"


def as_csv(rows: Sequence[Sequence[object]]) -> str:
    """Rows as CSV."""
    sink = io.StringIO()
    csv.writer(sink, lineterminator="\n").writerows(rows)
    return sink.getvalue()


def page(found: Sequence[Group], about: str, pictures: dict[str, bytes]) -> str:
    """One page of HTML, pictures included."""
    head = "".join(f"<th>{escape(text)}</th>" for text in ["run", "runs", "p(x|z)", *heads(found)])
    marked = [[escape(text) for text in row] for row in body(found, "\0{}")]
    rows = "".join(
        "<tr>"
        + "".join(f"<td class=best>{text[1:]}</td>" if text[:1] == "\0" else f"<td>{text}</td>" for text in row)
        + "</tr>\n"
        for row in marked
    )
    figures = "".join(
        f"<figure><h2>{escape(name.replace('_', ' ').capitalize())}</h2>"
        f'<img alt="{escape(CAPTIONS[name])}" src="data:image/png;base64,{base64.b64encode(content).decode()}">'
        f"<figcaption>{escape(CAPTIONS[name])}</figcaption></figure>\n"
        for name, content in pictures.items()
    )
    folders = "".join(
        f"<li><b>{escape(group.label)}</b> {escape(', '.join(str(each.run.folder) for each in group.entries))}</li>"
        for group in found
    )
    return PAGE.substitute(
        about=escape(about), note=escape(note(found)), head=head, rows=rows, figures=figures, folders=folders
    )


PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Comparison on $about</title>
<style>
:root { --ink: #22282e; --soft: #66707a; --line: #e3e7eb; --page: #f6f7f9; --best: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
       font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1280px; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 1.05rem; margin: 0 0 .75rem; }
p { color: var(--soft); margin: .35rem 0 1.5rem; max-width: 70ch; }
.card, figure { background: #fff; border: 1px solid var(--line); border-radius: 12px; margin: 0; }
.card { overflow-x: auto; margin-bottom: 1.5rem; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .6rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); font-size: .82rem; }
tr:last-child td { border-bottom: 0; }
th:nth-child(1), td:nth-child(1), th:nth-child(3), td:nth-child(3) { text-align: left; }
td:first-child { font-weight: 600; }
td.best { font-weight: 700; color: var(--best); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 1.5rem; }
figure { padding: 1.25rem; }
img { width: 100%; height: auto; display: block; }
figcaption, li { color: var(--soft); font-size: .88rem; }
figcaption { margin-top: .75rem; }
ul { padding-left: 1.1rem; overflow-wrap: anywhere; }
</style>
</head>
<body>
<main>
<h1>Comparison</h1>
<p>On $about. $note</p>
<div class="card"><table>
<thead><tr>$head</tr></thead>
<tbody>
$rows</tbody>
</table></div>
<div class="figures">
$figures</div>
<h2 style="margin-top:2rem">Runs</h2>
<ul>$folders</ul>
</main>
</body>
</html>
""")
