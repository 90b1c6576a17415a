"""The table of attacks (docs/security.md): what was tried, how often, how often it got through.

A test calls `check` with what it saw. The document has to say the same; with INFRA_ATTACKS=write
the row is put into it, in the place of the older row of the same attack.
"""

import os
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "security.md"
HEAD = ("attack", "tries", "got through", "test")
BEGIN, END = "<!-- Written by the tests of attacks. -->", "<!-- End of what those tests write. -->"


def _line(cells):
    return f"| {' | '.join(cells)} |"


def read(text):
    """Return the rows of the document's text, by attack."""
    lines = text.partition(BEGIN)[2].partition(END)[0].strip().splitlines()[2:]
    cells = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in lines]
    return {row[0]: row for row in cells}


def put(text, row):
    """Return the document's text with a row in the place of the older one of its attack."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    found = {**read(text), row[0]: row}
    lines = [_line(cells) for cells in (HEAD, ("---",) * len(HEAD), *found.values())]
    return "\n".join([f"{before}{BEGIN}", "", *lines, "", f"{END}{after}"])


def check(attack, tries, through, test):
    """Compare a row with the document, or write it there.

    Args:
        attack (str): what was tried.
        tries (int): how often.
        through (int): how often it succeeded.
        test (str): file of the test.
    """
    row = (attack, f"{tries:,}", str(through), f"`{test}`")
    text = DOCUMENT.read_text(encoding="utf-8")
    if os.environ.get("INFRA_ATTACKS") == "write":
        DOCUMENT.write_text(put(text, row), encoding="utf-8")
    else:
        assert read(text).get(attack) == row, "run the test with INFRA_ATTACKS=write"
