"""The documents are whole: every task, every attribute of the portal, and both languages alike."""

import re

import documents
import pytest
from infra_formula.portal.attributes import ENTRY

TASKS = documents.ROOT / "docs/operator-tasks.md"
ROW = re.compile(r"^\| (\d+) \| (.+) \| (.+) \| (.*) ?\|$", re.MULTILINE)


def rows():
    return ROW.findall(TASKS.read_text(encoding="utf-8"))


def known_tests():
    return {path.stem for path in (documents.ROOT / "test").rglob("test_*.py")}


def test_every_one_of_the_120_tasks_has_its_place():
    assert [int(number) for number, *_ in rows()] == list(range(1, 121))


def test_what_is_said_to_be_tried_is_tried_there():
    """A page, whose commands are run, or a test that exists."""
    wrong = []
    for number, _, _, tried in rows():
        page = re.fullmatch(r"\[[^]]+\]\(([\w-]+\.md)\)", tried.strip())
        if page:
            runs = [b for b in documents.blocks() if b.document == f"docs/{page[1]}"]
            if not any(b.language == "bash" and "not run" not in b.notes for b in runs):
                wrong.append((number, tried))
        elif tried.strip() and tried.strip() not in known_tests():
            wrong.append((number, tried))
    assert wrong == []


def test_the_count_is_that_of_the_rows():
    tried = sum(bool(tried.strip()) for *_, tried in rows())
    assert f"{tried} of 120 with a way that is tried" in TASKS.read_text(encoding="utf-8")


def test_the_cookbook_shows_every_attribute_of_an_entry():
    shown = set()
    for block in documents.blocks():
        pillar = documents.pillar(block) if block.document == "docs/portal.md" else None
        for entry in (pillar or {"infra": {}})["infra"].get("infra_portal", {}).values():
            shown |= set(entry)
    assert set(ENTRY) - shown == set()


@pytest.mark.parametrize(("translation", "original"), documents.TRANSLATED.items())
def test_a_translation_has_the_blocks_of_its_original(translation, original):
    def code(name):
        text = (documents.ROOT / name).read_text(encoding="utf-8")
        # Comments are in the language of the page.
        return [
            (block.language, re.sub(r"\s+# .*", "", block.text))
            for block in documents.parse(text, name)
        ]

    assert code(translation) == code(original)


def test_files_of_the_formula_that_are_named_exist():
    """In documents and in docstrings; ``NAME`` and ``<name>`` stand for any."""
    root = documents.ROOT
    pages = [root / "README.md", *root.glob("docs/*.md"), *root.glob("_utils/**/*.py"),
             *root.glob("_modules/*.py"), *root.glob("_states/*.py")]  # fmt: skip
    named = re.compile(r"(?<![\w/.])infra/[\w./-]+\.(?:sls|jinja|yaml|py|j2|json)\b")
    missing = {}
    for page in pages:
        if "data" in page.parts:  # generated
            continue
        for path in named.findall(page.read_text(encoding="utf-8")):
            if "pushgateway" not in path and not (root / path).exists():  # the page's example
                missing.setdefault(path, page.name)
    assert missing == {}
