"""The documents are whole: every task, every attribute of the portal, and both languages alike."""

import re
from pathlib import Path

import documents
import pytest
import yaml
from infra_formula.portal.attributes import ENTRY

TASKS = documents.ROOT / "docs/operator-tasks.md"
SHOWN_BY = yaml.safe_load(
    (Path(__file__).parent / "cases/operator_tasks.yaml").read_text(encoding="utf-8")
)
ROW = re.compile(r"^\| (\d+) \| (.+) \| (.+) \| (.*) ?\|$", re.MULTILINE)


def rows():
    return ROW.findall(TASKS.read_text(encoding="utf-8"))


def known_tests():
    return {path.stem for path in (documents.ROOT / "test").rglob("test_*.py")}


def test_every_one_of_the_120_tasks_has_its_place():
    assert [int(number) for number, *_ in rows()] == list(range(1, 121))


def test_each_task_leads_to_a_section():
    """To a heading; to a whole page where the page is about nothing else."""
    wrong = [
        (number, section)
        for number, _, _, section in rows()
        if not re.fullmatch(r"\[[^]]+\]\([\w-]+\.md(#[\w-]+)?\)", section.strip())
    ]
    assert wrong == []
    assert sum("#" in section for *_, section in rows()) > 100


def test_what_shows_a_task_exists():
    """A page, whose commands are run, or a test."""
    wrong = []
    for number, shown in SHOWN_BY.items():
        if shown.endswith(".md"):
            runs = [b for b in documents.blocks() if b.document == f"docs/{shown}"]
            if not any(b.language == "bash" and "not run" not in b.notes for b in runs):
                wrong.append((number, shown))
        elif shown and shown not in known_tests():
            wrong.append((number, shown))
    assert wrong == []
    assert list(SHOWN_BY) == list(range(1, 121))


def test_the_count_is_that_of_the_tasks():
    done = sum(bool(shown) for shown in SHOWN_BY.values())
    assert f"The tests do {done} of the 120 tasks" in TASKS.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", documents.paths()[1:], ids=lambda page: page.name)
def test_a_page_is_named_by_its_title_and_begins_with_whom_it_is_for(page):
    text = re.sub(r"<!--.*?-->\s*", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    title, _, rest = text.partition("\n")
    assert title.startswith("# ")
    words = set(re.findall(r"[a-z]+", title.lower()))
    assert set(page.stem.split("-")) - words == set()
    assert re.match(r"\s*For (every|people|operators|visitors)\w*\b[^.:]*[.:]", rest)


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
            examples = "pushgateway" in path or path == "infra/dns.sls"  # what Salt asks for
            if not examples and not (root / path).exists():
                missing.setdefault(path, page.name)
    assert missing == {}
