#!/usr/bin/env python3
"""Screenshots of a running demo, for README and the pages: docs/pictures/*.webp.

    test/support/screenshots.py [LAB]

LAB is `demo` if not given; `make demo` boots it. A page that the demo does not have (Grafana, with
Debian's packages) is named and left as it is. For the picture of an alert, nginx's exporter is
stopped for two minutes.
"""

from __future__ import annotations

import base64
import html
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "test"), str(Path(__file__).resolve().parent)]

from browser import Browser  # noqa: E402 - found by the line above
from lab.host import LabError  # noqa: E402
from lab.laboratory import Lab  # noqa: E402
from lab.machine import Machine  # noqa: E402

FOLDER = ROOT / "docs" / "pictures"
MOST_BYTES = 80_000
"""Size of a picture: README is read over slow lines, too."""
WIDTH = 1100
TERMINAL = """<!doctype html><meta charset="utf-8"><title>terminal</title>
<style>body{{margin:0;background:#1c1f26;color:#e6e6e6}}pre{{margin:0;padding:16px;
font:13px/1.45 "DejaVu Sans Mono",monospace;white-space:pre}}b{{color:#8ec07c}}</style>
<pre><b>$ {command}</b>\n{text}</pre>"""


@dataclass(frozen=True)
class Shot:
    """A page of the portal.

    Attributes:
        name: of the picture, without its suffix.
        path: below the portal's address.
        height: of the view, in pixels.
        wanted: text that the page has to have; else it is not the page that is meant.
        waits: seconds that the page may take to show it.
    """

    name: str
    path: str
    height: int
    wanted: str
    waits: int = 10


SHOTS = (
    Shot("home", "/", 760, "Infrastructure portal"),
    Shot("home-zh", "/zh", 760, "门户"),
    Shot("alert", "/vmalert/vmalert/alerts", 520, "firing", 200),
    Shot("dashboard", "/ui/d/infra-overview", 800, "Infra Overview", 40),
)


def take(lab: Lab) -> list[str]:
    """Write the pictures of a lab; returns the names of those that it does not have.

    Raises:
        LabError: a picture is larger than MOST_BYTES.
    """
    machine = next(machine for machine in lab.machines if machine.name == "infra-1")
    FOLDER.mkdir(exist_ok=True)
    lacking = []
    with Browser(insecure=True, within=lab.net_command([])) as browser:
        _status(browser, machine)
        machine.run(["systemctl", "stop", "nginx_exporter"])
        try:
            for shot in SHOTS:
                browser.show(WIDTH, shot.height)
                browser.open(f"http://{machine.address}{shot.path}")
                if _shows(browser, shot):
                    _save(browser, shot.name)
                else:
                    lacking.append(shot.name)
        finally:
            machine.run(["systemctl", "start", "nginx_exporter"])
    return lacking


def _status(browser: Browser, machine: Machine) -> None:
    """Save the table of services as a terminal shows it."""
    command = "salt-call --local infra_status.table"
    table = machine.run(command.split(), check=False).stdout
    lines = [line.removeprefix("    ").rstrip() for line in table.splitlines()[1:]]
    with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as page:
        page.write(TERMINAL.format(command=command, text=html.escape("\n".join(lines[:40]))))
        page.flush()
        browser.show(800, 200)
        browser.open(f"file://{page.name}")
        width, height = browser.run(
            "const pre = document.querySelector('pre'); return [pre.scrollWidth, pre.scrollHeight]"
        )
        browser.show(width, height)
        _save(browser, "status")


def _shows(browser: Browser, shot: Shot) -> bool:
    """Whether the page has its text, at the latest when its seconds are over."""
    end = time.monotonic() + shot.waits
    while shot.wanted not in browser.text():
        if time.monotonic() > end:
            return False
        time.sleep(2)
        browser.driver.refresh()
    time.sleep(2 if shot.waits > 10 else 0)  # charts are drawn after the text
    return True


def _save(browser: Browser, name: str) -> None:
    for quality in (80, 60, 40, 20):
        answer = browser.cdp("Page.captureScreenshot", format="webp", quality=quality)
        data = base64.b64decode(answer["data"])
        if len(data) <= MOST_BYTES:
            FOLDER.joinpath(f"{name}.webp").write_bytes(data)
            return
    raise LabError(f"docs/pictures/{name}.webp: {len(data)} bytes, expected {MOST_BYTES} at most")


def main(argv: list[str]) -> int:
    """Take the pictures, and return the exit status."""
    try:
        lacking = take(Lab.find(argv[0] if argv else "demo"))
    except (LabError, RuntimeError) as error:
        print(f"make pictures: {error}", file=sys.stderr)
        return 1
    for name in lacking:
        print(f"docs/pictures/{name}.webp: the demo does not have this page; left as it is")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
