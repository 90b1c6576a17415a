"""The static site is staged whole: every page is in its navigation, every link leads to a file."""

import re
from pathlib import Path

import documents
import pytest

from tools import website

ROOT = documents.ROOT
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "docs"
    website.stage(folder)
    return folder


def listed(navigation):
    for section in navigation:
        for pages in section.values():
            yield from [pages] if isinstance(pages, str) else [p for q in pages for p in q.values()]


def test_every_document_is_in_the_navigation_once():
    names = sorted(website.staged_name(path) for path in website.documents())
    assert sorted(listed(website.navigation(README))) == names


def test_the_navigation_is_in_the_order_of_a_life():
    titles = [title for section in website.navigation(README) for title in section]
    assert titles == [
        "Home", "Evaluate", "Install", "Migrate", "Operate each part", "Operate the site",
        "Look up", "Extend", "中文",
    ]  # fmt: skip


def test_links_of_staged_pages_lead_to_staged_files(staged):
    pages = staged / "pages"
    dead = []
    for page in pages.glob("*.md"):
        text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
        for link in re.findall(r"\]\(([^)\s#]+)[^)\s]*\)", text):
            if not re.match(r"[a-z]+:", link) and not (pages / link).is_file():
                dead.append(f"{page.name}: {link}")
    assert dead == []


def test_a_link_to_a_missing_file_stops_the_staging(tmp_path, monkeypatch):
    monkeypatch.setattr(website, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.md").write_text("# A\n\n[b](b.md)\n")
    with pytest.raises(ValueError, match=r"docs/a.md: b.md: expected a file"):
        website.page(tmp_path / "docs/a.md")


@pytest.mark.parametrize(
    ("common", "python"),
    [
        ("text\n* a\n* b", "text\n\n* a\n* b"),
        (
            "1. a\n\n   ```bash\n   ls\n   ```\n\n2. b",
            "1. a\n\n    ```bash\n    ls\n    ```\n\n2. b",
        ),
        ("* a\n  more\n* b\n\nend", "* a\n    more\n* b\n\nend"),
        ("* a\n  * b\n* c", "* a\n    * b\n* c"),
        ("```text\n* a\n   b\n```", "```text\n* a\n   b\n```"),
        ("1. a\n\n   | x |\n   |---|\n", "1. a\n\n    | x |\n    |---|\n"),
    ],
)
def test_lists_are_written_as_python_markdown_reads_them(common, python):
    assert "\n".join(website._python_markdown(common.split("\n"))) == python


def test_a_readme_without_its_table_is_an_error():
    with pytest.raises(ValueError, match="expected a table of documents"):
        website.navigation("# README\n\n## Documents\n\nNone.\n")


def test_file_names_keep_their_place(staged):
    assert website.staged_name(ROOT / "infra/legacy.yaml") == "files/infra/legacy.yaml"
    assert website.staged_name(ROOT / "FORMULA") == "files/FORMULA.txt"
    assert (
        Path(staged, "pages/files/pillar.example.txt").exists()
        or Path(staged, "pages/files/pillar.example").exists()
    )
