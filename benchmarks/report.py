"""Rounds as figures: medians and ratios in a CSV, a table in the terminal and a picture."""

from __future__ import annotations

import csv
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lit_ae.plots.style import INK, canvas, styled

TIMES = "\N{MULTIPLICATION SIGN}"
Ratio = tuple[float, float, float]  # median, smallest, largest


@dataclass(eq=False)
class Row:
    """What one contender reached.

    Args:
        family: What it trains; contenders of one family are compared.
        name: Its name, unique within the family: `bare` and `pythae` are what others are held against.
        batch: Pictures per step.
        ms: Milliseconds per step, round by round; empty where it did not run.
        note: Why it did not run.
        max_time: Bar: at most this many times the bare loop's time per step.
        min_speed: Bar: at least this many times pythae's pictures per second.
        min_rate: Bar: at least this many pictures per second.
    """

    family: str
    name: str
    batch: int
    ms: list[float] = field(default_factory=list)
    note: str = ""
    max_time: float | None = None
    min_speed: float | None = None
    min_rate: float | None = None
    time: Ratio | None = field(default=None, init=False)
    speed: Ratio | None = field(default=None, init=False)

    @property
    def step(self) -> float:
        """Median milliseconds per step."""
        return median(self.ms)

    @property
    def rate(self) -> float:
        """Pictures per second at the median."""
        return 1000 * self.batch / self.step

    @property
    def bars(self) -> str:
        """The bars to reach, in words."""
        bars = {"time <= {:g} x bare": self.max_time, "speed >= {:g} x pythae": self.min_speed}
        bars["images/s >= {:,.0f}"] = self.min_rate
        return "; ".join(text.format(bar) for text, bar in bars.items() if bar is not None)

    @property
    def goal(self) -> float:
        """Pictures per second at which the last bar would be reached, 0 where there is none."""
        goals = [self.min_rate or 0.0]
        goals += [self.rate * self.time[0] / self.max_time] if self.time and self.max_time else []
        goals += [self.rate * self.min_speed / self.speed[0]] if self.speed and self.min_speed else []
        return max(goals)

    @property
    def reached(self) -> str:
        """Whether every bar is reached, in a word; nothing where there is none, or nothing to compare with."""
        verdicts = [
            *([self.time[0] <= self.max_time] if self.time and self.max_time else []),
            *([self.speed[0] >= self.min_speed] if self.speed and self.min_speed else []),
            *([self.rate >= self.min_rate] if self.ms and self.min_rate else []),
        ]
        return ("yes" if all(verdicts) else "no") if verdicts else ""


def compare(rows: Sequence[Row]) -> None:
    """Fill in the ratios, taken round by round within each family."""
    for row in rows:
        peers = {peer.name: peer.ms for peer in rows if peer.family == row.family and peer is not row}
        row.time = spread(row.ms, peers.get("bare", ()))
        row.speed = spread(peers.get("pythae", ()), row.ms)


def spread(above: Sequence[float], below: Sequence[float]) -> Ratio | None:
    """Median and range of the rounds' ratios, None where one of the two did not run."""
    if not above or not below:
        return None
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    return median(ratios), min(ratios), max(ratios)


def machine(device: torch.device) -> str:
    """Name of the processor or of the accelerator, without marks and clock rates."""
    name = platform.processor() or platform.machine()
    if device.type == "cuda":
        name = torch.cuda.get_device_name()
    elif (info := Path("/proc/cpuinfo")).is_file():
        names = re.findall(r"model name\s*:\s*(.+)", info.read_text())
        name = names[0] if names else name
    return " ".join(re.sub(r"\(R\)|\(TM\)|\bCPU\b|@.*", " ", name).split())


def slug(text: str) -> str:
    """Lower-case words joined by dashes, for a file's name."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))


def installed(package: str) -> str:
    """Version of a package, empty where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def write_csv(rows: Sequence[Row], path: Path, constants: Mapping[str, object]) -> None:
    """One row per contender; constants end each."""
    common = {name: installed(name) for name in ("torch", "lightning", "pythae")} | dict(constants)
    common |= {"python": platform.python_version(), "date": date.today().isoformat()}
    table = []
    for row in rows:
        cells: dict[str, object] = {"trained": row.family, "contender": row.name, "batch": row.batch}
        cells |= {
            "ms_per_step": f"{row.step:.4f}" if row.ms else "",
            "images_per_s": f"{row.rate:.0f}" if row.ms else "",
        }
        for name, ratio in (("time_over_bare", row.time), ("speed_over_pythae", row.speed)):
            for part, key in enumerate((name, f"{name}_min", f"{name}_max")):
                cells[key] = f"{ratio[part]:.3f}" if ratio else ""
        cells |= {"bars": row.bars, "reached": row.reached, "rounds": len(row.ms), "note": row.note}
        table.append(cells | common)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)


def text(rows: Sequence[Row]) -> str:
    """The rows for a terminal."""
    lines = [f"{'':<32}{'ms/step':>9}{'images/s':>12}{'time/bare (range)':>24}{'speed/pythae (range)':>25}  bars"]
    for row in rows:
        label = f"{row.family}, {row.name}"
        if not row.ms:
            lines.append(f"{label:<32}  {row.note}")
            continue
        ratios = ["" if not r else f"{r[0]:.3f} ({r[1]:.2f} to {r[2]:.2f})" for r in (row.time, row.speed)]
        verdict = f"  {row.bars}: {row.reached or 'not measured'}" if row.bars else ""
        lines.append(f"{label:<32}{row.step:>9.3f}{row.rate:>12,.0f}{ratios[0]:>24}{ratios[1]:>25}{verdict}")
    return "\n".join(lines)


@styled
def draw(rows: Sequence[Row], title: str, subtitle: str) -> Figure:
    """Bars of pictures per second, one panel per family, with a mark at the speed to reach."""
    ran = [row for row in rows if row.ms]
    families = {name: [row for row in ran if row.family == name] for name in dict.fromkeys(row.family for row in ran)}
    sizes = [len(members) for members in families.values()]
    figure = canvas(8.0, 1.2 + 0.5 * sum(sizes) + 0.45 * len(sizes))
    figure.suptitle(f"{title}\n\n", x=0.01, ha="left", fontsize=15, fontweight="bold")
    figure.text(0.01, 1 - 0.42 / figure.get_figheight(), subtitle, va="top", fontsize=11)
    panels = figure.subplots(len(families), 1, height_ratios=[n + 0.3 for n in sizes], squeeze=False)[:, 0]
    for axes, (family, members) in zip(panels, families.items(), strict=True):
        panel(axes, family, members)
    return figure


def panel(axes: Axes, family: str, members: Sequence[Row]) -> None:
    """Draw one family, each bar labelled: an axis of numbers would say nothing more."""
    axes.set_title(family, fontsize=12, pad=4)
    for place, row in enumerate(members):
        colour = "#9A9A9A" if row.name == "bare" else "#E69F00" if row.name == "pythae" else "#0072B2"
        axes.barh(place, row.rate, color=colour, height=0.75)
        parts = [f"{row.rate:,.0f}"]
        parts += [f"{row.time[0]:.2f}{TIMES} bare's time"] if row.time else []
        parts += [f"{row.speed[0]:.2f}{TIMES} pythae's speed"] if row.speed else []
        if goal := row.goal:
            axes.plot([goal, goal], [place - 0.4, place + 0.4], color="black", linewidth=2.5)
        end = (max(row.rate, goal), place)
        axes.annotate("  ".join(parts), end, (7, 0), textcoords="offset points", va="center", color=INK, fontsize=11)
    axes.set_xlim(0, 2.2 * max(max(row.rate, row.goal) for row in members))
    axes.set_yticks(range(len(members)), [row.name for row in members])
    axes.set_ylim(len(members) - 0.5, -0.5)
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_visible(False)
