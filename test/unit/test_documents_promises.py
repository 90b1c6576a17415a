"""The tables of promises: each section has its rows, and each row names tests that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import documents
import pytest

PAGES = [documents.ROOT / "docs" / name for name in ("security.md", "fleet.md")]
TITLE = "Promises and their tests"
NONE_PROMISED = {
    "security.md": {
        "Access and security",  # only what to do first
        "What is not covered",
    },
    "fleet.md": set(),
}
"""Sections that promise nothing."""
GROUP = re.compile(r"\*\*\[([^]]+)\]\(#[^)]+\)\*\*")
TEST = re.compile(r"`(test_\w+)(?:::(test_\w+))?`")
MOST_WITHOUT = 6
"""Promises of a page that no test proves."""


def without_blocks(text):
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)


def sections(text):
    """Titles of a page's sections, without that of the tables."""
    titles = re.findall(r"^#+ (.*)$", without_blocks(text), re.MULTILINE)
    return [title for title in titles if title != TITLE]


def promises(text):
    """Rows of the tables: the sections that a row stands under, the promise and its test."""
    found, groups = [], []
    for line in text.partition(f"## {TITLE}\n")[2].splitlines():
        if line.startswith("**"):
            groups = GROUP.findall(line)
        elif line.startswith("|") and line not in ("| promise | test |", "|---|---|"):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            found.append((tuple(groups), *cells))
    return found


@cache
def functions():
    """File → names of its tests; two files of one name count as one."""
    found = {}
    for path in sorted(Path(documents.ROOT, "test").rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        found.setdefault(path.stem, set()).update(n for n in names if n.startswith("test_"))
    return found


def faults(text, name):
    """What is wrong with the tables of a page."""
    found = []
    rows = promises(text)
    for groups, *cells in rows:
        if not groups or len(cells) != 2 or not all(cells):
            found.append(f"expected a section, a promise and a test: {cells}")
            continue
        promise, tests = cells
        if re.fullmatch(r"none: \S.{10,}", tests):
            continue
        for test in tests.split(", "):
            match = TEST.fullmatch(test)
            known = functions().get(match[1], None) if match else None
            if known is None or (match[2] and match[2] not in known):
                found.append(f"{promise}: there is no test {test}")
    titles, named = sections(text), {title for groups, *_ in rows for title in groups}
    found += [f"{t}: a section without a promise" for t in titles
              if t not in named | NONE_PROMISED[name]]  # fmt: skip
    found += [f"{t}: no section" for t in sorted(named - set(titles))]
    found += [f"{t}: promises nothing, but has rows" for t in sorted(named & NONE_PROMISED[name])]
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_section_has_promises_and_every_promise_a_test_that_exists(page):
    assert faults(page.read_text(encoding="utf-8"), page.name) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_few_promises_have_no_test(page):
    rows = promises(page.read_text(encoding="utf-8"))
    assert len(rows) > 60
    assert len([row for row in rows if row[2].startswith("none: ")]) <= MOST_WITHOUT
    assert len({row[:2] for row in rows}) == len(rows)


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("test_documents_promises`", "test_nothing`", "there is no test `test_nothing`"),
        ("::test_few_promises_have_no_test", "::test_x", "there is no test"),
        ("| `test_documents_promises` |", "| test_documents_promises |", "there is no test"),
        ("| `test_documents_promises` |", "| none |", "there is no test none"),
        ("| `test_documents_promises` |", "|  |", "expected a section, a promise and a test"),
        ("| one |", "|  |", "expected a section, a promise and a test"),
        ("**[Names](#names)**", "", "Names: a section without a promise"),
        ("**[Names](#names)**", "**[Ports](#ports)**", "Ports: no section"),
        ("## Names", "### Names\n\n## Ports", "Ports: a section without a promise"),
    ],
)
def test_a_fault_of_a_table_is_seen(before, after, fault):
    """The test of the test."""
    text = (
        "# Page\n\n## Names\n\n```yaml\n# no title\n```\n\n## Promises and their tests\n\n"
        "**[Page](#page)**\n\n| promise | test |\n|---|---|\n| one | `test_documents_promises` |\n"
        "\n**[Names](#names)**\n\n| promise | test |\n|---|---|\n"
        "| two | `test_documents_promises::test_few_promises_have_no_test` |\n"
        "| three | none: nobody can test that here |\n"
    )
    assert faults(text, "fleet.md") == []
    assert before in text
    assert any(fault in found for found in faults(text.replace(before, after, 1), "fleet.md"))
