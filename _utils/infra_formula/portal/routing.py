"""Which lines of nginx's configuration answer a request, by nginx's own rules.

Sources of the rules: https://nginx.org/en/docs/http/request_processing.html for servers,
https://nginx.org/en/docs/http/ngx_http_core_module.html#location for locations, and
``ngx_http_core_find_location`` of nginx's source for locations in locations.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote_to_bytes

from infra_formula.portal.nginx_config import Directive
from infra_formula.portal.variables import UnknownValue, Variables, regex

PASSES = frozenset(
    f"{kind}_pass" for kind in ("proxy", "grpc", "fastcgi", "uwsgi", "scgi", "memcached")
)
_MAX_REDIRECTS = 10  # nginx's own limit of internal redirects
_CODES_WITH_TARGET = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True)
class Request:
    """A request of a visitor without a login, as its first line and its Host say.

    path
        As it is sent, with its query.
    port
        On which it arrives; ``tls``: over HTTPS.
    address
        The machine's, on which it arrives.
    """

    name: str
    path: str
    port: int
    tls: bool
    address: str = "127.0.0.1"


@dataclass
class Route:
    """What answers a request.

    server, location
        Blocks; ``location`` is the server if the request finds none.
    matched
        How the server was found: ``exact``, ``wildcard``, ``regex`` or ``default``.
    uri
        The path as nginx reads it, after rewrites.
    code
        Status of an answer that nginx makes itself; None for one of an upstream, or of a file.
    target
        Where a redirect leads.
    decision
        The directive that answers: ``return``, ``proxy_pass``, ``root``, …; None for no such line.
    file
        The file that answers, whether it exists or not; None if no file does.
    sent
        The path as the visitor sent it.
    unknown
        Conditions (``file:line``) that depend on more than the request; taken as false.
    """

    server: Directive
    matched: str
    location: Directive
    uri: str
    code: int | None = None
    target: str = ""
    decision: Directive | None = None
    file: Path | None = None
    sent: str = ""
    unknown: list[str] = field(default_factory=list)

    def uri_as_sent(self) -> str:
        """The path that an upstream gets: as the visitor sent it, unless a rewrite changed it."""
        return self.sent if self.uri == normalized(self.sent) else self.uri


class _Answered(Exception):
    """The request is answered; the route says how."""


def route(config: Directive, request: Request) -> Route | None:
    """Find what answers a request; None if nothing listens on its port.

    config
        See ``nginx_config.read``.
    """
    found = _server(config, request)
    if found is None:
        return None
    server, matched, name = found
    uri = normalized(request.path)
    route = Route(server, matched, server, uri, sent=request.path.partition("?")[0])
    maps = [d for http in config.all("http") for d in http.all("map", "geo")]
    variables = Variables(_known(request, uri, name), maps)
    with contextlib.suppress(_Answered):
        _Walk(route, variables).run()
    return route


def normalized(path: str) -> str:
    """A path as nginx reads it: decoded, without its query, and with dots and slashes resolved."""
    raw = unquote_to_bytes(path.partition("?")[0]).decode("utf-8", "surrogateescape")
    parts: list[str] = []
    pieces = re.split("/+", raw)[1:]
    for piece in pieces:
        if piece == "..":
            parts = parts[:-1]
        elif piece not in (".", ""):
            parts.append(piece)
    folder = pieces[-1:] in ([""], ["."], [".."])
    return "/" + "/".join(parts) + ("/" if folder and parts else "")


def _known(request: Request, uri: str, server_name: str) -> dict[str, str]:
    query = request.path.partition("?")[2]
    standard = (443 if request.tls else 80) == request.port
    return {
        "uri": uri,
        "document_uri": uri,
        "request_uri": request.path,
        "args": query,
        "query_string": query,
        "is_args": "?" if query else "",
        "host": request.name.lower(),
        "http_host": request.name if standard else f"{request.name}:{request.port}",
        "server_name": server_name,
        "server_port": str(request.port),
        "server_addr": request.address,
        "scheme": "https" if request.tls else "http",
        "https": "on" if request.tls else "",
        "request_method": "GET",
        "request": f"GET {request.path} HTTP/1.1",
    }


# -- servers -------------------------------------------------------------------------------------


def _server(config: Directive, request: Request) -> tuple[Directive, str, str] | None:
    """The server of a request, how it was found, and its first name."""
    servers = [s for http in config.all("http") for s in http.all("server")]
    listening = [
        (server, listen.arguments)
        for server in servers
        for listen in server.all("listen")
        if listen.arguments and _port(listen.arguments[0]) == request.port
    ]
    if not listening:
        return None
    host = request.name.lower().rstrip(".")
    candidates: list[tuple[tuple[int, int], Directive, str]] = []
    for position, (server, _options) in enumerate(listening):
        for name in _names(server):
            rank = _name_rank(name.lower() if not name.startswith("~") else name, host)
            if rank:
                candidates.append(((rank[0], rank[1] or position), server, _KINDS[rank[0]]))
    if candidates:
        _rank, server, matched = min(candidates, key=lambda c: c[0])
    else:
        marked = [s for s, options in listening if "default_server" in options]
        server, matched = (marked or [listening[0][0]])[0], "default"
    return server, matched, next(iter(_names(server)), "")


_KINDS = ("exact", "wildcard", "wildcard", "regex")


def _port(listen: str) -> int:
    text = listen.rpartition(":")[2] if not listen.endswith("]") else ""
    return int(text) if text.isdigit() else 80


def _names(server: Directive) -> list[str]:
    return [name for line in server.all("server_name") for name in line.arguments]


def _name_rank(name: str, host: str) -> tuple[int, int] | None:
    """How well a name of a server fits: less is better; None if it does not."""
    if name.startswith("~"):
        try:
            return (3, 0) if regex(name[1:], True).search(host) else None
        except UnknownValue:
            return None
    if name == host or (name.startswith(".") and name[1:] == host):
        return 0, 0
    if name.startswith("*.") and host.endswith(name[1:]):
        return 1, -len(name)
    if name.startswith(".") and host.endswith(name):
        return 1, -len(name) - 1
    if name.endswith(".*") and host.startswith(name[:-1]):
        return 2, -len(name)
    return None


# -- locations -----------------------------------------------------------------------------------


def _location(block: Directive, uri: str, variables: Variables) -> tuple[Directive | None, str]:
    """The location below a block, and ``final``, ``prefix``, ``slash`` (a redirect) or ``''``."""
    places = [d for d in block.all("location") if d.arguments]
    best: Directive | None = None
    kind, length = "", -1
    for place in places:
        modifier, path = _place(place)
        if modifier == "=" and path == uri:
            return place, "final"
        if modifier in ("", "^~") and uri.startswith(path) and len(path) > length:
            best, kind, length = place, "prefix", len(path)
    if best is None or _place(best)[1] != uri:
        for place in places:
            if _place(place) in (("", uri + "/"), ("^~", uri + "/")) and place.all(*PASSES):
                return place, "slash"
    no_regex = False
    if best is not None:
        no_regex = _place(best)[0] == "^~"
        inner, inner_kind = _location(best, uri, variables)
        if inner is not None:
            if inner_kind in ("final", "slash"):
                return inner, inner_kind
            best = inner
    if not no_regex:
        for place in places:
            modifier, path = _place(place)
            if modifier in ("~", "~*") and variables.matches(path, uri, modifier == "~*"):
                inner, inner_kind = _location(place, uri, variables)
                return (inner, inner_kind) if inner is not None else (place, "final")
    return best, kind


def _place(location: Directive) -> tuple[str, str]:
    """Modifier and path of a location."""
    words = location.arguments
    if len(words) > 1:
        return words[0], words[1]
    match = re.match(r"(\^~|~\*|~|=|)(.*)", words[0], re.DOTALL)
    return (match[1], match[2]) if match else ("", words[0])


class _Walk:
    """The way of one request through a server."""

    def __init__(self, route: Route, variables: Variables) -> None:
        self.route = route
        self.variables = variables
        self.redirects = 0
        self.internal = False

    def run(self) -> None:
        self._rewrite(self.route.server)
        self._find()

    def _find(self) -> None:
        """Find the location of the path, and what it does."""
        self._count()
        route = self.route
        location, kind = _location(route.server, route.uri, self.variables)
        route.location = location if location is not None else route.server
        if kind == "slash":
            route.code, route.target, route.decision = 301, route.uri + "/", location
            raise _Answered
        if not self.internal and self.route.location.all("internal"):
            self._end(404, self.route.location.all("internal")[0])
        self._serve()

    def _serve(self) -> None:
        """Take the steps of a location: rewrites, then files that are tried, then its content."""
        location = self.route.location
        before = self.route.uri
        end = self._rewrite(location)
        if end == "last" or (end == "" and self.route.uri != before):
            self._find()
            return
        passes = location.all(*PASSES)
        for line in location.all("try_files"):  # no location inherits them
            self._try_files(line)
        if passes:
            self.route.decision = passes[0]
            raise _Answered
        self._files()

    def _count(self) -> None:
        self.redirects += 1
        if self.redirects > _MAX_REDIRECTS:
            self._end(500, None)

    def _end(self, code: int, decision: Directive | None) -> None:
        self.route.code, self.route.decision = code, decision
        raise _Answered

    def _move(self, uri: str) -> None:
        self.internal = True
        path, mark, query = uri.partition("?")
        self.route.uri = path
        self.variables.known.update(uri=path, document_uri=path)
        if mark:
            self.variables.known.update(args=query, query_string=query)

    def _rewrite(self, block: Directive) -> str:
        """Take the directives of the rewrite module: '' or the flag by which they end."""
        for line in block.inner or []:
            if line.name == "if":
                end = self._if(line)
            elif line.name == "return":
                self._return(line)
            elif line.name == "set" and len(line.arguments) == 2:
                self._set(line)
                continue
            elif line.name == "rewrite" and len(line.arguments) >= 2:
                end = self._rewrite_one(line)
            elif line.name == "break":
                end = "break"
            else:
                continue
            if end:
                return end
        return ""

    def _set(self, line: Directive) -> None:
        name = line.arguments[0].removeprefix("$")
        try:
            self.variables.known[name] = self.variables.filled(line.arguments[1])
        except UnknownValue:
            self.variables.known.pop(name, None)

    def _if(self, line: Directive) -> str:
        try:
            holds = self.variables.holds(line.arguments)
        except UnknownValue:
            self.route.unknown.append(f"{line.file}:{line.line}")
            return ""
        if not holds:
            return ""
        end = self._rewrite(line)
        if not end and line.all(*PASSES):
            self.route.location = line
            self.route.decision = line.all(*PASSES)[0]
            raise _Answered
        return end

    def _return(self, line: Directive) -> None:
        words = line.arguments
        code = int(words[0]) if words and words[0].isdigit() else 302
        text = words[-1] if len(words) > 1 or not words[0].isdigit() else ""
        if code in _CODES_WITH_TARGET:
            self.route.target = self._as_known(text)
        self._end(code, line)

    def _as_known(self, text: str) -> str:
        try:
            return self.variables.filled(text)
        except UnknownValue:
            return text

    def _rewrite_one(self, line: Directive) -> str:
        pattern, replacement, *flags = line.arguments
        try:
            if not self.variables.matches(pattern, self.route.uri):
                return ""
            target = self.variables.filled(replacement)
        except UnknownValue:
            self.route.unknown.append(f"{line.file}:{line.line}")
            return ""
        flag = flags[0] if flags else ""
        if re.match(r"https?://|\$scheme", replacement) or flag in ("redirect", "permanent"):
            self.route.target = target
            self._end(301 if flag == "permanent" else 302, line)
        self._move(target)
        return flag

    def _try_files(self, line: Directive) -> None:
        *tried, last = line.arguments
        for name in tried:
            uri = self._as_known(name)
            path = self._path(uri)
            if path is None:
                return
            if path.is_dir() if uri.endswith("/") else path.is_file():
                self._move(uri)
                self.route.decision = line
                return
        if last.startswith("="):
            self._end(int(last[1:]), line)
        if last.startswith("@"):
            self._count()
            self._enter_named(last, line)
            return
        self._move(self._as_known(last))
        self._find()

    def _enter_named(self, name: str, line: Directive) -> None:
        for place in self.route.server.all("location"):
            if place.arguments == [name]:
                self.route.location = place
                self._serve()
                return
        self._end(500, line)

    def _files(self) -> None:
        """The content of a location without an upstream: a file, or an index of a folder."""
        location, uri = self.route.location, self.route.uri
        if uri.endswith("/"):
            indexes = [n for d in location.inherited("index") for n in d.arguments]
            for name in indexes or ["index.html"]:
                path = self._path(uri + name)
                if path is not None and path.is_file() and self.redirects <= _MAX_REDIRECTS:
                    self._move(uri + name)
                    self._find()
                    return
        roots = location.all("alias") or location.inherited("root")
        self.route.decision = next(iter([*location.all("stub_status"), *roots]), None)
        self.route.file = self._path(uri)
        raise _Answered

    def _path(self, uri: str) -> Path | None:
        """Where a path is on disk; None if that is not known."""
        location = self.route.location
        try:
            for alias in location.all("alias"):
                modifier, place = _place(location)
                base = self.variables.filled(alias.arguments[0])
                rest = uri[len(place) :] if modifier in ("", "^~", "=") else ""
                return Path(base + rest)
            for root in location.inherited("root"):
                return Path(self.variables.filled(root.arguments[0]) + uri)
        except UnknownValue:
            return None
        return None
