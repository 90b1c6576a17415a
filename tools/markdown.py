"""Tables of the generated pages."""

from __future__ import annotations

import json
import re
import textwrap
from typing import Any


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", textwrap.dedent(text).replace("\n", " "))


def flow(value: Any) -> str:
    """Return a value on one line."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def anchor(title: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
