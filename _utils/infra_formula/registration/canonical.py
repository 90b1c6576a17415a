"""Addresses and names in one form each: what is compared, and what is written, is canonical."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from infra_formula.dns import records as dns_records

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
_REFUSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # this machine
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, and the metadata of clouds
        "100.100.100.200/32",  # metadata: Alibaba
        "168.63.129.16/32",  # metadata: Azure
        "192.0.0.192/32",  # metadata: Oracle
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",  # unspecified, loopback, IPv4-compatible
        "64:ff9b::/96",  # NAT64: another way to write an IPv4 address
        "64:ff9b:1::/48",
        "2001::/32",  # Teredo
        "2002::/16",  # 6to4
        "fe80::/10",
        "fec0::/10",
        "fd00:ec2::254/128",  # metadata: AWS
        "fd20:ce::254/128",  # metadata: Google
        "ff00::/8",
    )
)


def address(text: Any) -> Address | None:
    """An address; None for what is none. An IPv4 address mapped into IPv6 is the IPv4 address."""
    if not isinstance(text, str) or "%" in text:
        return None
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def host_address(text: Any) -> str | None:
    """The address of a machine in its canonical form; None if the value is not one.

    Loopback, link-local, multicast, unspecified and reserved addresses are refused, and those at
    which clouds serve metadata: an INFRA node that took one from a minion would scrape, or show,
    itself. So are forms of IPv6 that hide an IPv4 address.
    """
    return _host_address(text) if isinstance(text, str) else None


@lru_cache(maxsize=50_000)  # each is compared several times
def _host_address(text: str) -> str | None:
    parsed = address(text)
    return None if parsed is None or is_in(parsed, _REFUSED) else str(parsed)


def networks(texts: Iterable[Any]) -> list[Network]:
    """Networks; what is none is left out, and is reported by the pillar validation."""
    out: list[Network] = []
    for text in texts:
        try:
            out.append(ipaddress.ip_network(text))
        except (ValueError, TypeError):
            continue
    return out


def is_in(candidate: Address, some: Iterable[Network]) -> bool:
    """Whether an address is in one of some networks."""
    return any(candidate.version == network.version and candidate in network for network in some)


def is_name(value: Any) -> bool:
    """Whether a value is a valid id, instance, cluster or publisher name."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None and ".." not in value


def name(value: str) -> str:
    """A name as it is compared: nginx, DNS and some file systems ignore case."""
    return value.lower().rstrip(".")


def is_dns_name(value: Any) -> bool:
    """Whether a value is a valid DNS name for a record, in its canonical form."""
    return (
        isinstance(value, str)
        and dns_records.name_problem(value) is None
        and value == name(value)
        and not value.startswith(".")
    )
