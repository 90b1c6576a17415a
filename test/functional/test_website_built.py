"""`make docs`: the static site as MkDocs builds it, without a dead link or anchor."""

import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import documents
import pytest

from tools import website

pytestmark = pytest.mark.soak
ROOT = documents.ROOT
SEPARATOR = re.compile(r"^ *\|[ :|-]*-[ :|-]*\|$", re.MULTILINE)
SITE = ROOT / "build/docs/site"


class Page(HTMLParser):
    """Links, anchors, blocks of code, tables and text in paragraphs of one page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors, self.inside = [], set(), []
        self.code = self.tables = 0
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if "id" in found:
            self.anchors.add(found["id"])
        self.links += [found[name] for name in ("href", "src") if found.get(name)]
        self.code += tag == "pre"
        self.tables += tag == "table"
        if tag in ("p", "pre", "code", "td", "li"):
            self.inside.append(tag)

    def handle_endtag(self, tag):
        if self.inside and self.inside[-1] == tag:
            self.inside.pop()

    def handle_data(self, data):
        if self.inside and not {"pre", "code"} & set(self.inside):
            self.text += data


@pytest.fixture(scope="module")
def pages():
    subprocess.run(["make", "docs"], cwd=ROOT, check=True, capture_output=True, timeout=600)
    return {path.name: Page(path) for path in SITE.glob("*.html")}


def test_no_link_and_no_anchor_is_dead(pages):
    dead = []
    for name, page in pages.items():
        if name == "404.html":  # its links begin at the root of a server
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = Path(SITE, unquote(parts.path) or name)
            anchor = unquote(parts.fragment)
            there = target.exists()
            other = pages.get(target.name) if target.suffix == ".html" else None
            if not there or (anchor and other and anchor not in other.anchors):
                dead.append(f"{name}: {link}")
    assert dead == []


def test_every_block_and_table_of_the_documents_is_one_in_the_site(pages):
    lost = {}
    for path in website.documents():
        page = pages[website.staged_name(path).replace(".md", ".html")]
        text = path.read_text(encoding="utf-8")
        blocks = len(documents.parse(text, path.name))
        tables = len(SEPARATOR.findall(text))
        if (page.code, page.tables) != (blocks, tables):
            lost[path.name] = (page.code, page.tables), (blocks, tables)
    assert lost == {}


def test_no_markdown_is_left_as_text(pages):
    marks = ("](", "```", "|--", "**")
    assert {n: m for n, page in pages.items() for m in marks if m in page.text} == {}


def test_nothing_is_fetched_from_elsewhere(pages):
    """The site works without internet, and tells nobody who reads it."""
    sources = {
        link for page in pages.values() for link in page.links if link.endswith((".js", ".css"))
    }
    assert {link for link in sources if urlsplit(link).netloc} == set()
