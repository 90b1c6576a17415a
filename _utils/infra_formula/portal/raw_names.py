"""Names of servers in raw directives, which nginx would resolve once, when it starts.

Without an answer it does not start, and every site is down. So a name that ``proxy_pass`` and its
kin in ``config`` pass requests to is written in a form that nginx resolves while it runs, as for
endpoints of entries: beside an empty variable. What nginx then no longer does by itself (to replace
the path of the location, to correct redirects) is written out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from infra_formula.portal import raw_config, upstreams
from infra_formula.portal.hosts import address
from infra_formula.portal.raw_config import Block

_TARGET = re.compile(
    r"(?P<scheme>(?:https?|grpcs?|s?uwsgi|scgi)://)?"
    r"(?P<host>[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?)(?P<port>:\d{1,5})?(?P<uri>[/?]\S*)?"
)
_PASS = re.compile(r"(?:proxy|grpc|fastcgi|uwsgi|scgi|memcached)_pass")
_DEFAULT_PORTS = {"https://": 443, "grpcs://": 443}
_AT_START = {"resolver": 0, "set_real_ip_from": 0}
"""Directives whose argument of that position nginx resolves when it starts."""

Resolve = Callable[[str], "str | None"]
"""``host:port`` → the ``name:port`` that has to be resolved while nginx runs, or None."""


@dataclass(frozen=True)
class Named:
    """A directive that passes requests to a name.

    start, end
        Where its argument is in the text.
    block
        What it stands in.
    host
        The name, with the port behind it.
    """

    start: int
    end: int
    block: Block
    directive: str
    scheme: str
    host: str
    uri: str
    name: str


def resolver_of(settings: dict[str, Any], service: upstreams.NameService) -> Resolve:
    """What finds names that nginx has to resolve while it runs."""
    return lambda endpoint: upstreams.run_time_name(endpoint, settings, service)


def named(text: str, groups: Collection[str], resolve: Resolve) -> Iterator[Named]:
    """Directives of a text that pass requests to a name.

    groups
        Names of groups of endpoints (``upstream``), which are no names of servers.
    """
    if "_pass" not in text:
        return
    known = {group.lower() for group in groups}
    for block, directive, start, end in _passes(text):
        match = _TARGET.fullmatch(text[start:end].strip("\"'"))
        if not match or (match["host"].lower() in known and not match["port"]):
            continue
        if match["scheme"] is None and directive in ("proxy_pass", "grpc_pass"):
            continue
        host, scheme = match["host"], match["scheme"] or ""
        port = match["port"] or f":{_DEFAULT_PORTS.get(scheme, 80)}"
        found = resolve(f"{host}{port}")
        if found is None or address(host) is not None:
            continue
        name = found if match["port"] else found.rpartition(":")[0]
        authority, uri = f"{host}{match['port'] or ''}", match["uri"] or ""
        yield Named(start, end, block, directive, scheme, authority, uri, name)


def at_run_time(text: str, groups: Collection[str], resolve: Resolve) -> str:
    """A text in which names are resolved while nginx runs.

    A name with a path stays as it is where ``rewrite`` decides about the path: :func:`left` tells.
    """
    edits: list[tuple[int, int, str]] = []
    for match in named(text, groups, resolve):
        if not _is_movable(match):
            continue
        edits.append((match.start, match.end, f"{match.scheme}{match.name}{upstreams.AT_RUN_TIME}"))
        edits += [(match.block.end, match.block.end, line) for line in _written_out(match)]
    for start, end, new in sorted(edits, key=lambda edit: -edit[0]):
        text = text[:start] + new + text[end:]
    return text


def left(text: str, groups: Collection[str], resolve: Resolve) -> list[str]:
    """What nginx still resolves when it starts, each with its directive."""
    names = [f"_pass {x.host}" for x in named(text, groups, resolve) if not _is_movable(x)]
    for block in raw_config.parse(text).walk():
        for words in block.directives:
            names += [f"{words[0]} {name}" for name in _resolved_at_start(words, resolve)]
    return names


def _resolved_at_start(words: list[str], resolve: Resolve) -> Iterator[str]:
    candidates = words[1:2] if words[0] in _AT_START else []
    if words[0] in ("access_log", "error_log"):
        servers = [w.partition("syslog:")[2] for w in words[1:] if w.startswith("syslog:")]
        candidates = [
            x.removeprefix("server=") for s in servers for x in s.split(",") if "server=" in x
        ]
    for word in candidates:
        match = _TARGET.fullmatch(word)
        if match and not match["uri"] and address(match["host"]) is None:
            if words[0] == "set_real_ip_from" and match["host"] == "unix":
                continue
            if resolve(f"{match['host']}{match['port'] or ':53'}") is not None:
                yield match["host"]


def _is_movable(found: Named) -> bool:
    block = found.block
    redirects = [w for b in (block, *block.around()) for w in b.own("proxy_redirect")]
    if found.directive == "memcached_pass" or ["default"] in redirects:
        return False  # nginx takes no variable there
    if not found.uri:
        return True
    path = block.arguments[-1:] or [""]
    return (
        block.name == "location"
        and (len(block.arguments) == 1 or block.arguments[0] in ("=", "^~"))
        and path[0].startswith("/")
        and not {"$", "?"} & {*found.uri}
        and not any(inner.own("rewrite") for inner in block.walk())
    )


def _written_out(found: Named) -> list[str]:
    """What nginx does by itself for a name that it resolves when it starts."""
    block = found.block
    if block.name != "location" or not found.scheme.startswith("http"):
        return []
    path = block.arguments[-1]
    is_exact = block.arguments[0] == "="
    is_plain = len(block.arguments) == 1 or block.arguments[0] in ("=", "^~")
    lines = []
    if found.uri:
        pattern = "^" if is_exact else f"^{re.escape(path)}(.*)$"
        lines.append(f'rewrite "{pattern}" "{found.uri}{"" if is_exact else "$1"}" break;')
    if not any(b.own("proxy_redirect") for b in (block, *block.around())):
        there = f"{found.scheme}{found.host}"
        if found.uri:
            lines.append(f'proxy_redirect "{there}{found.uri}" "{path}";')
        elif is_plain:
            lines.append(f'proxy_redirect "{there}/" /;')
    return [f"    {line}\n" for line in lines]


def _passes(text: str) -> Iterator[tuple[Block, str, int, int]]:
    """Each directive that passes requests on: its block, its name, and where its argument is."""
    blocks = {block.start: block for block in raw_config.parse(text).walk()}
    around = [blocks[0]]
    words: list[tuple[str, int, int]] = []
    for word, mark, start, end in raw_config.tokens(text):
        if word:
            words.append((word, start, end))
        elif mark == "{":
            around.append(blocks.get(end, around[-1]))
            words = []
        elif mark == "}":
            if len(around) > 1:
                around.pop()
            words = []
        else:
            if len(words) == 2 and _PASS.fullmatch(words[0][0]):
                yield around[-1], words[0][0], words[1][1], words[1][2]
            words = []


def http_problems(
    text: str, groups: Collection[str], keys: Collection[str], resolve: Resolve
) -> list[str]:
    """Names in ``nginx_http_config``, where nothing is written out: each is an error.

    keys
        Of the entries, whose names a group may not have.
    """
    where = "nginx_http_config"
    end = "nginx resolves it only when it starts, and does not start without an answer"
    problems = [f"{where}: expected an address in place of {x.host}: {end}"
             for x in named(text, groups, resolve)]  # fmt: skip
    root = raw_config.parse(text)
    for block in root.walk():
        if block.name != "upstream":
            continue
        if block.arguments[:1] and block.arguments[0] in keys:
            problems.append(
                f"{where}: expected another name for upstream {block.arguments[0]}: that of "
                f"infra_portal.{block.arguments[0]} has it"
            )
        for words in block.own("server"):
            match = _TARGET.fullmatch(words[0]) if words else None
            if not match or match["uri"] or "resolve" in words:
                continue
            if resolve(f"{match['host']}{match['port'] or ':80'}") is not None:
                group = block.arguments[0] if block.arguments else ""
                problems.append(
                    f"{where}: expected an address in place of {words[0]} in upstream {group}: "
                    f"{end}; an endpoint of an entry may be a name"
                )
    for block in root.walk():
        for words in block.directives:
            problems += [
                f"{where}: expected an address in place of {name} in {words[0]}: {end}"
                for name in _resolved_at_start(words, resolve)
            ]
    return problems
