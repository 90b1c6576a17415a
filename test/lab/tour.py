"""What to try in the demo: docs/tour.md, in short.

The page is the one place where the tour is written down; the tests run its commands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .host import LabError
from .paths import CHECKOUT

PAGE = CHECKOUT / "docs" / "tour.md"


@dataclass(frozen=True)
class Step:
    """One thing to try.

    Attributes:
        title: what it shows.
        commands: lines to type, on the demo's machine or in the checkout.
        host: whether they are typed in the checkout.
    """

    title: str
    commands: tuple[str, ...]
    host: bool


def steps(page: Path = PAGE) -> list[Step]:
    """Return the tour's steps: the headings with a number, and the commands below each.

    Raises:
        LabError: the page has a step without commands.
    """
    found: list[Step] = []
    for section in re.split(r"(?m)^## (?=\d+\. )", page.read_text(encoding="utf-8"))[1:]:
        title, _, rest = section.partition("\n")
        part = re.split(r"(?m)^## ", rest)[0]
        blocks = re.findall(r"(?ms)((?:^<!--[^\n]*-->\n)*)^```bash\n(.*?)^```$", part)
        if not blocks:
            raise LabError(f"{page}: the step {title!r} has no commands.")
        for notes, block in blocks:
            lines = tuple(block.rstrip("\n").splitlines())
            found.append(Step(title.strip(), lines, "machine: host" in notes))
            title = ""
    return found


def summary() -> str:
    """Return the steps as text for a terminal."""
    lines = [
        "Five things to try. Open a shell on the machine (`make demo-shell`) and type, as "
        "docs/tour.md explains:"
    ]
    host = False
    for step in steps():
        if step.title:
            lines.append(f"\n  {step.title}")
        if step.host != host:
            host = step.host
            lines.append("      # here, not on the machine:" if host else "      # on the machine:")
        lines += [f"      {line}" for line in step.commands]
    return "\n".join(lines)
