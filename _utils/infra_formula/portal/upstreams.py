"""Upstreams: addresses, which are fixed, and names, which nginx resolves while it runs.

nginx resolves a name in an ``upstream`` block or in ``proxy_pass`` once, when it reads its
configuration, and refuses to start if that fails. So one name without an answer would keep a whole
portal from starting. A name is therefore written in a form that nginx's ``resolver`` looks up:

* with nginx 1.27.3 or later, as ``server NAME resolve`` in the ``upstream`` block;
* before, a single endpoint as ``proxy_pass`` with a variable;
* before, one of several as a relay: a server of this nginx on an address of its own in 127.0.0.0/8
  hands requests on by such a ``proxy_pass``, and the ``upstream`` block names that address.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict

from infra_formula.dns import records, resolver
from infra_formula.portal import hosts

RESOLVE_PARAMETER = (1, 27, 3)
"""From this version of nginx on, a ``server`` of an upstream may have ``resolve``."""
AT_RUN_TIME = "$at_run_time"
"""An empty variable: nginx resolves the name in a ``proxy_pass`` with a variable at run time."""

_HOSTS_FILE = Path("/etc/hosts")
_LOOKUP_SECONDS = 3.0
_LOOKUPS = 32  # at a time


class NameService(TypedDict):
    """How nginx is to resolve names.

    servers
        Name servers, ``address`` or ``address:port``, IPv6 in brackets.
    ipv6
        Whether addresses of IPv6 are of use on this machine.
    hosts
        Names in ``/etc/hosts``, which nginx reads by itself when it starts.
    search
        Domains that complete a name without a dot.
    """

    servers: list[str]
    ipv6: bool
    hosts: list[str]
    search: list[str]


class Member(TypedDict):
    """One endpoint in an upstream block.

    address
        What stands behind ``server``.
    resolve
        Whether it is a name that nginx resolves at run time.
    """

    address: str
    resolve: bool


class Relay(TypedDict):
    """A server of this nginx that hands requests on to an endpoint whose name may change.

    address
        Its own address on loopback.
    target
        What stands behind ``http://`` or ``https://`` in its ``proxy_pass``.
    """

    address: str
    target: str


class Upstream(TypedDict):
    """How an entry's endpoints are reached.

    target
        What stands behind ``http://`` in ``proxy_pass``.
    members
        The upstream block; empty if there is none.
    relays
        See :class:`Relay`. If there are any, requests to them are plain HTTP.
    resolver
        Whether the server needs a ``resolver``.
    """

    target: str
    members: list[Member]
    relays: list[Relay]
    resolver: bool


def name_service(settings: Mapping[str, Any]) -> NameService:
    """How this machine resolves names, by its ``resolv.conf`` and ``/etc/hosts``.

    Of several name servers, glibc queries the first that answers, nginx each in turn. So if some of
    them are the site's, which know its names, only those count.
    """
    text = _read(resolver.RESOLV_CONF)
    servers = resolver.nameservers(text) or ["127.0.0.1"]
    own = {*settings["addresses"], settings["own_address"], *settings.get("own_addresses", [])}
    site_servers = [s for s in servers if s in own]
    search: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if words and words[0] in ("search", "domain"):
            search = [word.rstrip(".") for word in words[1:]]
    names = {
        word.lower()
        for line in _read(_HOSTS_FILE).splitlines()
        for word in line.split("#", 1)[0].split()[1:]
    }
    return {
        "servers": [f"[{s}]" if ":" in s else s for s in (site_servers or servers) if "%" not in s],
        "ipv6": any(_is_global_ipv6(a) for a in settings.get("own_addresses", [])),
        "hosts": sorted(names | {"localhost"}),
        "search": [domain for domain in search if records.name_problem(domain) is None],
    }


def run_time_name(endpoint: str, settings: Mapping[str, Any], service: NameService) -> str | None:
    """``name:port`` that nginx has to resolve at run time; None for an address, a socket, or a name
    of ``/etc/hosts``.

    A name without a dot gets the domain that this machine would complete it with.
    """
    host, _, port = endpoint.rpartition(":")
    if endpoint.startswith("unix:") or hosts.address(host) is not None:
        return None
    name = host.lower().rstrip(".")
    if name in service["hosts"] or host in service["hosts"]:
        return None
    if "." in name or not service["search"] or _is_of_the_site(name, settings):
        return f"{host}:{port}"
    candidates = [f"{name}.{domain}" for domain in service["search"]]
    names = _resolvable([*candidates, name]) if len(candidates) > 1 else candidates
    return f"{next((n for n in [*candidates, name] if n in names), candidates[0])}:{port}"


def upstream(
    key: str,
    endpoints: list[str],
    settings: Mapping[str, Any],
    service: NameService,
    version: Iterable[int],
    *,
    tls: bool = False,
    is_named_elsewhere: Callable[[], bool] = lambda: False,
) -> Upstream:
    """How the endpoints of an upstream are written.

    key
        Name of the upstream.
    endpoints
        ``host:port`` or ``unix:/path``, at least one.
    version
        Of nginx.
    tls
        Whether requests are HTTPS. Then all go through a relay, if one does.
    is_named_elsewhere
        Whether raw directives refer to the upstream by its name, so that it needs a block.
    """
    names = [run_time_name(endpoint, settings, service) for endpoint in endpoints]
    members: list[Member] = [
        {"address": name or endpoint, "resolve": name is not None}
        for endpoint, name in zip(endpoints, names, strict=True)
    ]
    if not any(names):
        return {"target": key, "members": members, "relays": [], "resolver": False}
    if tuple(version) >= RESOLVE_PARAMETER:
        return {"target": key, "members": members, "relays": [], "resolver": False}
    if len(endpoints) == 1 and not is_named_elsewhere():
        target = f"{names[0]}{AT_RUN_TIME}"
        return {"target": target, "members": [], "relays": [], "resolver": True}
    relays: list[Relay] = []
    for member in members:
        if member["resolve"] or tls:
            address = f"{_loopback(key, member['address'])}:{settings['nginx_port']}"
            suffix = AT_RUN_TIME if member["resolve"] else ""
            relays.append({"address": address, "target": f"{member['address']}{suffix}"})
            member["address"], member["resolve"] = address, False
    return {"target": key, "members": members, "relays": relays, "resolver": True}


def _loopback(key: str, endpoint: str) -> str:
    """An address in 127.64.0.0/10 that belongs to an endpoint of an upstream."""
    number = zlib.crc32(f"{key} {endpoint}".encode())
    return f"127.{64 + number % 64}.{number // 64 % 256}.{1 + number // 16384 % 254}"


def unresolved(endpoints: Iterable[str], settings: Mapping[str, Any]) -> set[str]:
    """Those of some endpoints whose name has no address at present.

    All names are looked up at once, for three seconds at most; what has no answer by then counts as
    unresolved.
    """
    service = name_service(settings)
    names = {
        endpoint: name.rpartition(":")[0]
        for endpoint in endpoints
        if (name := run_time_name(endpoint, settings, service)) is not None
    }
    resolvable = _resolvable(set(names.values()))
    return {endpoint for endpoint, name in names.items() if name not in resolvable}


def _resolvable(names: Iterable[str]) -> set[str]:
    resolvable: set[str] = set()

    def look_up(name: str) -> None:
        try:
            socket.getaddrinfo(f"{name.rstrip('.')}.", None, type=socket.SOCK_STREAM)
        except (OSError, ValueError):
            return
        resolvable.add(name)

    def work() -> None:
        with contextlib.suppress(IndexError):
            while True:
                look_up(waiting.pop())

    # Daemon threads: a name server that does not answer holds nothing up beyond the deadline.
    waiting = sorted(set(names))
    threads = [threading.Thread(target=work, daemon=True) for _ in waiting[:_LOOKUPS]]
    deadline = time.monotonic() + _LOOKUP_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return set(resolvable)


def _is_of_the_site(name: str, settings: Mapping[str, Any]) -> bool:
    parsed, _errors = records.parse(settings.get("dns_records") or [], settings["admin_ip"])
    return any(name in record["names"] for record in parsed)


def _is_global_ipv6(text: str) -> bool:
    parsed = hosts.address(text) if ":" in text else None
    return parsed is not None and not (parsed.is_loopback or parsed.is_link_local)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def is_named(key: str, texts: Iterable[str]) -> bool:
    """Whether raw directives pass requests to an upstream by its name."""
    pattern = re.compile(rf"_pass\s+[\"']?(?:\w+://)?{re.escape(key)}(?=[/;\s\"'])", re.IGNORECASE)
    return any(pattern.search(text) for text in texts)
