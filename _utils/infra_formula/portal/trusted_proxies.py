"""Load balancers and CDNs in front of the portal, and what is believed of them.

On the ordinary ports, a trusted proxy says in headers who the visitor is, and whether it was HTTPS.
On the ports of the PROXY protocol it says only the address: what is in the headers of such a
connection comes from the visitor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict


class Visitor(TypedDict):
    """Variables of nginx that say how a visitor reached the portal, or the proxy before it."""

    scheme: str
    https: str
    port: str


def trusted(settings: Mapping[str, Any]) -> list[str]:
    """``nginx_trusted_proxies`` of settings; those of an older release have none."""
    return list(settings.get("nginx_trusted_proxies") or [])


def visitor(settings: Mapping[str, Any]) -> Visitor:
    """The variables to use; nginx's own where nothing is in front of the portal."""
    if trusted(settings):
        return {"scheme": "$visitor_scheme", "https": "$visitor_https", "port": "$proxied_port"}
    return {"scheme": "$scheme", "https": "$https", "port": "$visitor_port_number"}


def ports(settings: Mapping[str, Any]) -> dict[str, int]:
    """The ports of the PROXY protocol, by their parameters."""
    names = ["nginx_proxy_protocol_port"]
    if settings["nginx_sslmode"] != "disable":
        names.append("nginx_proxy_protocol_ssl_port")
    return {name: settings[name] for name in names if settings.get(name)}


def problems(settings: Mapping[str, Any]) -> list[str]:
    """What is wrong with these parameters, each of which has the right type."""
    errors = []
    taken = {settings["nginx_port"]: "nginx_port", settings["nginx_ssl_port"]: "nginx_ssl_port"}
    for name in ("nginx_proxy_protocol_port", "nginx_proxy_protocol_ssl_port"):
        port = settings.get(name)
        if not port:
            continue
        if not trusted(settings):
            errors.append(f"{name}: expected nginx_trusted_proxies beside it, which is empty")
        owner = taken.setdefault(port, name)
        if owner != name:
            errors.append(f"{name}: expected another port than {owner}, got {port}")
    if any(network in ("0.0.0.0/0", "::/0") for network in trusted(settings)):
        errors.append(
            "nginx_trusted_proxies: expected the addresses of proxies; every visitor would be "
            "believed"
        )
    return errors


def header(settings: Mapping[str, Any]) -> str:
    """What nginx's ``real_ip_header`` is."""
    if ports(settings):
        return "proxy_protocol"
    return str(settings.get("nginx_real_ip_header") or "X-Forwarded-For")
