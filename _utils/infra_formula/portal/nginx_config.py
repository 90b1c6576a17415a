"""nginx's configuration as a tree, with everything that is included in its place.

nginx itself has no command that tells which of its lines answers a request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|(?P<word>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|(?:\\.|\$\{[^}]*\}?|[^\s{};\\])+)"""
    r"""|(?P<mark>[{};])""",
    re.DOTALL,
)
_ESCAPES = {"t": "\t", "r": "\r", "n": "\n"}
_MAX_DEPTH = 20  # of files that include each other


@dataclass
class Directive:
    """One directive.

    name, arguments
        Its words as nginx reads them: without quotes and escapes.
    file, line
        Where it begins.
    inner
        Directives of its block, in their order; None if it has no block.
    """

    name: str
    arguments: list[str]
    file: Path
    line: int
    inner: list[Directive] | None = None
    parent: Directive | None = field(default=None, repr=False)

    def all(self, *names: str) -> list[Directive]:
        """The directives of some names that are directly in this block."""
        return [d for d in self.inner or [] if d.name in names]

    def around(self) -> Iterator[Directive]:
        """This directive and the blocks around it, from the innermost."""
        block: Directive | None = self
        while block is not None:
            yield block
            block = block.parent

    def inherited(self, *names: str) -> list[Directive]:
        """The directives of some names in force here: those of the innermost block with any."""
        return next(
            (directives for block in self.around() if (directives := block.all(*names))), []
        )


def read(main: Path) -> Directive:
    """Read a configuration from its main file, with the files that it includes.

    main
        Usually ``/etc/nginx/nginx.conf``. Relative names of included files start at its folder.

    Returns a directive without a name, whose block is the main file.

    Raises OSError for a file that cannot be read.
    """
    root = Directive("", [], main, 1, [])
    _read_into(root, main, main.parent, 0)
    return root


def _read_into(block: Directive, file: Path, folder: Path, depth: int) -> None:
    text = file.read_text(encoding="utf-8", errors="surrogateescape")
    words: list[str] = []
    outermost, line, first_line = block, 1, 1
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:  # a backslash at the end
            break
        at = match.end()
        word, mark = match["word"], match["mark"]
        if word:
            first_line = first_line if words else line
            words.append(_plain(word))
        elif mark == "}":
            if block is not outermost and block.parent is not None:
                block = block.parent
            words = []
        elif mark and words:
            directive = Directive(words[0], words[1:], file, first_line, None, block)
            words = []
            if mark == "{":
                directive.inner = []
            if directive.name == "include" and directive.arguments and depth < _MAX_DEPTH:
                for path in _included(folder, directive.arguments[0]):
                    _read_into(block, path, folder, depth + 1)
            elif block.inner is not None:
                block.inner.append(directive)
            if mark == "{":
                block = directive
        line += match.group().count("\n")


def _included(folder: Path, pattern: str) -> list[Path]:
    """Files that an ``include`` names, in nginx's order; none for a pattern without a file."""
    start, rest = (Path("/"), pattern.lstrip("/")) if pattern.startswith("/") else (folder, pattern)
    try:
        return [path for path in sorted(start.glob(rest)) if path.is_file()]
    except (NotImplementedError, ValueError):
        return []


def _plain(word: str) -> str:
    """A word as nginx reads it: see ``ngx_conf_read_token``."""
    text = word[1:-1] if word[0] in "\"'" else word
    return re.sub(r"\\([\"'\\trn])", lambda m: _ESCAPES.get(m[1], m[1]), text)
