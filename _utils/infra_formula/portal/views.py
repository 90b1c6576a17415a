"""Entries of a valid portal as its templates see them: every attribute with its default."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import time
from typing import Any

from infra_formula.parameters import schema
from infra_formula.portal import (
    access,
    endpoints,
    entries,
    hosts,
    locations,
    named_certificates,
    plain_http,
    raw_config,
)
from infra_formula.portal.entries import Settings
from infra_formula.portal.locations import Location

View = dict[str, Any]

CERTIFICATE_DIR = "conf.d/cert"
_LIFETIME = 30.0  # seconds: addresses of names in endpoints may change
_RECENT = 4
_recent: dict[str, tuple[float, dict[str, View]]] = {}
"""The last results: digest of portal and settings → when it was made, and views by key."""
_HSTS_DEFAULT = 31536000  # one year, as in RFC 6797's examples and for the preload list


def views(portal: dict[str, Any], settings: Settings) -> dict[str, View]:
    """Complete the entries of a valid ``infra_portal``, in their order.

    ``home`` is added if it is missing. Entries without a domain have the ``kind`` ``unserved``.

    The same portal with the same settings is completed once in a run: its states ask 16 times.
    """
    key = _digest(portal, settings)
    now = time.monotonic()
    for known in [k for k, (since, _) in _recent.items() if not 0 <= now - since < _LIFETIME]:
        del _recent[known]
    if key in _recent:
        return dict(_recent[key][1])
    completed = _completed(portal, settings)
    if key:
        _recent[key] = (now, completed)
        while len(_recent) > _RECENT:
            del _recent[next(iter(_recent))]
    return dict(completed)


def _digest(portal: dict[str, Any], settings: Settings) -> str:
    """What stands for a portal and settings; empty for what is not only data."""
    try:
        text = json.dumps([portal, settings])
    except TypeError:
        return ""
    return hashlib.sha256(text.encode()).hexdigest()


def _completed(portal: dict[str, Any], settings: Settings) -> dict[str, View]:
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
    names = [domain, *(name.lower() for name in entry.get("domains", []))]
    moved = _moved(entry.get("redirect"), f"{'https' if tls else 'http'}://{domain}")
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
        "names": names,
        "moved": moved,
        "served_names": [name for name in names if not moved or name not in moved["names"]],
        "tls": tls,
        "index": entry.get("index", home),
        "auth": auth,
        "path_auth": path_auth,
        # Broad where it closes: /admin is /Admin and /admin.json too. Narrow where it opens.
        "auth_paths": [f"^{re.escape(p.rstrip('/'))}" for p in entry.get("auth_paths", [])],
        "open_paths": [_below(p) for p in entry.get("open_paths", [])],
        "realm": entry.get("realm", "Pigsty Home Auth" if home else f"Auth {key}"),
        "cert": cert,
        "cert_key": cert_key,
        "path": entry.get("path", settings["nginx_home"] if home else ""),
        "own_cert": "cert" in entry,
        "named_cert": named,
        "cert_stem": stem,
        "access": access.of_entry(key, entry),
        "certbot": entry.get("certbot", ""),
        "log": _log_name(entry.get("log", _log(key, kind, entry))),
        "log_format": entry.get("log_format") or settings.get("nginx_log_format") or "combined",
        "limit_req": _limit(key, entry.get("limit_req")),
        "config": entry.get("config", "").strip("\n"),
        "conf": entry.get("conf", ""),
        "hsts": _HSTS_DEFAULT if hsts is True else int(hsts),
        "accel_redirect": entry.get("accel_redirect", False),
        "client_max_body_size": entry.get(
            "client_max_body_size", settings["nginx_client_max_body_size"]
        ),
        "header_buffers": _header_buffers(entry.get("large_client_header_buffers")),
        "maintenance": _maintenance(key, entry.get("maintenance")),
        "http3": entry.get("http3", False),
        "gzip": entry.get("gzip"),
        "brotli": entry.get("brotli"),
        "expires": _expires(entry.get("expires")),
        "given": entry,
    }
    # Names of the directives of `config` itself: where the portal has one that only makes
    # something faster, that of the operator stands in its place.
    config = raw_config.parse(view["config"])
    view["raw_names"] = {words[0] for words in config.directives}
    view["raw_headers"] = [
        " ".join(map(raw_config.quoted, words)) for words in config.own("add_header")
    ]
    all_locations = locations.of_entry(entry)
    view["locations"] = [_location(view, x, all_locations, settings) for x in all_locations]
    _guard(view)
    view["upstreams"] = list(
        {x["group"]: x for x in reversed(view["locations"]) if x["servers"]}.values()
    )[::-1]
    view["caches"] = list(
        {x["cache"]["zone"]: x["cache"] for x in view["locations"] if x["cache"]}.values()
    )
    root = next(x for x in view["locations"] if x["is_prefix"] and x["path_text"] == "/")
    view |= {name: root[name] for name in _OF_ROOT}
    view["root"] = root
    view["below"] = _in_order(view["locations"])
    view["hands_on"] = any(x["kind"] == "proxy" for x in view["locations"])
    logins = {auth, path_auth, *(location["auth"] for location in view["locations"])}
    view["logins"] = sorted(filter(None, logins))
    view["redirect"], view["guards_login"] = _on_plain_http(view, entry, settings)
    return view


def _on_plain_http(view: View, entry: dict[str, Any], settings: Settings) -> tuple[bool, bool]:
    """Whether plain HTTP is redirected, and whether only what needs a login is.

    The home page stays on plain HTTP unless its entry asks otherwise: package managers fetch from
    it. But no password, and no cookie in its place, is sent in the clear.
    """
    home = view["kind"] == "home"
    raw = plain_http.of_config(view["config"], bool(view["auth"]))
    secures = not settings.get("nginx_auth_over_http")
    is_closed = bool(view["auth"]) or raw.of_server
    has_open_part = (
        raw.opens
        or bool(view["open_paths"])
        or any(not x["auth"] for x in view["locations"] if view["auth"])
    )
    closed = "oidc" in view["logins"] or bool(settings["portal_auth"] and view["logins"])
    enforced = closed or (settings["nginx_sslmode"] == "enforce" and not home)
    asks_for_certificate = bool(view["access"]["client_ca"])
    redirect = bool(entry.get("enforce_https", enforced or asks_for_certificate)) or (
        secures and is_closed and (home or not has_open_part)
    )
    has_login = bool(view["logins"]) or raw.anywhere
    return (
        view["tls"] and redirect,
        view["tls"] and secures and has_login and (home or not redirect),
    )


def _log_name(name: str | bool) -> str:
    """The name of a log, as logrotate and Vector find it; ``off`` for none, as nginx has it."""
    if name is False or str(name).lower() == "off":
        return "off"
    return f"{name}.log" if name and not str(name).endswith(".log") else str(name)


def _location(
    view: View, location: Location, all_locations: list[Location], settings: Settings
) -> View:
    """What a location of an entry is to nginx: what answers, for whom, and how."""
    key, attributes, number = view["key"], location.attributes, location.number
    servers = [
        {**server, "address": _prefer_loopback(server["address"], settings)}
        for server in endpoints.servers(attributes.get("endpoint", []))
    ]
    scheme = attributes.get("scheme", "http")
    cache = _cache(key, number, attributes.get("proxy_cache"))
    size = str(attributes["proxy_buffer_size"]) if "proxy_buffer_size" in attributes else ""
    moved = _moved(attributes.get("redirect"), "")
    own_upstream = number == 0 or "endpoint" in location.own
    location_view: View = {
        "number": number,
        "key_path": schema.join("locations", location.key) if own_upstream and number else "",
        "match": location.match.nginx(),
        "path_text": "" if location.match.is_regex else location.match.text,
        "is_regex": location.match.is_regex,
        "is_prefix": location.match.is_prefix,
        "auth": entries.location_auth(location, all_locations, view["auth"], settings),
        "realm": attributes.get("realm", view["realm"]),
        "kind": _location_kind(view, location),
        "moved": moved,
        "group": locations.upstream_name(key, number if own_upstream else 0),
        "servers": [
            {"address": s["address"], "parameters": endpoints.parameters(s, len(servers) == 1)}
            for s in servers
        ],
        "options": [endpoints.parameters(s, len(servers) == 1) for s in servers],
        "endpoints": [server["address"] for server in servers],
        "balance": attributes.get("balance", ""),
        "scheme": scheme,
        "websocket": attributes.get("websocket", False),
        "host": attributes.get("host", ""),
        "headers": {k: str(v) for k, v in attributes.get("proxy_set_header", {}).items()},
        "http_version": str(attributes.get("proxy_http_version", "1.1")),
        "next_upstream": attributes.get(
            "proxy_next_upstream",
            "error" if len(servers) == 1 else "error timeout http_502 http_503 http_504",
        ),
        "buffering": attributes.get("proxy_buffering", bool(cache)),
        "request_buffering": attributes.get("proxy_request_buffering", False),
        "buffer_size": size,
        "busy_buffers_size": _doubled(size),
        "cache": cache if location.number == 0 or "proxy_cache" in location.own else None,
        "stripped": re.escape(location.match.text.rstrip("/"))
        if attributes.get("strip_prefix")
        else None,
        "files": attributes["path"] if "path" in location.own else "",
        "index": attributes.get("index", view["index"] if not location.has_own_target else False),
        "spa": attributes.get("spa", False),
        "accel_redirect": attributes.get("accel_redirect", False),
        "proxy_ssl_verify": attributes.get("proxy_ssl_verify", False),
        "proxy_ssl_trusted_certificate": attributes.get(
            "proxy_ssl_trusted_certificate", settings["ca_bundle"]
        ),
        "client_max_body_size": location.own.get("client_max_body_size", ""),
        "expires": _expires(location.own.get("expires")),
        "gzip": location.own.get("gzip"),
        "brotli": location.own.get("brotli"),
        "header_buffers": "",
        "written": False,
        "other_case": "",
    }
    if cache and not location_view["cache"]:
        location_view["cache"] = _cache(key, 0, attributes["proxy_cache"])
    location_view["proxy_ssl_name"] = attributes.get(
        "proxy_ssl_name", _tls_name(location_view, view["domain"])
    )
    for attribute in ("proxy_connect_timeout", "proxy_read_timeout", "proxy_send_timeout"):
        location_view[attribute] = attributes.get(attribute, settings[f"nginx_{attribute}"])
    return location_view


_OF_ROOT = (
    "endpoints",
    "servers",
    "scheme",
    "websocket",
    "proxy_ssl_verify",
    "proxy_ssl_trusted_certificate",
    "proxy_ssl_name",
    "proxy_connect_timeout",
    "proxy_read_timeout",
    "proxy_send_timeout",
)
"""What a view has of its ``/``, for templates of operators."""


def _in_order(shown: list[View]) -> list[View]:
    """The locations that an entry has itself: patterns first, of them those that need a login."""
    own = [x for x in shown if x["number"]]
    return sorted(own, key=lambda x: (not x["is_regex"], not (x["is_regex"] and x["auth"])))


def _location_kind(view: View, location: Location) -> str:
    attributes = location.attributes
    redirect = attributes.get("redirect")
    if redirect is not None and not (isinstance(redirect, dict) and "names" in redirect):
        return "redirect"
    if view["kind"] == "home" and not location.has_own_target:
        return "static" if location.number else "home"
    if "path" in attributes:
        return "static"
    return "proxy" if "endpoint" in attributes else "none"


def _guard(view: View) -> None:
    """Let no other spelling of a path lead past a login.

    Where a location needs a login and another does not, one that is open takes a path only as it
    is written, and no path that begins as a closed one does but for its case.
    """
    closed = [x for x in view["locations"] if x["auth"] and not view["auth"] and x["is_prefix"]]
    is_closed_somewhere = bool(
        view["auth"] or view["path_auth"] or any(x["auth"] for x in view["locations"])
    )
    for location in view["locations"]:
        if location["auth"]:
            if any(x is location for x in closed) and location["path_text"] != "/":
                # A regular expression of another location would come first.
                location["match"] = f"^~ {location['path_text']}"
            continue
        location["written"] = is_closed_somewhere and location["kind"] == "proxy"
        others = [
            re.escape(x["path_text"].lstrip("/"))
            for x in closed
            if x["path_text"] != "/"
            and not (location["path_text"] and location["path_text"].startswith(x["path_text"]))
        ]
        location["other_case"] = f"^/(?:{'|'.join(others)})" if others else ""


def _moved(redirect: Any, default: str) -> View | None:
    """A redirect: where to, with which status, and for which names."""
    if redirect is None:
        return None
    rule = redirect if isinstance(redirect, dict) else {"to": redirect}
    to = rule.get("to", default)
    if re.fullmatch(r"https?://[^/]+", to) and "$request_uri" not in to:
        to += "$request_uri"
    names = [name.lower() for name in rule.get("names", [])]
    return {"to": to, "code": rule.get("code", 301), "names": names}


def _cache(key: str, number: int, cache: Any) -> View | None:
    if cache in (None, False):
        return None
    rule = cache if isinstance(cache, dict) else {}
    return {
        "zone": locations.upstream_name(key, number),
        "valid": rule.get("valid", "10m"),
        "max_size": rule.get("max_size", "1g"),
        "inactive": rule.get("inactive", "1d"),
        "key": rule.get("key", "$scheme$portal_host$visitor_port$request_uri"),
    }


def _maintenance(key: str, maintenance: Any) -> View | None:
    if maintenance in (None, False):
        return None
    rule = maintenance if isinstance(maintenance, dict) else {}
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    page = rule.get("page", "")
    return {
        "variable": f"maintenance_{digest}",
        "allow": rule.get("allow", []),
        "directory": posixpath.dirname(page),
        "file": posixpath.basename(page),
    }


def _header_buffers(value: Any) -> str:
    if value is None:
        return ""
    return str(value) if " " in str(value) else f"4 {value}"


def _expires(value: Any) -> str:
    """A value of nginx's ``expires``; YAML reads an unquoted ``off`` as false."""
    if value is None or value is True:
        return ""
    return "off" if value is False else str(value)


def _doubled(size: str) -> str:
    unit = size.lstrip("0123456789")
    return f"{2 * int(size.removesuffix(unit) or 0)}{unit}" if size else ""


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
    if "path" in entry:
        return "static"
    return "proxy" if {"endpoint", "locations"} & set(entry) else "redirect"


def _tls_name(view: View, domain: str) -> str:
    """The TLS server name of an HTTPS upstream: its host name, or else the entry's domain."""
    first = view["endpoints"][0] if view["endpoints"] else ""
    host: str = first.rpartition(":")[0]
    is_name = re.fullmatch(r"[A-Za-z0-9._-]*[A-Za-z][A-Za-z0-9._-]*", host)
    return host if is_name and not first.startswith("unix:") else domain


def site_url(name: str, view: View, settings: Settings) -> str:
    """URL of an entry under one of its names."""
    scheme, port, default = ("http", settings["nginx_port"], 80)
    if view["tls"]:
        scheme, port, default = ("https", settings["nginx_ssl_port"], 443)
    return f"{scheme}://{name}{'' if port == default else f':{port}'}/"
