"""Directives of the site for nginx's level ``http`` (``nginx_http_config``), before all servers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from infra_formula.errors import Refused
from infra_formula.portal import raw_config

FILE = "infra-http.conf"
"""Where they are, below ``/etc/nginx``."""

_INSTEAD = {
    "client_max_body_size": "the parameter nginx_client_max_body_size",
    "proxy_connect_timeout": "the parameter nginx_proxy_connect_timeout",
    "proxy_read_timeout": "the parameter nginx_proxy_read_timeout",
    "proxy_send_timeout": "the parameter nginx_proxy_send_timeout",
    "set_real_ip_from": "the parameter nginx_trusted_proxies",
    "real_ip_header": "the parameter nginx_trusted_proxies",
    "real_ip_recursive": "the parameter nginx_trusted_proxies",
    **dict.fromkeys(
        (
            "add_header",
            "proxy_set_header",
            "proxy_hide_header",
            "proxy_ignore_headers",
            "proxy_http_version",
            "proxy_buffering",
            "proxy_request_buffering",
            "proxy_next_upstream",
            "auth_basic",
            "auth_basic_user_file",
            "auth_request",
            "satisfy",
            "underscores_in_headers",
            "ignore_invalid_headers",
        ),
        "an attribute of an entry, or its config: each site sets this itself",
    ),
    "log_not_found": "config of an entry",
}
"""Directives that would have no effect there, or would undo what the portal protects."""

_ADDED = frozenset({"access_log", "include", "log_format", "default_type"})
"""Directives that stand beside those of nginx.conf, and do not replace them."""


def text(settings: Mapping[str, Any]) -> str:
    """``nginx_http_config`` of settings; those of an older release have none."""
    return str(settings.get("nginx_http_config") or "").strip("\n")


def problems(given: str, fault: str | None) -> list[str]:
    """What is wrong with ``nginx_http_config``.

    fault
        What ``entries.config_fault`` says of it.
    """
    if fault:
        return [f"nginx_http_config: expected whole nginx directives, {fault}"]
    block = raw_config.parse(given)
    names = dict.fromkeys(words[0] for words in block.directives)
    return [
        f"nginx_http_config: expected no {name} for all sites; use {_INSTEAD[name]}"
        for name in names
        if name in _INSTEAD
    ]


def log_formats(given: str) -> set[str] | None:
    """Names of the formats of access logs that there are; None if an ``include`` may have more."""
    block = raw_config.parse(given)
    if block.own("include"):
        return None
    return {"combined", *(words[0] for words in block.own("log_format") if words)}


def limit_zones(given: str) -> set[str] | None:
    """Names of its zones of ``limit_req_zone``; None if an ``include`` may have more."""
    block = raw_config.parse(given)
    if block.own("include"):
        return None
    zones = [w for words in block.own("limit_req_zone") for w in words if w.startswith("zone=")]
    return {word[5:].partition(":")[0] for word in zones}


def without_replaced(nginx_conf: str, given: str) -> str:
    """``nginx.conf`` without the directives of its level ``http`` that the site sets otherwise."""
    block = raw_config.parse(given)
    names = {words[0] for words in block.directives} - _ADDED
    lines = nginx_conf.splitlines(keepends=True)
    start = next((i for i, line in enumerate(lines) if line.startswith("http {")), len(lines))
    remaining = [
        line
        for i, line in enumerate(lines)
        if i < start
        or not (match := re.match(r"    ([a-z0-9_]+) .*;$", line.rstrip("\n")))
        or match[1] not in names
    ]
    return "".join(remaining)


def refuse_taken_variables(given: str, shared: str) -> None:
    """Raise Refused if the site defines a variable that the portal defines, and would replace.

    shared
        The portal's own directives of the level ``http``.
    """
    taken = _variables(shared) & _variables(given)
    if taken:
        raise Refused(
            "nginx_http_config: expected variables of other names than "
            f"{', '.join(sorted(taken))}, which the portal defines"
        )


def _variables(given: str) -> set[str]:
    kinds = ("map", "geo", "split_clients")
    blocks = (b for b in raw_config.parse(given).blocks if b.name in kinds)
    return {block.arguments[-1] for block in blocks if block.arguments}
