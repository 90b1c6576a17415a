"""A reader finds the answer to a question within three clicks; both READMEs lead to the same."""

import re
from pathlib import Path

import documents
import pytest
import yaml

ROOT = documents.ROOT
QUESTIONS = yaml.safe_load(
    (Path(__file__).parent / "cases/reader_questions.yaml").read_text(encoding="utf-8")
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
MOST_CLICKS = 3


def section(path, anchor):
    """Text below the heading of an anchor, to the next heading of its level; else the page."""
    text = path.read_text(encoding="utf-8")
    if not anchor:
        return text
    found = []
    level = 0
    fenced = False
    for line in text.splitlines():
        fenced ^= line.lstrip().startswith("```")
        heading = None if fenced else re.match(r"(#+) (.*)", line)
        if heading and level and len(heading[1]) <= level:
            break
        if heading and not level:
            title = re.sub(r"[^\w\- ]", "", heading[2].strip().lower()).replace(" ", "-")
            level = len(heading[1]) if title == anchor else 0
        if level:
            found.append(line)
    assert found, f"{path.name} has no section #{anchor}"
    return "\n".join(found)


@pytest.mark.parametrize("case", QUESTIONS, ids=lambda case: case["question"])
def test_the_answer_is_three_clicks_from_the_readme_at_most(case):
    page, anchor = ROOT / "README.md", ""
    assert len(case["clicks"]) <= MOST_CLICKS
    for click in case["clicks"]:
        assert click in LINK.findall(page.read_text(encoding="utf-8")), f"{page.name}: {click}"
        target, _, anchor = click.partition("#")
        page = page.parent / target if target else page
    assert case["answer"] in section(page, anchor)


def test_pictures_are_small_and_each_is_shown():
    pages = [ROOT / "README.md", ROOT / "README.zh.md", *(ROOT / "docs").glob("*.md")]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    for picture in (ROOT / "docs/pictures").iterdir():
        assert picture.stat().st_size <= 80_000, picture.name
        assert f"pictures/{picture.name}" in text


def test_there_are_ten_questions():
    assert len(QUESTIONS) == 10


@pytest.mark.parametrize(("translation", "original"), documents.TRANSLATED.items())
def test_a_translation_has_the_headings_links_and_tables_of_its_original(translation, original):
    def shape(name):
        text = (ROOT / name).read_text(encoding="utf-8")
        prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)
        links = sorted(
            link.replace("-zh.webp", ".webp")
            for link in LINK.findall(prose)
            if not link.startswith("README")
        )
        return {
            "headings": [len(marks) for marks in re.findall(r"^(#+) ", prose, re.MULTILINE)],
            "links": links,
            "rows": [line.count("|") for line in prose.splitlines() if line.startswith("|")],
            "names": sorted(set(re.findall(r"`([\w./-]*_[\w./-]*|make [\w-]+)[^`]*`", prose))),
        }

    assert shape(translation) == shape(original)
