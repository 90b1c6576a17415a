"""Logins over HTTPS alone: what would ask for a password on plain HTTP redirects to HTTPS.

However a login comes about (an attribute, ``portal_auth``, directives in ``config``, a template of
the site), nginx has it as a directive of a server or a location. So what is rendered is looked at:
each location that needs a login, and that plain HTTP reaches, begins with a redirect.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra_formula.errors import Refused
from infra_formula.parameters import schema
from infra_formula.portal import included, raw_config
from infra_formula.portal.raw_config import Block

LOGINS = (
    "auth_basic",
    "auth_request",
    "auth_digest",
    "auth_gss",
    "auth_jwt",
    "auth_ldap",
    "auth_pam",
)
"""Directives of nginx and its modules by which a visitor has to log in, unless they are ``off``."""

AUTHORIZATION = "$authorization_over_https"
"""The visitor's ``Authorization``, empty on plain HTTP (``infra.conf.j2``)."""
IS_PLAIN_PAGE = "$is_plain_page"
"""1 on plain HTTP, but for challenges of ACME."""
_IS_PLAIN_LOGIN = "$is_plain_login"
_BY_HAND = "www-authenticate"
_OAUTH2_PROXY = "http://_oauth2_proxy"  # it judges what a visitor shows, in closed locations alone
_HTTP_AUTHORIZATION = re.compile(r"\$(?:\{http_authorization\}|http_authorization\b)")


@dataclass(frozen=True)
class RawLogins:
    """Logins of the raw directives of an entry.

    of_server
        Whether they ask for one in the whole server.
    anywhere
        Whether they ask for one in the server or in a location.
    opens
        Whether they open a location of a server that asks for one.
    """

    of_server: bool = False
    anywhere: bool = False
    opens: bool = False


def of_config(text: str, has_login: bool = False) -> RawLogins:
    """The logins of raw directives that have a valid form.

    has_login
        Whether the server has one beside them.
    """
    if not text or not (has_login or _may_have_login(text)):
        return RawLogins()
    root = raw_config.parse(text, included.text)
    server = _logins(root, frozenset())
    is_closed = has_login or bool(server)
    places = [
        (block, _logins_of(block, server)) for block in root.walk() if block.name == "location"
    ]
    inside_included = any(_has_login_inside(x) for x in _included(root))
    return RawLogins(
        of_server=bool(server) or inside_included,
        anywhere=bool(server) or inside_included or any(logins for _, logins in places),
        opens=is_closed and any(_opens(block) for block in root.walk()),
    )


def problems(
    path: str, entry: Mapping[str, Any], logins: set[str], settings: Mapping[str, Any]
) -> list[str]:
    """Why an entry may have no login: the portal has no HTTPS.

    path
        Key path of the entry.
    logins
        How visitors log in by its attributes, wherever they have to.
    """
    if settings["nginx_sslmode"] != "disable" or settings.get("nginx_auth_over_http"):
        return []
    raw = of_config(str(entry.get("config", "")))
    if not logins and not raw.anywhere:
        return []
    where = f"{path}.{_attribute(entry, raw)}".rstrip(".")
    reason = "" if _attribute(entry, raw) else " by portal_auth"
    return [_no_https(where, reason)]


def console_problems(settings: Mapping[str, Any]) -> list[str]:
    """Why no HAProxy may ask for its own login through the portal: the portal has no HTTPS."""
    is_plain = settings["nginx_sslmode"] == "disable" and not settings.get("nginx_auth_over_http")
    return [_no_https("portal_haproxy_logins")] if is_plain and _consoles(settings) else []


def _consoles(settings: Mapping[str, Any]) -> list[str]:
    return list(settings.get("portal_haproxy_logins") or [])


def _no_https(where: str, reason: str = "") -> str:
    return (
        f"{where}: expected no login{reason} with nginx_sslmode: disable: passwords would be sent "
        "in the clear; set nginx_sslmode to enable, or nginx_auth_over_http to true to allow that"
    )


def _attribute(entry: Mapping[str, Any], raw: RawLogins) -> str:
    """The attribute that asks for a login; empty if none does, but ``portal_auth``."""
    for name in ("auth", "users", "auth_paths"):
        if entry.get(name):
            return name
    for key, own in (entry.get("locations") or {}).items():
        if isinstance(own, dict) and own.get("auth"):
            return f"{schema.join('locations', key)}.auth"
    return "config" if raw.anywhere else ""


def guarded(text: str, https: str, url: str, listeners: str = "", where: str = "") -> str:
    """The text of a file in which no server asks for a login on plain HTTP.

    text
        Directives of nginx's level ``http``.
    https
        Variable that is ``on`` for HTTPS, and empty for plain HTTP.
    url
        Where a request in the clear is redirected to.
    listeners
        Directives by which a server that has no port for HTTPS gets one.
    where
        Key path of a text of the site. Then a server has to have a port for HTTPS, and what it
        passes on is not known: each request with an ``Authorization`` in the clear is redirected.

    Raises Refused for a server without HTTPS, if there are no ``listeners``.
    """
    if not _may_have_login(text):
        return text
    root = raw_config.parse(text, included.text)
    edits: list[tuple[int, str, list[str]]] = []
    for server in (block for block in root.walk() if block.name == "server"):
        target = _own_url(server) or url if where else url
        closed = {block.start for block in _closed(server, frozenset(), https)}
        is_closed = bool(_logins(server, frozenset()))
        # nginx takes no redirect for some methods alone, and none in a file that is not ours.
        hidden = any(map(_has_login_inside, _included(server))) or any(
            block.name == "limit_except" and _logins(block, frozenset()) for block in server.walk()
        )
        if not (closed or is_closed or hidden) or not _listens_plainly(server):
            continue
        edits += [(at, "", _redirect(https, target, " = ''")) for at in closed]
        lines = []
        if where and not _listens_by_tls(server):
            if not listeners:
                raise Refused(_no_https_port(where))
            lines += listeners.splitlines()
        if _redirects(server, f"{IS_PLAIN_PAGE})"):
            pass
        elif (is_closed and not _has_root(server)) or hidden:
            lines += _redirect(IS_PLAIN_PAGE, target)
        elif where:
            lines += _redirect(_IS_PLAIN_LOGIN, target)
        edits += [(server.start, "", lines)] if lines else []
        if not where:
            edits += [(*use, [AUTHORIZATION]) for use in _open_uses(text, server, closed, https)]
    for at, old, new in sorted(edits, reverse=True):
        if old:
            text = f"{text[:at]}{new[0]}{text[at + len(old) :]}"
        else:
            text = raw_config.insert(text, at, new, heading="")
    return text


def _open_uses(text: str, server: Block, closed: set[int], https: str) -> Iterator[tuple[int, str]]:
    """Where a server hands on an ``Authorization`` that may come over plain HTTP."""
    for match in _HTTP_AUTHORIZATION.finditer(text, server.start, server.end):
        around = [b for b in server.walk() if b.start <= match.start() < b.end]
        inmost = max((b for b in around if b.name in ("location", "server")), key=lambda b: b.start)
        passes_to = [words[0] for words in inmost.own("proxy_pass") if words]
        if not (
            inmost.start in closed
            or _redirects(inmost, https)
            or any(target.startswith(_OAUTH2_PROXY) for target in passes_to)
        ):
            yield match.start(), match[0]


def _no_https_port(where: str) -> str:
    return (
        f"{where}: expected a `listen … ssl` in each server with a login: passwords would be sent "
        "in the clear; nginx_auth_over_http: true allows that"
    )


def _may_have_login(text: str) -> bool:
    return "auth_" in text or _BY_HAND in text.lower() or "include" in text


def _closed(block: Block, around: frozenset[str], https: str) -> Iterator[Block]:
    """The locations of a block that need a login, and do not redirect plain HTTP yet."""
    around = _logins(block, around)
    for inner in block.blocks:
        if inner.name == "location":
            logins = _logins_of(inner, around)
            answers = bool(inner.own("return")) and _BY_HAND not in logins
            if logins and not answers and not _redirects(inner, https):
                yield inner
            yield from _closed(inner, around, https)


def _logins(block: Block, around: frozenset[str]) -> frozenset[str]:
    """The logins in force in a block, by their directives."""
    logins = set(around)
    for words in block.directives:
        if words[0] in LOGINS and len(words) > 1:
            (logins.discard if words[1] == "off" else logins.add)(words[0])
        elif words[0] == "add_header" and words[1:2] and words[1].lower() == _BY_HAND:
            logins.add(_BY_HAND)
    return frozenset(logins)


def _logins_of(location: Block, around: frozenset[str]) -> frozenset[str]:
    """Those of a location: on a condition, or for some methods, too."""
    logins = _logins(location, around)
    for inner in location.blocks:
        if inner.name in ("limit_except", "if"):
            logins |= _logins(inner, frozenset())
    return logins


def _opens(block: Block) -> bool:
    return any(
        (words[0] in LOGINS and words[1:2] == ["off"]) or words[0] == "return"
        for words in block.directives
        if block.name == "location"
    )


def _redirects(location: Block, https: str) -> bool:
    """Whether a location of the formula redirects plain HTTP already."""
    first = location.blocks[0] if location.blocks else None
    return first is not None and first.name == "if" and first.arguments[:1] == [f"({https}"]


def _included(block: Block) -> Iterator[Block]:
    """What a block includes that has blocks of its own."""
    for inner in block.walk():
        for words in inner.own("include"):
            if words:
                yield raw_config.parse(included.text(words[0]))


def _has_login_inside(root: Block) -> bool:
    return any(_logins_of(block, frozenset()) for block in root.walk() if block is not root)


def _has_root(server: Block) -> bool:
    """Whether every request to a server leads to one of its locations."""
    return any(b.name == "location" and b.arguments[-1:] == ["/"] for b in server.blocks)


def _listens_plainly(server: Block) -> bool:
    listens = server.own("listen")
    return not listens or any(not {"ssl", "quic"} & {*words} for words in listens)


def _listens_by_tls(server: Block) -> bool:
    return any("ssl" in words for words in server.own("listen"))


def _own_url(server: Block) -> str:
    """Where a server of the site has its HTTPS; empty if it has none."""
    for words in server.own("listen"):
        if "ssl" in words:
            port = words[0].rpartition(":")[2]
            return f"https://$host{'' if port == '443' else f':{port}'}$request_uri"
    return ""


def _redirect(variable: str, url: str, comparison: str = "") -> list[str]:
    return [f"if ({variable}{comparison}) {{", f"    return 301 {url};", "}"]
