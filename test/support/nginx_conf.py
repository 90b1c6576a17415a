"""What a rendered configuration of nginx means: its blocks, and what a location inherits.

.. code-block:: python

    for server in servers(files):
        for location in server.locations():
            location.effective("proxy_set_header")

Reads what ``infra_portal.files`` returns, with ``include`` resolved among those files.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|(?P<quoted>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?P<mark>[{};])"""
    r"""|(?P<word>(?:\\.|\$\{[^}]*\}|[^\s{};\\])+)""",
    re.DOTALL,
)
PASSES = ("proxy_pass", "grpc_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "memcached_pass")
"""Directives that hand a request to another server."""


@dataclass
class Block:
    """A block: its name (``location``), arguments, directives and the blocks in it."""

    name: str
    arguments: list[str]
    parent: Block | None = None
    directives: list[list[str]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)

    def own(self, name: str) -> list[list[str]]:
        """Arguments of each directive of a name that stands in this block itself."""
        return [words[1:] for words in self.directives if words[0] == name]

    def effective(self, name: str) -> list[list[str]]:
        """What is in force of a directive: that of this block, or of the next one that has any."""
        block: Block | None = self
        while block is not None:
            if block.own(name):
                return block.own(name)
            block = block.parent
        return []

    def headers(self, directive: str = "proxy_set_header") -> dict[str, str]:
        """Header in lower case → value that is sent, ``''`` for one that is removed."""
        out: dict[str, str] = {}
        for name, value in self.effective(directive):
            key = name.lower()
            if out.get(key) and value:
                raise AssertionError(f"{self.title()}: {name} would be sent twice")
            out[key] = value or out.get(key, "")
        return out

    def walk(self) -> Iterator[Block]:
        """This block and all below it."""
        yield self
        for block in self.blocks:
            yield from block.walk()

    def proxied(self) -> Iterator[Block]:
        """The blocks that hand a request on."""
        return (b for b in self.walk() if any(b.own(name) for name in PASSES))

    def title(self) -> str:
        """Its first line, as written."""
        return " ".join([self.name, *self.arguments])


def parse(files: dict[str, dict], rel: str = "nginx.conf") -> Block:
    """Read a file of a rendered portal, with all that it includes."""
    root = Block("main", [])
    _read(files, rel, root)
    return root


def _read(files: dict[str, dict], rel: str, block: Block) -> None:
    top = block
    text = files[rel]["text"]
    words: list[str] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match, (rel, text[at : at + 40])
        at = match.end()
        if match["quoted"]:
            words.append(match["quoted"][1:-1])
        elif match["word"]:
            words.append(match["word"])
        elif match["mark"] == ";":
            _directive(files, words, block)
            words = []
        elif match["mark"] == "{":
            inner = Block(words[0], words[1:], block)
            block.blocks.append(inner)
            block, words = inner, []
        elif match["mark"] == "}":
            assert block.parent is not None, rel
            block = block.parent
    assert block is top, rel
    assert not words, rel


def _directive(files: dict[str, dict], words: list[str], block: Block) -> None:
    if words[0] != "include":
        block.directives.append(words)
        return
    pattern = words[1]
    found = sorted(rel for rel in files if fnmatch.fnmatchcase(rel, pattern))
    outside = ("mime.types", "modules-enabled/*.conf")
    assert found or "*" in pattern or pattern in outside, pattern
    for rel in found:
        # A star of nginx does not match a slash.
        if rel.count("/") == pattern.count("/"):
            _read(files, rel, block)
