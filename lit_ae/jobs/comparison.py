"""A comparison in writing: for a terminal, as Markdown and CSV, and as one page that holds its pictures, too."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from html import escape
from string import Template

from lit_ae.jobs.ranking import Group, best, columns, direction
from lit_ae.jobs.tabled import digits

CAPTIONS = {
    "rate_distortion": "What each run pays for its latents, and what it loses all the same.",
    "latent_maps": "Where the same samples lie in each latent space: one run of each, the first.",
    "reconstructions": "The same samples, rebuilt by one run of each.",
    "samples": "New samples, from the prior or from the sampler that was fitted last.",
}
NAMES = {
    "elbo": "ELBO", "bits_per_dim": "bits/dim", "mse": "MSE", "log_px": "log p(x)", "psnr": "PSNR", "ssim": "SSIM",
    "fid": "FID", "kid": "KID", "mig": "MIG", "sap": "SAP", "knn_accuracy": "k-NN accuracy",
}  # fmt: skip
UNITS = {name: "nats" for name in ("elbo", "distortion", "rate", "log_px", "mutual_information")} | {"psnr": "dB"}
WIDEST = 120  # letters of a line
MISSING = "\N{EN DASH}"
ARROWS = {1: "↑", -1: "↓"}


def heads(found: Sequence[Group]) -> list[str]:
    """Titles of the measures' columns."""
    titles = []
    for name in columns(found):
        arrow = f" {ARROWS[direction(name)]}" if direction(name) else ""
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
    places = digits(value[1], 2) if value[1] > 0 else digits(value[0], 2 if name == "train_minutes" else 4)
    text = f"{value[0]:,.{places}f}" + (f" ± {value[1]:,.{places}f}" if value[1] > 0 else "")
    return text.replace("-", "\N{MINUS SIGN}")


def body(found: Sequence[Group], bold: str, other: str = "{}") -> list[list[str]]:
    """The table as text, row by row; `bold` is how the best is written, `other` how the others are."""
    marks = {name: best(found, name) for name in columns(found)}
    rows = []
    for i, group in enumerate(found):
        cells = [(bold if mark[i] else other).format(cell(group, name)) for name, mark in marks.items()]
        rows.append([group.label, str(len(group.entries)), group.entries[0].likelihood, *cells])
    return rows


def plain(found: Sequence[Group]) -> list[str]:
    """The table for a terminal, with a column for each run where the measures would not fit; a star marks the best."""
    rows = [["run", "runs", "p(x|z)", *heads(found)], *body(found, "{}*", "{} ")]
    if sum(max(map(len, column)) + 2 for column in zip(*rows, strict=True)) > WIDEST:
        rows = [list(column) for column in zip(*rows, strict=True)]
    rows = [[row[0], *(f"{text} " if text[-1:] not in "* " else text for text in row[1:])] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]


def note(found: Sequence[Group]) -> str:
    """What a reader must know of the numbers."""
    parts = []
    if any(len(group.entries) > 1 for group in found):
        parts.append("Mean ± standard deviation over runs that differ by their seed alone.")
    if len(found) > 1:
        parts.append("Bold: the best of each column.")
    every = [each for group in found for each in group.entries]
    if len({each.likelihood for each in every}) > 1:
        parts.append("Nats under different likelihoods do not compare: a column that mixes them has no best.")
    if len({each.features for each in every if "fid" in each.values}) > 1:
        parts.append("Nor do FID and its like where features or numbers of samples differ.")
    return " ".join(parts)


def markdown(found: Sequence[Group], about: str, pictures: Mapping[str, bytes]) -> str:
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


def page(found: Sequence[Group], about: str, pictures: Mapping[str, bytes]) -> str:
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
th:first-child, td:first-child { font-weight: 600; position: sticky; left: 0; background: #fff; }
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
