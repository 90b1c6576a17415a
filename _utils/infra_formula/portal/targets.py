"""What is wrong with what answers in an entry: attributes that do not go together, or do nothing.

Types are valid already (see portal/attributes.py).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from infra_formula.parameters import schema
from infra_formula.portal import endpoints, locations
from infra_formula.portal.hosts import Settings
from infra_formula.portal.locations import Location

_HOST = re.compile(r"[A-Za-z0-9._:$\[\]-]{1,255}")
_HEADER = re.compile(r"[A-Za-z0-9_-]{1,100}")
_KEY = re.compile(r"[A-Za-z0-9_$.:/?=&-]{1,200}")
_BUFFERS = re.compile(r"[1-9][0-9]{0,3} [1-9][0-9]{0,8}[kKmM]?")
_TO = re.compile(
    r"(?:https?://[A-Za-z0-9.:\[\]-]+)?(?:/[A-Za-z0-9/._@%+=:,~?&#-]*)?(\$request_uri)?"
)
_ASKED_AGAIN = frozenset(
    [
        "error",
        "timeout",
        "invalid_header",
        "http_500",
        "http_502",
        "http_503",
        "http_504",
        "http_403",
        "http_404",
        "http_429",
        "non_idempotent",
        "off",
    ]
)
_HEADERS_OF_ATTRIBUTES = {
    "host": "host",
    "upgrade": "websocket",
    "connection": "websocket",
}
_HEADERS_OF_HTTP = ("content-length", "transfer-encoding", "te", "trailer")

NEEDS_ENDPOINT = frozenset(
    [
        "balance",
        "host",
        "proxy_set_header",
        "proxy_next_upstream",
        "proxy_buffering",
        "proxy_buffer_size",
        "proxy_request_buffering",
        "proxy_cache",
        "proxy_http_version",
        "strip_prefix",
    ]
)
"""Attributes that do nothing where no endpoint answers."""
_NOT_GRPC = (
    "websocket",
    "proxy_buffering",
    "proxy_cache",
    "proxy_http_version",
    "proxy_request_buffering",
)
_NOT_HOME = ("endpoint", "spa", "redirect", "maintenance", *sorted(NEEDS_ENDPOINT))


def problems(key: str, path: str, entry: dict[str, Any], settings: Settings) -> Iterator[str]:
    """Errors in the combination of an entry's attributes, and of those of its locations."""
    if "conf" in entry:
        yield from endpoints.problems(path, entry)
        return
    if key == "home":
        for attribute in _NOT_HOME:
            if attribute != "endpoint" and attribute in entry:
                yield f"{path}.{attribute}: expected an entry of its own, or a location of home"
    all_locations = locations.of_entry(entry)
    yield from _keys(path, entry)
    yield from _values(path, entry, settings)
    for location in all_locations:
        where = schema.join(f"{path}.locations", location.key) if location.number else path
        if location.number:
            yield from _values(where, location.own, settings)
        yield from _of_location(key, where, location)
    targets = [_target(location.attributes) for location in all_locations]
    if "domain" in entry or key == "home":
        for attribute in sorted(NEEDS_ENDPOINT & set(entry)):
            if "proxy" not in targets and key != "home":
                yield f"{path}.{attribute}: expected an endpoint that it is about"
    if entry.get("spa") and "path" not in entry and key != "home":
        yield f"{path}.spa: expected a path, the directory of the application"
    yield from _redirect(path, entry)
    yield from _server(path, entry)


def _target(attributes: dict[str, Any]) -> str:
    """What answers: ``redirect``, ``static``, ``proxy``, or nothing."""
    redirect = attributes.get("redirect")
    if redirect is not None and not (isinstance(redirect, dict) and "names" in redirect):
        return "redirect"
    if "path" in attributes:
        return "static"
    return "proxy" if "endpoint" in attributes else ""


def _keys(path: str, entry: dict[str, Any]) -> Iterator[str]:
    seen: dict[tuple[str, str], str] = {}
    for key, own in entry.get("locations", {}).items():
        where = schema.join(f"{path}.locations", key)
        match = locations.parse(key)
        if match is None:
            yield (
                f"{where}: expected a path as a server sees it (no %, //, /./, ..), like /api, "
                "= /api, ^~ /api, ~ REGEX or ~* REGEX"
            )
            continue
        same = ("", match.text) if match.is_prefix else (match.modifier, match.text)
        other = seen.setdefault(same, key)
        if other != key:
            yield f"{where}: expected another path than that of {other!r}"
        if match.is_prefix and (
            entry.get("certbot") and match.text.startswith("/.well-known/acme-challenge")
        ):
            yield f"{where}: expected another path: certbot has this one"
        if own.get("strip_prefix") and not match.is_prefix:
            yield f"{where}.strip_prefix: expected a path without =, ~ or ~*"
        if isinstance(own.get("redirect"), dict) and "names" in own["redirect"]:
            yield f"{where}.redirect.names: expected it in the redirect of the entry"


def _of_location(key: str, where: str, location: Location) -> Iterator[str]:
    attributes, own = location.attributes, location.own
    target = _target(attributes)
    if location.number and not target and key != "home":
        yield f"{where}: expected an endpoint, a path or a redirect, of its own or of its entry"
    if len(set(own) & {"endpoint", "path", "redirect"}) > 1:
        yield f"{where}: expected one of endpoint, path and redirect"
    if location.number and target != "proxy":
        for attribute in sorted(NEEDS_ENDPOINT & set(own)):
            yield f"{where}.{attribute}: expected an endpoint that it is about"
    if own.get("spa") and (target != "static" or not location.match.is_prefix):
        yield f"{where}.spa: expected a path, the directory of the application"
    if target == "proxy":
        yield from _of_proxy(where, attributes, own if location.number else attributes)


def _of_proxy(where: str, attributes: dict[str, Any], own: dict[str, Any]) -> Iterator[str]:
    yield from endpoints.problems(where, attributes)
    is_grpc = attributes.get("scheme") in ("grpc", "grpcs")
    for attribute in _NOT_GRPC:
        if is_grpc and own.get(attribute):
            yield f"{where}.{attribute}: expected a scheme other than {attributes['scheme']}"
    cache = attributes.get("proxy_cache")
    if cache not in (None, False) and attributes.get("proxy_buffering") is False:
        yield f"{where}.proxy_buffering: expected true, or nothing, beside proxy_cache"
    version = str(attributes.get("proxy_http_version", "1.1"))
    if version != "1.1" and attributes.get("websocket"):
        yield f"{where}.proxy_http_version: expected 1.1 beside websocket, got {version}"


def _values(where: str, attributes: dict[str, Any], settings: Settings) -> Iterator[str]:
    """Errors in values that have to stand in nginx's configuration."""
    host = attributes.get("host")
    if host is not None and not _HOST.fullmatch(host):
        yield f"{where}.host: expected a name, an address or a variable of nginx, got {host!r}"
    if isinstance(attributes.get("proxy_http_version"), bool):
        yield f"{where}.proxy_http_version: expected 1.0, 1.1 or 2, got a boolean"
    for name in attributes.get("proxy_set_header", {}):
        here = schema.join(f"{where}.proxy_set_header", name)
        if not _HEADER.fullmatch(name):
            yield f"{here}: expected the name of a header"
        elif name.lower() in _HEADERS_OF_ATTRIBUTES:
            yield f"{here}: expected the attribute {_HEADERS_OF_ATTRIBUTES[name.lower()]} instead"
        elif name.lower() in _HEADERS_OF_HTTP:
            yield f"{here}: expected a header that nginx does not need itself"
    again = attributes.get("proxy_next_upstream")
    if again is not None and not (again.split() and set(again.split()) <= _ASKED_AGAIN):
        words = ", ".join(sorted(set(again.split()) - _ASKED_AGAIN))
        yield f"{where}.proxy_next_upstream: expected words of nginx's directive, got {words!r}"
    size = attributes.get("proxy_buffer_size")
    if size is not None and not re.fullmatch(
        r"[1-9][0-9]{2,8}|[1-9][0-9]{0,4}[kK]|[1-9][0-9]{0,1}[mM]", str(size)
    ):
        yield f"{where}.proxy_buffer_size: expected a size from 100 to 99m, like 32k, got {size!r}"
    if attributes.get("expires") is True:
        yield f"{where}.expires: expected a duration, max, epoch, -1 or off, got true"
    cache = attributes.get("proxy_cache")
    if isinstance(cache, dict) and not _KEY.fullmatch(cache.get("key", "$uri")):
        yield f"{where}.proxy_cache.key: expected variables of nginx, got {cache['key']!r}"
    scheme = attributes.get("scheme", "")
    if scheme.startswith("grpc") and settings["nginx_sslmode"] == "disable":
        yield f"{where}.scheme: expected nginx_sslmode other than disable: gRPC needs HTTP/2"


def _redirect(path: str, entry: dict[str, Any]) -> Iterator[str]:
    for where, attributes in (
        (path, entry),
        *(
            (schema.join(f"{path}.locations", key), own)
            for key, own in entry.get("locations", {}).items()
        ),
    ):
        redirect = attributes.get("redirect")
        if redirect is None:
            continue
        here = f"{where}.redirect"
        rule = redirect if isinstance(redirect, dict) else {"to": redirect}
        to = rule.get("to")
        if to is None and "names" not in rule:
            yield f"{here}.to: missing"
        elif to is not None and (not to or to.startswith("//") or not _TO.fullmatch(to)):
            yield f"{here}: expected a URL or a path, got {to!r}"
        if attributes is entry:
            yield from _redirected_names(path, entry, rule)


def _redirected_names(path: str, entry: dict[str, Any], rule: dict[str, Any]) -> Iterator[str]:
    own = [name.lower() for name in (entry.get("domain", ""), *entry.get("domains", []))]
    names = [name.lower() for name in rule.get("names", own)]
    for name in names:
        if name not in own:
            yield f"{path}.redirect.names: expected names of the entry, got {name!r}"
    if "names" in rule:
        if set(names) >= set(own):
            yield f"{path}.redirect.names: expected fewer than all names of the entry"
        elif not {"endpoint", "path", "locations"} & set(entry):
            yield f"{path}: expected an endpoint or a path for the names that are not redirected"
    else:
        for attribute in ("endpoint", "path"):
            if attribute in entry:
                yield f"{path}.{attribute}: expected none beside a redirect without names"
    to = rule.get("to") or (f"https://{own[0]}" if "to" not in rule else "")
    target = urlsplit(to)
    if target.hostname in names and (
        "names" in rule or not target.path.strip("/") or "$request_uri" in to
    ):
        yield f"{path}.redirect.to: expected another name than those that are redirected"


def _server(path: str, entry: dict[str, Any]) -> Iterator[str]:
    buffers = entry.get("large_client_header_buffers")
    if isinstance(buffers, str) and " " in buffers and not _BUFFERS.fullmatch(buffers):
        yield f"{path}.large_client_header_buffers: expected a size, or a number and a size"
    elif (
        buffers is not None
        and " " not in str(buffers)
        and not re.fullmatch(r"[1-9][0-9]{2,8}|[1-9][0-9]{0,8}[kKmM]", str(buffers))
    ):
        yield f"{path}.large_client_header_buffers: expected a size like 32k, got {buffers!r}"
    maintenance = entry.get("maintenance")
    for i, address in enumerate(
        maintenance.get("allow", []) if isinstance(maintenance, dict) else []
    ):
        try:
            ipaddress.ip_network(address, strict=False)
        except ValueError:
            where = f"{path}.maintenance.allow[{i}]"
            yield f"{where}: expected an address or a network, got {address!r}"
