"""The table of faults (docs/reliability.md): what was done to a site, how often, what came of it.

A test that does harm bears the mark `fault(name, promised)`. What it counted or measured itself it
records as the properties `times` (a number) and `seen` (a sentence). `make soak` prints the rows of
all that ran and puts them into the document, in the place of the older rows of the same faults.
"""

import json
import os
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
HEAD = ("fault", "times", "what was promised", "what was seen", "again")
BEGIN, END = "<!-- written by make soak -->", "<!-- end of what make soak wrote -->"


def mark(items):
    """Let the reports of marked tests carry the mark, also from another process."""
    for item in items:
        for found in item.iter_markers("fault"):
            name, promised = found.args
            command = " ".join(
                [
                    "pytest",
                    *(["-m", "soak"] if item.get_closest_marker("soak") else []),
                    f"{item.path.relative_to(item.config.rootpath)}::{item.originalname}",
                ]
            )
            item.user_properties.append(("fault", json.dumps([name, promised, command])))


def rows(reports):
    """Make the rows of the table from pytest's reports.

    Args:
        reports (list): reports of calls and of failed set-ups, each with user_properties.

    Returns:
        dict: cells of a row by fault, in the order in which they were done.
    """
    faults = {}
    for report in reports:
        properties = dict(getattr(report, "user_properties", []))  # a collection has none
        if "fault" not in properties:
            continue
        name, promised, command = json.loads(properties["fault"])
        row = faults.setdefault(
            name, {"promised": promised, "command": command, "times": 0, "failed": 0, "seen": []}
        )
        row["times"] += properties.get("times", 1)
        row["failed"] += report.outcome != "passed"
        row["seen"] += [properties["seen"]] if "seen" in properties else []
    return {name: _cells(name, row) for name, row in faults.items()}


def _cells(name, row):
    seen = f"FAILED: {row['failed']} of the tests" if row["failed"] else "so it was"
    return (
        name,
        str(row["times"]),
        row["promised"],
        "; ".join([seen, *row["seen"]]),
        f"`{row['command']}`",
    )


def table(found):
    """Write rows as a Markdown table; they are what `rows` and `read` return."""
    return "\n".join(_line(cells) for cells in (HEAD, ("---",) * len(HEAD), *found.values()))


def _line(cells):
    return f"| {' | '.join(cells)} |"


def read(text):
    """Return the rows of the document's text, by fault."""
    lines = text.partition(BEGIN)[2].partition(END)[0].strip().splitlines()[2:]
    cells = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in lines]
    return {row[0]: row for row in cells}


def put(text, found):
    """Return the document's text with rows put in the place of the older ones of their faults."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{table({**read(text), **found})}\n{END}{after}"


def tell(terminalreporter):
    """Print the table of what ran; with INFRA_FAULTS=write put it into the document, too."""
    stats = terminalreporter.stats
    reports = [
        report
        for outcome in ("passed", "failed", "error")
        for report in stats.get(outcome, [])
        if getattr(report, "when", "") == "call" or outcome == "error"
    ]
    found = rows(reports)
    if not found:
        return
    terminalreporter.section("faults")
    terminalreporter.write_line(table(found))
    if os.environ.get("INFRA_FAULTS") == "write":
        DOCUMENT.write_text(put(DOCUMENT.read_text(encoding="utf-8"), found), encoding="utf-8")
