"""The list of what a complete repository holds: ``repo_complete``, as ``sha256sum -c`` reads it."""

from __future__ import annotations

import re

MARKER = "repo_complete"
INFO = "repo_info.json"
_LINE = re.compile(r"^\\?([0-9a-f]{32}|[0-9a-f]{64}) [ *](.+)$")


def read(text: str) -> dict[str, str]:
    """What a marker lists: path → checksum (SHA-256, or MD5 in those of Pigsty before 4.5).

    Raises ValueError for what is no such list.
    """
    values = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        match = _LINE.match(line)
        rel = match.group(2).removeprefix("./") if match else ""
        if not match or rel.startswith("/") or ".." in rel.split("/"):
            raise ValueError(f"line {number} is no checksum of a file in it: {line[:60]!r}")
        values[rel] = match.group(1)
    return values


def text(sums: dict[str, str]) -> str:
    """A marker, as :func:`read` and ``sha256sum -c`` read it."""
    return "".join(f"{digest}  {rel}\n" for rel, digest in sorted(sums.items()))
