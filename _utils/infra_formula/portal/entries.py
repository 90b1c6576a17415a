"""Entries of ``infra_portal``: their attributes, and what is wrong with them.

The attributes and their effects are Pigsty's; those that are new carry nginx's directive names.
Everything here is pure: no file, no command, no pillar.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

from infra_formula.parameters import schema
from infra_formula.portal import (
    access,
    endpoints,
    hosts,
    http_config,
    locations,
    named_certificates,
    plain_http,
    raw_directives,
    streams,
    targets,
    trusted_proxies,
)
from infra_formula.portal.attributes import ENTRY
from infra_formula.portal.locations import Location

Settings = dict[str, Any]
"""Parameters and facts that the portal depends on (see infra_formula.portal.arguments)."""

HOME_DOMAIN = "i.pigsty"
_SERVING = {"endpoint", "path", "conf", "locations", "redirect"}
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ADDRESS = re.compile(r"(\d+\.){3}\d+")
# The file that all entries share, the nodes that answer challenges, and a host of other upstreams:
# an `upstream` block by that name would take their requests.
_TAKEN_KEYS = ("00-infra", "acme-peers", "localhost")


def problems(portal: Any, settings: Settings) -> list[str]:
    """Validate a portal.

    portal
        The value of ``infra_portal``.
    settings
        Of them ``nginx_sslmode``, ``nginx_port``, ``nginx_ssl_port``, ``nginx_users``,
        ``admin_ip``, ``portal_auth``, ``oauth2_proxy_endpoint``, ``oauth2_proxy_cookie_name``,
        ``portal_haproxy_logins``, ``addresses``, ``components``.

    Returns one message per error, each beginning with the key path.
    """
    if not isinstance(portal, dict):
        return schema.check("infra_portal", portal, {"type": "map"})
    settings = hosts.with_portal(portal, settings)
    errors: list[str] = []
    if settings["nginx_port"] == settings["nginx_ssl_port"]:
        errors.append("nginx_ssl_port: expected another port than nginx_port")
    errors += _login_problems("portal_auth", settings["portal_auth"], settings)
    errors += _credential_problems(portal, settings)
    errors += trusted_proxies.problems(settings)
    keys = {key for key in portal if isinstance(key, str)}
    errors += streams.problems(streams.of_settings(settings), settings, keys)
    http_text = http_config.text(settings)
    errors += http_config.problems(http_text, config_fault(http_text))
    errors += _log_format_problems("nginx_log_format", settings.get("nginx_log_format"), settings)
    errors += plain_http.console_problems(settings)
    if "home" not in portal:
        logins = _logins("home", {}, settings)
        errors += plain_http.problems("infra_portal.home", {}, logins, settings)
    owners = dict.fromkeys((hosts.CONFIG_HASH_NAME, hosts.ACME_NAME), "the formula")
    if "home" not in portal:
        owners[HOME_DOMAIN] = "infra_portal.home"
    folded: dict[str, str] = {}
    for key, value in portal.items():
        path = _entry_path(key)
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            hint = " (YAML reads unquoted on, off, yes and no as booleans; quote them)"
            errors.append(
                f"{path}: expected a name of letters, digits, dots, hyphens and underscores as key"
                + (hint if isinstance(key, bool) else "")
            )
            continue
        if key.lower() in _TAKEN_KEYS or _ADDRESS.fullmatch(key):
            errors.append(f"{path}: expected another key: nginx has this one for something else")
        twin = folded.setdefault(key.lower(), key)
        if twin != key:
            errors.append(
                f"{path}: expected a key that differs from {twin!r} by more than its case"
            )
        entry = expand(value, settings["admin_ip"])
        if key == "home" and isinstance(entry, dict):
            entry.setdefault("domain", HOME_DOMAIN)
        type_errors = schema.check(path, entry, {"type": "map", "keys": ENTRY})
        errors += type_errors or _entry_problems(key, path, entry, settings)
        if isinstance(entry, dict):
            errors += _name_problems(path, entry, owners)
    return errors


def _entry_path(key: Any) -> str:
    if isinstance(key, str) and re.fullmatch(r"[A-Za-z0-9._-]+", key):
        return f"infra_portal.{key}"
    return f"infra_portal[{key!r}]"


def expand(entry: Any, admin_ip: str) -> Any:
    """Replace ``${admin_ip}`` in an entry's endpoints; anything else is left as it is."""
    if not isinstance(entry, dict):
        return entry
    entry = dict(entry)
    if "endpoint" in entry:
        entry["endpoint"] = endpoints.expand(entry["endpoint"], admin_ip)
    if isinstance(entry.get("locations"), dict):
        entry["locations"] = {k: expand(v, admin_ip) for k, v in entry["locations"].items()}
    return entry


def auth_method(key: str, entry: dict[str, Any], settings: Settings) -> str:
    """How a visitor of an entry logs in: ``basic``, ``oidc``, or ``''`` for no login.

    The entry's own ``auth`` counts; ``true`` is the portal's method. Without it, ``portal_auth``
    closes the home page and each entry that leads to a tool of the home page.
    """
    auth = entry.get("auth")
    if isinstance(auth, str):
        return auth
    if auth is None and _implies_login(entry):
        return "basic"
    if auth is None:
        auth = bool(settings["portal_auth"]) and (
            key == "home" or hosts.leads_to_tool(entry, settings)
        )
    return (settings["portal_auth"] or "basic") if auth else ""


def _implies_login(entry: dict[str, Any]) -> bool:
    """Whether ``users`` of an entry are for all of it, and not for some paths."""
    inner = entry.get("locations")
    return bool(entry.get("users")) and not (
        entry.get("auth_paths")
        or (
            isinstance(inner, dict)
            and any(isinstance(x, dict) and x.get("auth") for x in inner.values())
        )
    )


def location_auth(
    location: Location, all_locations: list[Location], entry_auth: str, settings: Settings
) -> str:
    """How a visitor of a location logs in: by its own ``auth``, or that of what is around it.

    entry_auth
        That of its entry.

    Without an ``auth`` of its own, a location that leads to a tool of the home page is closed by
    ``portal_auth``, whatever the entry says of itself.
    """
    portal_auth: str = settings["portal_auth"]
    own = location.own.get("auth")
    if isinstance(own, str):
        return own
    if own is not None:
        return (portal_auth or "basic") if own else ""
    if "endpoint" in location.own and portal_auth:
        target = {"endpoint": location.own["endpoint"]}
        if hosts.leads_to_tool(target, settings):
            return entry_auth or portal_auth
    for outer in locations.around(location, all_locations):
        auth = outer.own.get("auth")
        if auth:
            return auth if isinstance(auth, str) else (portal_auth or "basic")
        # What is open is open below its path, not below all that begins so.
        below = f"{outer.match.text.rstrip('/')}/"
        if auth is False and location.match.text.startswith(below):
            return ""
    return entry_auth


def _entry_problems(key: str, path: str, entry: dict[str, Any], settings: Settings) -> list[str]:
    """Errors in the combination of attributes whose types are valid."""
    errors = []
    if "domains" in entry and "domain" not in entry:
        errors.append(f"{path}.domains: expected a domain beside it")
    if "domain" in entry and key != "home" and not _SERVING & set(entry):
        errors.append(f"{path}: expected an endpoint, a path or a conf to serve beside its domain")
    errors += targets.problems(key, path, entry, settings)
    errors += _loop_problems(path, entry, settings)
    errors += [
        f"{path}.{attribute}: expected a path outside /tmp and /var/tmp: nginx has private ones"
        for attribute, file in _paths(entry)
        if re.match(r"(/var)?/tmp(/|$)", file)
    ]
    errors += _certificate_problems(path, entry, settings)
    logins = _logins(key, entry, settings)
    errors += access.problems(path, entry, logins, settings)
    errors += _log_format_problems(f"{path}.log_format", entry.get("log_format"), settings)
    if "limit_req" in entry:
        errors += _limit_problems(f"{path}.limit_req", entry["limit_req"], settings)
    errors += _auth_problems(key, path, entry, settings)
    if settings["nginx_sslmode"] == "disable":
        if config_fault(entry.get("config", "")) is None:
            errors += plain_http.problems(path, entry, logins, settings)
        for attribute in ("enforce_https", "hsts"):
            if entry.get(attribute):
                errors.append(f"{path}.{attribute}: expected nginx_sslmode other than disable")
    config = entry.get("config", "")
    fault = config_fault(config) if config else None
    if fault:
        errors.append(f"{path}.config: expected whole nginx directives, {fault}")
    elif config and key != "home" and "conf" not in entry:
        errors += raw_directives.problems(
            f"{path}.config", key, entry, auth_method(key, entry, settings), settings
        )
    return errors


def _loop_problems(path: str, entry: dict[str, Any], settings: Settings) -> list[str]:
    """Endpoints that are the portal itself: with the same `Host`, it would ask itself without end.

    One such request takes every connection that nginx has.
    """
    if "domain" not in entry or "conf" in entry:
        return []
    places = {
        (path if "endpoint" not in location.own else schema.join(f"{path}.locations", location.key))
        if location.number
        else path: location.attributes
        for location in locations.of_entry(entry)
    }
    ports = {str(settings["nginx_port"])}
    if settings["nginx_sslmode"] != "disable":
        ports.add(str(settings["nginx_ssl_port"]))
    return [
        f"{where}.endpoint: expected another server than the portal, which would ask itself "
        f"without end, got {address!r}; `host` leads to another entry"
        for where, attributes in places.items()
        if not attributes.get("host")
        for address in endpoints.addresses(attributes.get("endpoint", []))
        if address.rpartition(":")[2] in ports and not address.startswith("unix:")
        if hosts.is_this_node(address.rpartition(":")[0], settings)
    ]


def _log_format_problems(path: str, name: str | None, settings: Settings) -> list[str]:
    known = http_config.log_formats(http_config.text(settings))
    if name is None or known is None or name in known:
        return []
    expected = f"one of {', '.join(sorted(known))} (log_format in nginx_http_config adds some)"
    return [schema.problem(path, expected, name) + schema.nearest(name, known)]


def _limit_problems(path: str, limit: dict[str, Any], settings: Settings) -> list[str]:
    errors = []
    zones = http_config.limit_zones(http_config.text(settings))
    if "zone" in limit and zones is not None and limit["zone"] not in zones:
        expected = "a zone of a limit_req_zone in nginx_http_config"
        end = schema.nearest(limit["zone"], zones)
        errors.append(schema.problem(f"{path}.zone", expected, limit["zone"]) + end)
    if ("rate" in limit) == ("zone" in limit):
        errors.append(f"{path}: expected either rate or zone")
    if limit.get("nodelay") and "delay" in limit:
        errors.append(f"{path}.delay: expected nothing beside nodelay")
    if "burst" not in limit:
        errors += [f"{path}.{k}: expected a burst beside it" for k in ("nodelay", "delay")
                   if limit.get(k)]  # fmt: skip
    return errors


def _certificate_problems(path: str, entry: dict[str, Any], settings: Settings) -> list[str]:
    named = "cert" in entry and named_certificates.is_name(entry["cert"])
    if named and "key" in entry:
        return [f"{path}.key: expected none: nginx_certificates has the key of {entry['cert']}"]
    if named:
        known = named_certificates.of_settings(settings)
        return named_certificates.reference_problem(f"{path}.cert", entry["cert"], known)
    if ("cert" in entry) != ("key" in entry):
        present, missing = ("cert", "key") if "cert" in entry else ("key", "cert")
        return [f"{path}.{missing}: expected beside {present}"]
    return []


def _paths(entry: dict[str, Any]) -> list[tuple[str, str]]:
    """Paths in the file system that an entry names, with their attributes."""
    paths = []
    for prefix, attributes in (
        ("", entry),
        *((f"{schema.join('locations', k)}.", v) for k, v in entry.get("locations", {}).items()),
    ):
        for address in endpoints.addresses(attributes.get("endpoint", [])):
            if address.startswith("unix:"):
                paths.append((f"{prefix}endpoint", address.removeprefix("unix:")))
        if "path" in attributes:
            paths.append((f"{prefix}path", attributes["path"]))
    maintenance = entry.get("maintenance")
    if isinstance(maintenance, dict) and "page" in maintenance:
        paths.append(("maintenance.page", maintenance["page"]))
    return paths


def _auth_problems(key: str, path: str, entry: dict[str, Any], settings: Settings) -> list[str]:
    auth = auth_method(key, entry, settings)
    errors = _login_problems(f"{path}.auth", auth, settings) if entry.get("auth") else []
    for location in locations.of_entry(entry):
        own = location.own.get("auth")
        if own:
            way = own if isinstance(own, str) else settings["portal_auth"] or "basic"
            where = f"{schema.join(f'{path}.locations', location.key)}.auth"
            errors += _login_problems(where, way, settings)
    if key == "home" and settings["portal_auth"] and entry.get("auth") is False:
        errors.append(f"{path}.auth: expected true, or nothing, beside portal_auth")
    for attribute, needs_auth in (("auth_paths", False), ("open_paths", True)):
        paths = entry.get(attribute)
        if paths is None:
            continue
        where = f"{path}.{attribute}"
        if key == "home" or "conf" in entry:
            errors.append(f"{where}: expected an entry of its own, with a path or an endpoint")
        elif entry.get("locations"):
            errors.append(f"{where}: expected none beside locations, of which each may have auth")
        elif bool(auth) is not needs_auth:
            kind = "with" if needs_auth else "without"
            errors.append(f"{where}: expected an entry {kind} auth")
        if not needs_auth:
            errors += _login_problems(where, settings["portal_auth"] or "basic", settings)
        errors += [
            f"{where}[{i}]: expected a path below / as a server sees it (no %, //, /./), got {p!r}"
            for i, p in enumerate(paths)
            if "%" in p or p == "/" or posixpath.normpath(p) != (p.rstrip("/") or "//")
        ]
    return errors


def _logins(key: str, entry: dict[str, Any], settings: Settings) -> set[str]:
    """How visitors of an entry log in, wherever they have to."""
    auth = auth_method(key, entry, settings)
    all_locations = locations.of_entry(entry)
    logins = {auth, *(location_auth(x, all_locations, auth, settings) for x in all_locations)}
    if entry.get("auth_paths"):
        logins.add(settings["portal_auth"] or "basic")
    return logins - {""}


def _login_problems(path: str, method: str, settings: Settings) -> list[str]:
    """Why nobody could log in by a method; ``''`` asks for no login."""
    if method == "basic" and not settings["nginx_users"]:
        return [f"{path}: expected users in nginx_users, which is empty"]
    if method == "oidc" and not settings["oauth2_proxy_endpoint"]:
        return [f"{path}: expected an oauth2_proxy_endpoint, which is empty"]
    return []


def _credential_problems(portal: dict[Any, Any], settings: Settings) -> list[str]:
    """Settings by which a server behind the portal would get the portal's credentials."""
    errors = []
    cookie = settings["oauth2_proxy_cookie_name"]
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", cookie):
        errors.append(
            "oauth2_proxy_cookie_name: expected a name of letters, digits, dots, hyphens and "
            f"underscores, got {cookie!r}"
        )
    home = portal.get("home", {})
    closed = isinstance(home, dict) and auth_method("home", home, settings) == "basic"
    if closed and settings["portal_haproxy_logins"]:
        errors.append(
            "portal_haproxy_logins: expected no names beside a home page with basic auth, "
            "whose password these machines would get; give such a HAProxy an entry of its own"
        )
    return errors


def _name_problems(path: str, entry: dict[str, Any], owners: dict[str, str]) -> list[str]:
    errors = []
    for attribute, names in (("domain", [entry.get("domain")]), ("domains", entry.get("domains"))):
        for name in names if isinstance(names, list) else []:
            if not isinstance(name, str):
                continue
            owner = owners.setdefault(name.lower(), path)
            if owner != path or (attribute == "domains" and name == entry.get("domain")):
                errors.append(f"{path}.{attribute}: {name!r} is already a name of {owner}")
    return errors


def config_fault(text: str) -> str | None:
    """Why raw nginx text would not stay inside the block it is put in; None where it does.

    Follows nginx's own reading of quotes, escapes, comments and ``${variables}``.
    """
    depth, quote, i, fresh = 0, "", 0, True
    pending = False
    while i < len(text):
        char = text[i]
        if char == "\\":
            i += 2
            fresh, pending = False, True
            continue
        if quote:
            if char == quote:
                quote = ""
        elif char == "#" and fresh:
            end = text.find("\n", i)
            i = len(text) if end < 0 else end
            continue
        elif char in "\"'" and fresh:
            quote, pending = char, True
        elif char == "$" and text[i + 1 : i + 2] == "{":
            i = max(i + 1, text.find("}", i))
            pending = True
        elif char == "{":
            depth, pending = depth + 1, False
        elif char == "}":
            if pending:
                return "a directive before } lacks its ;"
            depth -= 1
            if depth < 0:
                return "a } closes the block around it"
        elif char == ";":
            pending = False
        elif not char.isspace():
            pending = True
        fresh = not quote and (char.isspace() or char in "{};")
        i += 1
    if quote:
        return f"a quote {quote} is not closed"
    if depth:
        return "a { is not closed"
    return "its last directive lacks a ;" if pending else None
