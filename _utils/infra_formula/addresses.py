"""Addresses of IPv4 and IPv6, as they stand in URLs and are compared."""

from __future__ import annotations

import ipaddress
from typing import Any


def in_url(host: str) -> str:
    """A host as it stands before a port: an IPv6 address in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]" if is_ipv6(host) else host


def is_ipv6(text: Any) -> bool:
    """Whether a value is an IPv6 address, without brackets."""
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False


def canonical(text: Any) -> str:
    """An address in the one form in which it is compared (RFC 5952); another text as it is."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return str(text)
