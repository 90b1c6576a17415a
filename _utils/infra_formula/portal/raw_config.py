"""Raw directives of an entry (``config``), completed with what nginx would not inherit.

nginx inherits headers from the block around only where a block sets none of its own. So a location
of an operator that sets one header loses all of the portal's. Such blocks get the others again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|(?P<word>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|(?:\\.|\$\{[^}]*\}?|[^\s{};\\])+)"""
    r"""|(?P<mark>[{};])""",
    re.DOTALL,
)
_PASS = re.compile(r"(?:proxy|grpc|fastcgi|uwsgi|scgi|memcached)_pass")
GATEWAYS = ("fastcgi", "uwsgi", "scgi")
_SEVERAL = frozenset({"set-cookie"})  # headers of which an answer may have several
_EMPTY = ("''", '""')
_FAMILIES = ("proxy_set_header", "grpc_set_header")

Read = Callable[[str], str]
"""Text of the files that an ``include`` names; empty if there are none."""


@dataclass
class Block:
    """A block of directives, or the whole text.

    name, arguments
        Its first line.
    start, end
        Where its content begins in the text, and where it ends.
    directives, blocks
        What is directly in it; each directive is a list of words, without quotes.
    """

    name: str
    arguments: list[str]
    start: int
    parent: Block | None = None
    directives: list[list[str]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    end: int = 0

    def own(self, name: str) -> list[list[str]]:
        """Arguments of each directive of a name that is directly in this block."""
        return [words[1:] for words in self.directives if words[0] == name]

    def walk(self) -> Iterator[Block]:
        """This block and all below it."""
        yield self
        for block in self.blocks:
            yield from block.walk()

    def around(self) -> Iterator[Block]:
        """The blocks around this one, from the next to the outermost."""
        block = self.parent
        while block is not None:
            yield block
            block = block.parent


def parse(text: str, read: Read | None = None) -> Block:
    """Parse directives that :func:`infra_formula.portal.entries.config_fault` accepts.

    read
        Reads what an ``include`` names, whose directives count as if they were in its place.
    """
    root = Block("", [], 0)
    around = [root]
    words: list[str] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:  # a backslash at the end
            break
        at = match.end()
        word, mark = match["word"], match["mark"]
        if word:
            words.append(word[1:-1] if word[0] in "\"'" else word)
        elif mark == "{" and words:
            block = Block(words[0], words[1:], at, around[-1])
            around[-1].blocks.append(block)
            around.append(block)
            words = []
        elif mark == "}" and len(around) > 1:
            around.pop().end = at - 1
        elif mark == ";" and words:
            _add(around[-1], words, read)
            words = []
    return root


def tokens(text: str) -> Iterator[tuple[str | None, str | None, int, int]]:
    """Words and marks (``{``, ``}``, ``;``) of a text: the word or the mark, and where it is."""
    for match in _TOKEN.finditer(text):
        if match["word"] or match["mark"]:
            yield match["word"], match["mark"], match.start(), match.end()


def _add(block: Block, words: list[str], read: Read | None) -> None:
    block.directives.append(words)
    if words[0] == "include" and len(words) > 1 and read is not None:
        block.directives += parse(read(words[1])).directives


@dataclass(frozen=True)
class Portal:
    """What the server of an entry has, as nginx's directives.

    answer
        ``add_header`` lines.
    shared, include
        ``proxy_set_header`` lines that are the same everywhere; the line that includes them.
    visitor
        The other ``proxy_set_header`` lines, by how a visitor logged in: ``''``, ``basic``,
        ``oidc``; and the same with `` unverified`` behind it, where a visitor need not have.
    login
        How a visitor of the entry logs in.
    unverified
        Whether a visitor of it need not have.
    hide, ignore
        ``proxy_hide_header`` and ``proxy_ignore_headers`` lines.
    to_https, not_hidden, not_hidden_file
        A directive of a location: redirect a request in the clear, refuse a hidden path, and refuse
        a hidden file.
    """

    answer: str
    shared: str
    include: str
    visitor: Mapping[str, str]
    login: str
    unverified: bool = False
    hide: str = ""
    ignore: str = ""
    to_https: str = ""
    not_hidden: str = ""
    not_hidden_file: str = ""


@dataclass(frozen=True)
class _Scope:
    """What is in force in a block: the login, and whether it may be skipped."""

    login: str
    unverified: bool

    @property
    def key(self) -> str:
        return self.login + (" unverified" if self.login and self.unverified else "")


def complete(text: str, portal: Portal, read: Read | None = None) -> str:
    """Add to each block of raw directives what it would not inherit from the portal.

    text
        ``config`` of an entry.
    read
        See :func:`parse`.
    """
    root = parse(text, read)
    scope = _scope(root, _Scope(portal.login, portal.unverified))
    inserts: list[tuple[int, list[str]]] = []
    for block in root.blocks:
        _visit(block, portal, scope, scope.key, inserts)
    for at, lines in sorted(inserts, reverse=True):
        text = insert(text, at, lines)
    return text


def server_headers(text: str, portal: Portal, read: Read | None = None) -> str:
    """The portal's headers for the level of the server, beside an entry's raw directives.

    Those that the directives set there themselves are left out: nginx would send both.
    """
    root = parse(text, read)
    scope = _scope(root, _Scope(portal.login, portal.unverified))
    names = {words[0] for block in root.walk() for words in block.directives}
    lines = _request_lines("proxy_set_header", portal, root, scope.key)
    if "grpc_pass" in names:
        lines += _request_lines("grpc_set_header", portal, root, scope.key)
    return "\n".join([*_answer_lines(portal, root), *lines])


def sets(text: str, directive: str) -> bool:
    """Whether raw directives have one of a name at the level of the server."""
    return bool(parse(text).own(directive))


def is_login_optional(text: str) -> bool:
    """Whether raw directives let a visitor in by address alone, at the level of the server."""
    return parse(text).own("satisfy") == [["any"]]


def _visit(
    block: Block,
    portal: Portal,
    around: _Scope,
    inherited: str,
    inserts: list[tuple[int, list[str]]],
) -> None:
    """Collect what is to be inserted into a block, and into those in it.

    inherited
        The login that the headers are made for that the block inherits.
    """
    scope = _scope(block, around)
    lines = _answer_lines(portal, block) if block.own("add_header") else []
    if block.name == "location":
        lines = _guards(block, portal, scope) + lines
        for family in _FAMILIES:
            sets = bool(block.own(family))
            if not sets and scope.key != inherited:
                lines += _inherited_again(family, block)
            if sets or (scope.key != inherited and _is_used(family, block)):
                lines += _request_lines(family, portal, block, scope.key)
        inherited = scope.key
        for directive, its_lines in (
            ("proxy_hide_header", portal.hide),
            ("proxy_ignore_headers", portal.ignore),
        ):
            present = {word.lower() for words in block.own(directive) for word in words}
            if present:
                lines += [x for x in its_lines.splitlines() if _name(x) not in present]
        for gateway in GATEWAYS:
            sets = bool(block.own(f"{gateway}_param"))
            if not sets and block.own(f"{gateway}_pass"):
                lines += _inherited_again(f"{gateway}_param", block)
            if sets or block.own(f"{gateway}_pass"):
                lines += _params(portal, block, gateway, scope.key)
    lines = [line.strip() for line in lines if line.strip()]
    if lines:
        inserts.append((block.start, lines))
    for inner in block.blocks:
        _visit(inner, portal, scope, inherited, inserts)


def _scope(block: Block, around: _Scope) -> _Scope:
    login, unverified = around.login, around.unverified
    for words in block.own("auth_basic"):
        if words != ["off"]:
            login = "basic"
        elif login == "basic":
            login = ""
    for words in block.own("auth_request"):
        # Of another sign-in than the portal's, nothing is known about the visitor.
        if login == "oidc" and words:
            login = ""
    for words in block.own("satisfy"):
        unverified = words == ["any"]
    return _Scope(login, unverified)


def _guards(block: Block, portal: Portal, scope: _Scope) -> list[str]:
    """What a location refuses, or redirects, before anything else."""
    if block.own("internal"):
        return []
    is_opened = bool(portal.login) and not scope.login
    lines = [] if is_opened else [portal.to_https]
    if _serves_files(block):
        lines.append(portal.not_hidden)
        if any("/." not in words[0] for words in block.own("alias") if words):
            lines.append(portal.not_hidden_file)
    return lines


def _serves_files(block: Block) -> bool:
    names = {words[0] for words in block.directives}
    if "return" in names or any(map(_PASS.fullmatch, names)):
        return False
    redirects = any(words[-1] in ("permanent", "redirect") for words in block.own("rewrite"))
    return not redirects or bool(names & {"root", "alias", "try_files"})


def _name(line: str) -> str:
    """Header of a line like ``add_header X-Frame-Options …``, in lower case."""
    words = line.split()
    return words[1].rstrip(";").lower() if len(words) > 1 else ""


def _answer_lines(portal: Portal, block: Block) -> list[str]:
    present = {words[0].lower() for words in block.own("add_header") if words} - _SEVERAL
    return [line.strip() for line in portal.answer.splitlines() if _name(line) not in present]


def _request_lines(family: str, portal: Portal, block: Block, key: str) -> list[str]:
    """Headers of a request that is handed on, without those that a block sets itself."""
    source = block if block.own(family) else _source(family, block) or block
    present = {words[0].lower() for words in source.own(family) if words}
    included = [portal.include.split()[1].rstrip(";")]
    shared = portal.shared.splitlines()
    if family != "proxy_set_header" or present & {_name(line) for line in shared}:
        lines = shared
    else:
        lines = [portal.include]
    if family == "proxy_set_header" and included in block.own("include"):
        lines = []
    return [
        line.strip().replace("proxy_set_header", family, 1)
        for line in (*lines, *portal.visitor[key].splitlines())
        if line.strip() and _name(line) not in present
    ]


def _params(portal: Portal, block: Block, gateway: str, key: str) -> list[str]:
    """The portal's headers as parameters of a program behind a gateway."""
    present = {words[0].lower() for words in block.own(f"{gateway}_param") if words}
    values = {}
    for line in (*portal.shared.splitlines(), *portal.visitor[key].splitlines()):
        words = line.split(None, 2)
        if words and words[0] == "proxy_set_header":
            values["HTTP_" + words[1].upper().replace("-", "_")] = words[2].rstrip(";")
    return [
        f"{gateway}_param {name} {value}{'' if value in _EMPTY else ' if_not_empty'};"
        for name, value in values.items()
        if name.lower() not in present
    ]


def _inherited_again(directive: str, block: Block) -> list[str]:
    """What a block inherits of raw directives of a name, for one that will set some itself."""
    outer = _source(directive, block)
    if outer is None:
        return []
    return [f"{directive} {' '.join(map(quoted, words))};" for words in outer.own(directive)]


def _source(directive: str, block: Block) -> Block | None:
    """The block of the raw directives from which one inherits a directive."""
    return next((outer for outer in block.around() if outer.own(directive)), None)


def _is_used(family: str, block: Block) -> bool:
    """Whether something in a block hands requests on with these headers."""
    passes = family.replace("set_header", "pass")
    return family == "proxy_set_header" or any(inner.own(passes) for inner in block.walk())


def quoted(word: str) -> str:
    """A word as it may stand in a directive."""
    if re.fullmatch(r"[\w$./:-]+", word):
        return word
    return f"'{word}'" if '"' in word else f'"{word}"'


def insert(text: str, at: int, lines: list[str], heading: str = "# Added by the formula:") -> str:
    """Put lines at the beginning of a block, one step further in than its first line."""
    before, after = text[:at], text[at:]
    first = before[before.rfind("\n") + 1 :]
    pad = " " * (len(first) - len(first.lstrip()) + 4)
    added = "".join(f"\n{pad}{line}" for line in (*filter(None, [heading]), *lines))
    rest = after if re.match(r"[ \t]*(?:\n|$)", after) else f"\n{pad}{after.lstrip(' ')}"
    return f"{before}{added}{rest}"
