"""Entries of a valid portal as its templates see them: every attribute with its default."""

from __future__ import annotations

import re
from typing import Any

from infra_formula.portal import entries, hosts, named_certificates
from infra_formula.portal.entries import Settings

View = dict[str, Any]

CERTIFICATE_DIR = "conf.d/cert"
_HSTS_DEFAULT = 31536000  # one year, as in RFC 6797's examples and for the preload list


def views(portal: dict[str, Any], settings: Settings) -> dict[str, View]:
    """Complete the entries of a valid ``infra_portal``, in their order.

    ``home`` is added if it is missing. Entries without a domain have the ``kind`` ``unserved``.
    """
    portal = portal if "home" in portal else {"home": {}, **portal}
    settings = hosts.with_portal(portal, settings)
    return {
        key: _view(key, entries.expand(entry, settings["admin_ip"]), settings)
        for key, entry in portal.items()
    }


def served(portal: dict[str, Any], settings: Settings) -> dict[str, View]:
    """:func:`views` of the entries that nginx serves."""
    return {k: v for k, v in views(portal, settings).items() if v["kind"] != "unserved"}


def _view(key: str, entry: dict[str, Any], settings: Settings) -> View:
    home = key == "home"
    kind = _kind(key, entry)
    domain = entry.get("domain", entries.HOME_DOMAIN if home else "").lower()
    tls = settings["nginx_sslmode"] != "disable"
    auth = entries.auth_method(key, entry, settings)
    path_auth = (settings["portal_auth"] or "basic") if entry.get("auth_paths") else ""
    # The home page stays on plain HTTP unless its entry asks otherwise: package managers fetch
    # from it. But no password, and no cookie in its place, is sent in the clear.
    closed = "oidc" in (auth, path_auth) or bool(settings["portal_auth"] and (auth or path_auth))
    enforced = closed or (settings["nginx_sslmode"] == "enforce" and not home)
    hsts = entry.get("hsts", False)
    stem = domain.replace("*", "_")
    cert = entry.get("cert", f"{CERTIFICATE_DIR}/{stem}.crt")
    cert_key = entry.get("key", f"{CERTIFICATE_DIR}/{stem}.key")
    named = "cert" in entry and named_certificates.is_name(cert)
    if named:
        cert, cert_key = named_certificates.paths(cert)
    view = {
        "key": key,
        "kind": kind,
        "domain": domain,
        "names": [domain, *(name.lower() for name in entry.get("domains", []))],
        "tls": tls,
        "redirect": tls and entry.get("enforce_https", enforced),
        "endpoints": [_prefer_loopback(e, settings) for e in entries.endpoints(entry)],
        "scheme": entry.get("scheme", "http"),
        "websocket": entry.get("websocket", False),
        "path": entry.get("path", settings["nginx_home"] if home else ""),
        "index": entry.get("index", home),
        "auth": auth,
        "path_auth": path_auth,
        # Broad where it closes: /admin is /Admin and /admin.json too. Narrow where it opens.
        "auth_paths": [f"^{re.escape(p.rstrip('/'))}" for p in entry.get("auth_paths", [])],
        "open_paths": [_below(p) for p in entry.get("open_paths", [])],
        "realm": entry.get("realm", "Pigsty Home Auth" if home else f"Auth {key}"),
        "cert": cert,
        "cert_key": cert_key,
        "own_cert": "cert" in entry,
        "named_cert": named,
        "cert_stem": stem,
        "certbot": entry.get("certbot", ""),
        "log": entry.get("log", _log(key, kind, entry)),
        "log_format": entry.get("log_format") or settings.get("nginx_log_format") or "combined",
        "limit_req": _limit(key, entry.get("limit_req")),
        "config": entry.get("config", "").strip("\n"),
        "conf": entry.get("conf", ""),
        "hsts": _HSTS_DEFAULT if hsts is True else int(hsts),
        "accel_redirect": entry.get("accel_redirect", False),
        "proxy_ssl_verify": entry.get("proxy_ssl_verify", False),
        "proxy_ssl_trusted_certificate": entry.get(
            "proxy_ssl_trusted_certificate", settings["ca_bundle"]
        ),
        "given": entry,
    }
    view["proxy_ssl_name"] = entry.get("proxy_ssl_name", _tls_name(view))
    for attribute in (
        "client_max_body_size",
        "proxy_connect_timeout",
        "proxy_read_timeout",
        "proxy_send_timeout",
    ):
        view[attribute] = entry.get(attribute, settings[f"nginx_{attribute}"])
    return view


def _prefer_loopback(endpoint: str, settings: Settings) -> str:
    """The endpoint on loopback, if only this node itself may reach that port."""
    host, _, port = endpoint.rpartition(":")
    if port not in map(str, settings["closed_ports"]) or host in ("127.0.0.1", "localhost"):
        return endpoint
    return f"127.0.0.1:{port}" if hosts.is_this_node(host, settings) else endpoint


def _log(key: str, kind: str, entry: dict[str, Any]) -> str:
    """Where an entry without a ``log`` logs; empty: where nginx logs by itself."""
    if kind == "proxy":
        return f"{key}.log"
    return "access.log" if "log_format" in entry else ""


def _limit(key: str, limit: dict[str, Any] | None) -> dict[str, Any] | None:
    """``limit_req`` of an entry as nginx has it: ``zone``, ``rate``, ``arguments``, ``status``."""
    if limit is None:
        return None
    zone = limit.get("zone", f"limit_{key}")
    words = [f"zone={zone}"]
    words += [f"burst={limit['burst']}"] if "burst" in limit else []
    words += [f"delay={limit['delay']}"] if "delay" in limit else []
    words += ["nodelay"] if limit.get("nodelay") else []
    return {
        "zone": zone,
        "rate": limit.get("rate"),
        "arguments": " ".join(words),
        "status": limit.get("status", 429),
    }


def _below(path: str) -> str:
    """nginx's regex for a path and what is below it; only the latter if it ends in a slash."""
    return f"^{re.escape(path)}" if path.endswith("/") else f"^{re.escape(path)}(?:/|$)"


def _kind(key: str, entry: dict[str, Any]) -> str:
    """Which template serves an entry; the first that matches, in Pigsty's order."""
    if key != "home" and "domain" not in entry:
        return "unserved"
    if "conf" in entry:
        return "custom"
    if key == "home":
        return "home"
    return "static" if "path" in entry else "proxy"


def _tls_name(view: View) -> str:
    """The TLS server name of an HTTPS upstream: its host name, or else the entry's domain."""
    first = view["endpoints"][0] if view["endpoints"] else ""
    host = first.rpartition(":")[0]
    is_name = re.fullmatch(r"[A-Za-z0-9._-]*[A-Za-z][A-Za-z0-9._-]*", host)
    return host if is_name and not first.startswith("unix:") else view["domain"]


def site_url(name: str, view: View, settings: Settings) -> str:
    """URL of an entry under one of its names."""
    scheme, port, default = ("http", settings["nginx_port"], 80)
    if view["tls"]:
        scheme, port, default = ("https", settings["nginx_ssl_port"], 443)
    return f"{scheme}://{name}{'' if port == default else f':{port}'}/"
