"""What an endpoint of the portal leads to: this machine, an INFRA node, or another one.

A machine has many names. One function decides, for all of them and each form of an address.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from infra_formula.dns import records
from infra_formula.portal import endpoints, locations, raw_config

Settings = dict[str, Any]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_HAS_LOGIN = ("grafana",)  # its own login page, so portal_auth adds none


@lru_cache(maxsize=4096)
def address(host: str) -> Address | None:
    """The address that a host of an endpoint is, in one form; None for a name.

    IPv6 forms of an IPv4 address are that address, as are the forms that the resolver of the C
    library takes for one (``0x7f.1``, ``2130706433``).
    """
    host = host.strip("[]").rstrip(".")
    try:
        parsed: Address = ipaddress.ip_address(host)
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host)) if host else None
        except (OSError, ValueError):
            return None
    if isinstance(parsed, ipaddress.IPv6Address):
        number = int(parsed)
        if parsed.ipv4_mapped:
            return parsed.ipv4_mapped
        if parsed in _NAT64 or (parsed in _COMPATIBLE and number > 1):
            return ipaddress.IPv4Address(number & 0xFFFFFFFF)
    return parsed


def with_portal(portal: dict[Any, Any], settings: Settings) -> Settings:
    """Settings with the names of a portal, and with what its upstreams lead to."""
    entries = {k: v for k, v in portal.items() if isinstance(k, str) and isinstance(v, dict)}
    names: list[Any] = []
    for entry in entries.values():
        more = entry.get("domains")
        names += [entry.get("domain"), *(more if isinstance(more, list) else [])]
    upstreams = {
        locations.upstream_name(key, location.number): endpoints.addresses(
            location.attributes.get("endpoint", [])
        )
        for key, entry in entries.items()
        for location in locations.of_entry(entry)
    }
    return {
        **settings,
        "portal_names": [name for name in names if isinstance(name, str)],
        "portal_upstreams": upstreams,
    }


CONFIG_HASH_NAME = "generation.infra.localhost"
"""Server name under which the running nginx answers with the hash of its configuration."""
ACME_NAME = "acme.infra.localhost"
"""Server name under which the INFRA nodes ask each other for the challenges of certbot."""


def is_this_node(host: str, settings: Settings) -> bool:
    """Whether a host of an endpoint is known to be this machine."""
    own = {settings.get("own_address"), *settings.get("own_addresses", [])}
    names = {"localhost", *map(_folded, settings.get("own_names", []))}
    return _folded(host) in names or any(
        a.is_loopback or a.is_unspecified or a in _addresses(own)
        for a in _known_addresses(host, settings)
    )


def leads_to_tool(entry: dict[str, Any], settings: Settings) -> bool:
    """Whether an entry hands requests to a program of an INFRA node that has no login of its own.

    Its endpoints count, and what its raw directives pass requests to. A name of which nobody knows
    the addresses counts as an INFRA node's.
    """
    ports = _tool_ports(settings)
    targets = endpoints.addresses(entry.get("endpoint", []))
    config = entry.get("config")
    if isinstance(config, str) and "_pass" in config:
        targets = [*targets, *_raw_targets(config, settings)]
    for target in targets:
        target = target.replace("${admin_ip}", settings["admin_ip"])
        host, _, port = target.rpartition(":")
        if port in ports and not target.startswith("unix:") and _may_be_infra_node(host, settings):
            return True
    return False


def _tool_ports(settings: Settings) -> set[str]:
    ports = {
        name: component["port"]
        for name, component in settings["components"].items()
        if component["port"] is not None
    }
    ports.update(settings.get("tool_ports", {}))
    return {str(port) for name, port in ports.items() if name not in _HAS_LOGIN}


def _raw_targets(config: str, settings: Settings) -> list[str]:
    """``host:port`` of what raw directives pass requests to."""
    targets: list[str] = []
    for block in raw_config.parse(config).walk():
        for words in block.directives:
            if not words[0].endswith("_pass") or len(words) < 2:
                continue
            scheme, _, rest = words[1].rpartition("://")
            place = rest.partition("/")[0]
            if place in settings.get("portal_upstreams", {}):
                targets += settings["portal_upstreams"][place]
            elif place.rpartition("]")[2].count(":") == 1:
                targets.append(place)
            else:
                targets.append(f"{place}:{443 if scheme in ('https', 'grpcs') else 80}")
    return targets


def _may_be_infra_node(host: str, settings: Settings) -> bool:
    if "$" in host:  # a variable of nginx
        return True
    name = _folded(host)
    names = (
        *settings.get("own_names", []),
        *settings.get("infra_names", []),
        *settings.get("portal_names", []),
        "localhost",
    )
    for known in map(_folded, names):
        if name == known or (known.startswith("*.") and name.endswith(known[1:])):
            return True
    infra_nodes = _addresses(
        [
            settings["admin_ip"],
            settings.get("own_address"),
            *settings["addresses"],
            *settings.get("own_addresses", []),
        ]
    )
    addresses = _known_addresses(host, settings) or _resolved(name, int(time.monotonic() // 60))
    if not addresses:
        return True
    return any(a.is_loopback or a.is_unspecified or a in infra_nodes for a in addresses)


def _known_addresses(host: str, settings: Settings) -> list[Address]:
    """The addresses of a host: itself, or those that ``dns_records`` has for it."""
    literal = address(host)
    if literal is not None:
        return [literal]
    name = _folded(host)
    parsed, _errors = records.parse(settings.get("dns_records") or [], settings["admin_ip"])
    return list(_addresses(r["address"] for r in parsed if name in map(_folded, r["names"])))


def _addresses(values: Iterable[Any]) -> set[Address]:
    return {parsed for value in values if value and (parsed := address(str(value))) is not None}


def _folded(name: Any) -> str:
    return str(name).lower().rstrip(".")


@lru_cache(maxsize=1024)
def _resolved(name: str, _minute: int) -> tuple[Address, ...]:
    """The addresses that this machine finds for a name (``/etc/hosts``, DNS), as nginx does."""
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return ()
    texts = {str(row[4][0]).partition("%")[0] for row in answers}
    return tuple(a for text in sorted(texts) if (a := address(text)) is not None)
