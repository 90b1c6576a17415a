"""Endpoints of an entry or of one of its locations: one, a list, or dictionaries with a weight."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from infra_formula.addresses import in_url

_ADMIN_IP = "${admin_ip}"
_BALANCE = re.compile(r"least_conn|ip_hash|random|hash [\w$.:/-]{1,200}(?: consistent)?")


def servers(value: Any) -> list[dict[str, Any]]:
    """Endpoints as dictionaries with an ``address``; what is none is left out."""
    values = value if isinstance(value, list) else [value]
    endpoints = [{"address": v} if isinstance(v, str) else v for v in values]
    return [v for v in endpoints if isinstance(v, dict) and isinstance(v.get("address"), str)]


def addresses(value: Any) -> list[str]:
    """``host:port`` or ``unix:/path`` of each endpoint."""
    return [server["address"] for server in servers(value)]


def expand(value: Any, admin_ip: str) -> Any:
    """Replace ``${admin_ip}`` in endpoints; anything else is left as it is."""
    if isinstance(value, str):
        return value.replace(_ADMIN_IP, in_url(admin_ip))
    if isinstance(value, list):
        return [expand(v, admin_ip) for v in value]
    if isinstance(value, dict) and "address" in value:
        return {**value, "address": expand(value["address"], admin_ip)}
    return value


def problems(where: str, attributes: dict[str, Any]) -> Iterator[str]:
    """Errors in endpoints whose types are valid, and in how they are balanced."""
    value = attributes.get("endpoint")
    if value == []:
        yield f"{where}.endpoint: expected at least one endpoint, got []"
    balance = attributes.get("balance")
    if balance is not None and not _BALANCE.fullmatch(balance):
        yield (
            f"{where}.balance: expected least_conn, ip_hash, random, hash KEY or hash KEY "
            f"consistent, got {balance!r}"
        )
    backups = [server.get("backup", False) for server in servers(value)]
    if any(backups) and all(backups):
        yield f"{where}.endpoint: expected an endpoint without backup beside those with it"
    if any(backups) and balance and balance != "least_conn":
        yield f"{where}.balance: expected none, or least_conn, beside an endpoint with backup"


def parameters(server: dict[str, Any], is_only: bool) -> str:
    """What follows an address in nginx's ``server``: a single endpoint is never left out."""
    weight = f"weight={server['weight']} " if "weight" in server else ""
    backup = " backup" if server.get("backup") else ""
    if is_only and not {"max_fails", "fail_timeout"} & set(server):
        return f"{weight}max_fails=0{backup}"
    fails, timeout = server.get("max_fails", 1), server.get("fail_timeout", "10s")
    return f"{weight}max_fails={fails} fail_timeout={timeout}{backup}"
