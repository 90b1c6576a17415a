"""What a benchmark tells: printed, and handed to whoever collects it (tools/benchmarks)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

VARIABLE = "INFRA_BENCH_REPORT"
"""Environment variable that names the file to which tables are added; without it, none is."""


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table, and hand it over.

    Args:
        title: what was measured, in one line.
        head: titles of the columns.
        rows: a cell per column; numbers are rounded to two places.
    """
    cells = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(len(line[n]) for line in [list(head), *cells]) for n in range(len(head))]
    print(f"\n{title}")
    for line in [list(head), *cells]:
        padded = [line[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        print("  ".join(padded).rstrip(), flush=True)
    target = os.environ.get(VARIABLE)
    if target:
        path = Path(target)
        known = json.loads(path.read_text()) if path.exists() else []
        path.write_text(json.dumps([*known, {"title": title, "head": list(head), "rows": cells}]))


def progress(what: str) -> None:
    """Say on standard error what is being measured: a table comes only when all of it was."""
    print(f"... {what}", file=sys.stderr, flush=True)


def ratio(ours: float, others: float) -> str:
    """Return how many times as long the others take, `3.2 x`."""
    return f"{others / ours:.1f} x"


def _cell(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
