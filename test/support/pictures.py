#!/usr/bin/env python3
"""Charts of what panels show, in SVG, for the documents: drawn here, not by Grafana.

    test/support/pictures.py LAB FILE

draws those of SHOWN from what the VictoriaMetrics of a lab's first INFRA node has of the last
twenty minutes.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import panels

ADDRESS = "http://127.0.0.1:8428"
MINUTES = 20
SHOWN = (
    ("node-instance", "What it is spent on"),
    ("node-instance", "What it is used for"),
    ("vmetrics-instance", "Samples taken in"),
    ("portal", "Duration by phase"),
)

WIDTH, HEIGHT = 560, 260
LEFT, RIGHT, TOP, BOTTOM = 72, 12, 34, 62  # around the plot: axis, title, legend
COLOURS = ("#56a64b", "#1f78c1", "#e0752d", "#bf1b00", "#7d64a5", "#e5ac0e", "#447ebc", "#890f02")
UNITS = {"percentunit": ("%", 100.0), "s": ("s", 1.0), "recps": (" rec/s", 1.0)}


@dataclass(frozen=True)
class Chart:
    """A panel: its title and unit, and points (seconds, value) by name of a series."""

    title: str
    unit: str
    series: dict[str, list[tuple[float, float]]]


def charts(ask: Callable[[list[Any]], list[Any]], end: int) -> list[Chart]:
    """What the panels of SHOWN have to show.

    Args:
        ask: takes paths with their parameters, returns the parsed answers.
        end: seconds, of the last point.
    """
    made = []
    for uid, title in SHOWN:
        board = panels.load()[uid]
        everything = {variable["name"]: ".*" for variable in board["templating"]["list"]}
        wanted = [t for t in panels.targets(board) if t.panel == title]
        span = {"start": str(end - MINUTES * 60), "end": str(end), "step": "10"}
        asked = [
            ["/api/v1/query_range", {"query": panels.filled(t.expr, everything), **span}]
            for t in wanted
        ]
        lines = {}
        for target, answer in zip(wanted, ask(asked), strict=True):
            for series in answer["result"]:
                name = _named(target.legend, series["metric"])
                lines[name] = [(t, float(v)) for t, v in series["values"]]
        made.append(Chart(f"{board['title']}: {title}", wanted[0].unit, lines))
    return made


def _named(legend: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), legend)


def sheet(charts: Sequence[Chart], columns: int = 2) -> str:
    """Several charts beside each other, as one SVG."""
    rows = math.ceil(len(charts) / columns)
    size = f'width="{WIDTH * columns}" height="{HEIGHT * rows}"'
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="#f4f5f5"/>',
    ]
    for index, chart in enumerate(charts):
        x, y = index % columns * WIDTH, index // columns * HEIGHT
        out.append(f'<g transform="translate({x},{y})">{_drawn(chart)}</g>')
    return "\n".join([*out, "</svg>"]) + "\n"


def _drawn(chart: Chart) -> str:
    points = [point for line in chart.series.values() for point in line]
    first, last = min(t for t, _ in points), max(t for t, _ in points)
    top = _ceiling(max(v for _, v in points), 1024 if chart.unit == "bytes" else 1000)
    plot_width, plot_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(moment: float, value: float) -> str:
        x = LEFT + plot_width * (moment - first) / ((last - first) or 1)
        return f"{x:.0f},{TOP + plot_height * (1 - value / top):.0f}"

    frame = f'x="4" y="4" width="{WIDTH - 8}" height="{HEIGHT - 8}"'
    bold = 'font-size="13" font-weight="bold"'
    out = [
        f'<rect {frame} fill="white" stroke="#ddd"/>',
        f'<text x="14" y="22" {bold}>{escape(chart.title)}</text>',
    ]
    for step in range(5):
        y = TOP + plot_height * step / 4
        label = _number(top * (4 - step) / 4, chart.unit)
        out.append(f'<path d="M{LEFT} {y:.0f}H{WIDTH - RIGHT}" stroke="#eee"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{label}</text>')
    for moment in range(int(first // 300 + 1) * 300, int(last) + 1, 300):
        x = place(moment, 0).split(",")[0]
        clock = time.strftime("%H:%M", time.gmtime(moment))
        out.append(
            f'<text x="{x}" y="{TOP + plot_height + 15}" text-anchor="middle">{clock}</text>'
        )
    for index, (name, line) in enumerate(chart.series.items()):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(place(*point) for point in line)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        x, y = 14 + index % 3 * 180, HEIGHT - 26 + index // 3 * 14
        out.append(f'<rect x="{x}" y="{y - 7}" width="12" height="3" fill="{colour}"/>')
        out.append(f'<text x="{x + 16}" y="{y}">{escape(name.strip())}</text>')
    return "".join(out)


def _ceiling(value: float, thousand: int) -> float:
    """The next larger number of one digit, before a thousand of that kind to some power."""
    if value <= 0:
        return 1.0
    scale = float(thousand) ** math.floor(math.log(value, thousand))
    size = scale * 10 ** math.floor(math.log10(value / scale))
    return math.ceil(value / size) * size


def _number(value: float, unit: str) -> str:
    if unit == "bytes":
        steps = ("B", "KiB", "MiB", "GiB")
        power = min(int(math.log(max(value, 1), 1024)), len(steps) - 1)
        return f"{value / 1024**power:.3g} {steps[power]}"
    if unit == "s" and 0 < value < 1:
        return f"{value * 1000:.3g} ms"
    sign, factor = UNITS.get(unit, ("", 1.0))
    return f"{value * factor:.4g}{sign}"


def main(name: str, path: str) -> None:
    """Draw from a lab that is up."""
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from lab import Lab

    lab = Lab.find(name)
    machine = lab.machine("infra-1")
    machine.write("/root/ask.py", Path(__file__).with_name("ask.py").read_text(encoding="utf-8"))
    words = ["python3", "/root/ask.py", ADDRESS]

    def ask(questions: list[Any]) -> list[Any]:
        answers = json.loads(machine.run(words, input=json.dumps(questions)).stdout)
        return [json.loads(body)["data"] for _, body in answers]

    Path(path).write_text(sheet(charts(ask, int(time.time()))), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
