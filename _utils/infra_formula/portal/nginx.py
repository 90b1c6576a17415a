"""The portal: from ``infra_portal`` and its settings to nginx's files, and to what answers.

``validate`` and ``render`` are pure: the same input gives the same text, and nothing is touched.
The state module ``infra_portal`` puts the files in place. On a minion whose portal was applied,
``entries`` and ``status`` need no argument; ``diff`` and ``validate`` without one take what the
minion's pillar says.

The attributes of an entry, and what they do, are Pigsty's; those that are new carry nginx's own
directive names.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import posixpath
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import salt.utils.path
import salt.utils.yaml

from infra_formula import process
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset import manifest
from infra_formula.fileset.file_set import FileSet
from infra_formula.minion import Minion
from infra_formula.parameters import schema
from infra_formula.pki import certificates as pki_certificates
from infra_formula.portal import cards as portal_cards
from infra_formula.portal import htpasswd
from infra_formula.portal import pages as portal_pages
from infra_formula.registration import registry

log = logging.getLogger(__name__)

ENTRY = {
    "domain": {"type": "domain"},
    "domains": {"type": "list", "items": {"type": "domain"}},
    "endpoint": {
        "either": [{"type": "endpoint"}, {"type": "list", "items": {"type": "endpoint"}}],
    },
    "path": {"type": "path"},
    "scheme": {"type": "line", "enum": ["http", "https"]},
    "websocket": {"type": "bool"},
    "index": {"type": "bool"},
    "auth": {"either": [{"type": "bool"}, {"type": "line", "enum": ["basic", "oidc"]}]},
    "auth_paths": {"type": "list", "items": {"type": "path"}},
    "open_paths": {"type": "list", "items": {"type": "path"}},
    "realm": {"type": "quoted"},
    "cert": {"type": "path"},
    "key": {"type": "path"},
    "certbot": {"type": "name"},
    "enforce_https": {"type": "bool"},
    "log": {"type": "name"},
    "config": {"type": "text"},
    "conf": {"type": "name"},
    "client_max_body_size": {"type": "size"},
    "proxy_connect_timeout": {"type": "timeout"},
    "proxy_read_timeout": {"type": "timeout"},
    "proxy_send_timeout": {"type": "timeout"},
    "accel_redirect": {"type": "bool"},
    "proxy_ssl_verify": {"type": "bool"},
    "proxy_ssl_trusted_certificate": {"type": "path"},
    "proxy_ssl_name": {"type": "domain"},
    "hsts": {"either": [{"type": "bool"}, {"type": "int", "min": 0, "max": 63072000}]},
}
"""Rule of each attribute of an entry (see infra_schema)."""

HOME_DOMAIN = "i.pigsty"
_HSTS_DEFAULT = 31536000  # one year, what RFC 6797's examples and the preload list ask for
_OWN_LOGIN = ("grafana",)  # asks for a login itself, so portal_auth leaves it to that
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CERT_DIR = "conf.d/cert"
_HTTP2_DIRECTIVE = (1, 25, 1)  # from here on `http2 on;`, before it a parameter of `listen`
_GENERATION_NAME = "generation.infra.localhost"
_ACME_NAME = "acme.infra.localhost"
_PROXY_HEADERS = "infra-proxy-headers.conf"
_CONSOLE_HEADERS = "infra-console-headers.conf"
_ERROR_LOG = Path("/var/log/nginx-error.log")
_TEMPLATES = "salt://infra/nginx/files/"
_USER_AGENT = "infra-formula"  # infra.conf.j2 keeps such requests of this node out of the log


# -- validation ----------------------------------------------------------------------------------


def problems(portal: Any, settings: dict[str, Any], check: Callable[..., list[str]]) -> list[str]:
    """Find what is wrong with a portal; pure.

    portal
        The value of ``infra_portal``.
    settings
        Parameters that the portal depends on: ``nginx_sslmode``, ``nginx_port``,
        ``nginx_ssl_port``, ``nginx_users``, ``admin_ip``, ``portal_auth``,
        ``oauth2_proxy_endpoint``, ``oauth2_proxy_cookie_name``, ``portal_haproxy_logins``,
        ``addresses``, ``components``.
    check
        ``infra_schema.check``.

    Returns one message per error, each beginning with the key path, empty for a good portal.
    """
    if not isinstance(portal, dict):
        return check("infra_portal", portal, {"type": "map"})
    errors: list[str] = []
    if settings["nginx_port"] == settings["nginx_ssl_port"]:
        errors.append("nginx_ssl_port: expected another port than nginx_port")
    errors += _login_problems("portal_auth", settings["portal_auth"], settings)
    errors += _credential_problems(portal, settings)
    owners = {} if "home" in portal else {HOME_DOMAIN: "infra_portal.home"}
    folded: dict[str, str] = {}
    for key, raw in portal.items():
        path = _entry_path(key)
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            hint = " (YAML reads unquoted on, off, yes and no as booleans; quote them)"
            errors.append(
                f"{path}: expected a name of letters, digits, dots, hyphens and underscores as key"
                + (hint if isinstance(key, bool) else "")
            )
            continue
        twin = folded.setdefault(key.lower(), key)
        if twin != key:
            errors.append(
                f"{path}: expected a key that differs from {twin!r} by more than its case"
            )
        entry = _expand(raw, settings["admin_ip"])
        if key == "home" and isinstance(entry, dict):
            entry.setdefault("domain", HOME_DOMAIN)
        found = check(path, entry, {"type": "map", "keys": ENTRY})
        errors += found or _entry_problems(key, path, entry, settings)
        if isinstance(entry, dict):
            errors += _name_problems(path, entry, owners)
    return errors


def _entry_path(key: Any) -> str:
    if isinstance(key, str) and re.fullmatch(r"[A-Za-z0-9._-]+", key):
        return f"infra_portal.{key}"
    return f"infra_portal[{key!r}]"


def _expand(entry: Any, admin_ip: str) -> Any:
    """Replace ${admin_ip} in an entry's endpoints; anything else is left as it is."""
    if not isinstance(entry, dict):
        return entry
    entry = dict(entry)
    value = entry.get("endpoint")
    if isinstance(value, str):
        entry["endpoint"] = value.replace("${admin_ip}", admin_ip)
    elif isinstance(value, list):
        entry["endpoint"] = [
            v.replace("${admin_ip}", admin_ip) if isinstance(v, str) else v for v in value
        ]
    return entry


def _entry_problems(key: str, path: str, entry: dict, settings: dict[str, Any]) -> list[str]:
    """What the attributes of one entry, each good by itself, get wrong together."""
    errors = []
    if "domains" in entry and "domain" not in entry:
        errors.append(f"{path}.domains: expected a domain beside it")
    if "domain" in entry and key != "home" and not {"endpoint", "path", "conf"} & set(entry):
        errors.append(f"{path}: expected an endpoint, a path or a conf to serve beside its domain")
    if entry.get("endpoint") == []:
        errors.append(f"{path}.endpoint: expected at least one endpoint, got []")
    errors += [
        f"{path}.{attribute}: expected no place below /tmp or /var/tmp, nginx has these of its own"
        for attribute, place in _places(entry)
        if re.match(r"(/var)?/tmp(/|$)", place)
    ]
    if ("cert" in entry) != ("key" in entry):
        there, missing = ("cert", "key") if "cert" in entry else ("key", "cert")
        errors.append(f"{path}.{missing}: expected beside {there}")
    errors += _auth_problems(key, path, entry, settings)
    if settings["nginx_sslmode"] == "disable":
        for attribute in ("enforce_https", "hsts"):
            if entry.get(attribute):
                errors.append(f"{path}.{attribute}: expected nginx_sslmode other than disable")
    fault = config_fault(entry.get("config", ""))
    if fault:
        errors.append(f"{path}.config: expected whole nginx directives, {fault}")
    return errors


def _places(entry: dict[str, Any]) -> list[tuple[str, str]]:
    """What an entry names in the file system: attribute and path."""
    given = entry.get("endpoint", [])
    sockets = [e for e in ([given] if isinstance(given, str) else given) if e.startswith("unix:")]
    found = [("endpoint", socket.removeprefix("unix:")) for socket in sockets]
    return found + ([("path", entry["path"])] if "path" in entry else [])


def _auth_problems(key: str, path: str, entry: dict, settings: dict[str, Any]) -> list[str]:
    """What is wrong with who may reach an entry."""
    auth = auth_method(key, entry, settings)
    errors = _login_problems(f"{path}.auth", auth, settings) if entry.get("auth") else []
    if key == "home" and settings["portal_auth"] and entry.get("auth") is False:
        errors.append(f"{path}.auth: expected true, or nothing, beside portal_auth")
    for attribute, whole in (("auth_paths", False), ("open_paths", True)):
        given = entry.get(attribute)
        if given is None:
            continue
        here = f"{path}.{attribute}"
        if key == "home" or "conf" in entry:
            errors.append(f"{here}: expected an entry of its own, with a path or an endpoint")
        elif bool(auth) is not whole:
            errors.append(f"{here}: expected an entry {'with' if whole else 'without'} auth")
        if not whole:
            errors += _login_problems(here, settings["portal_auth"] or "basic", settings)
        errors += [
            f"{here}[{i}]: expected a path below / as a server sees it (no %, //, /./), got {p!r}"
            for i, p in enumerate(given)
            if "%" in p or p == "/" or posixpath.normpath(p) != (p.rstrip("/") or "//")
        ]
    return errors


def _login_problems(path: str, method: str, settings: dict[str, Any]) -> list[str]:
    """Why nobody could log in by a method; ``''`` asks for no login."""
    if method == "basic" and not settings["nginx_users"]:
        return [f"{path}: expected users in nginx_users, which is empty"]
    if method == "oidc" and not settings["oauth2_proxy_endpoint"]:
        return [f"{path}: expected an oauth2_proxy_endpoint, which is empty"]
    return []


def _credential_problems(portal: dict[Any, Any], settings: dict[str, Any]) -> list[str]:
    """Why credentials of the portal could not be told from those of a server behind it."""
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


def auth_method(key: str, entry: dict[str, Any], settings: dict[str, Any]) -> str:
    """How a visitor of an entry logs in: ``basic``, ``oidc``, or ``''`` for not at all; pure.

    What an entry says of itself counts; ``true`` is the portal's own way. An entry that says
    nothing is as closed as what it leads to: with ``portal_auth`` the home page is, and so is an
    entry for one of the tools that the home page has.
    """
    given = entry.get("auth")
    if isinstance(given, str):
        return given
    if given is None:
        given = bool(settings["portal_auth"]) and (key == "home" or _leads_to_tool(entry, settings))
    return (settings["portal_auth"] or "basic") if given else ""


def _leads_to_tool(entry: dict[str, Any], settings: dict[str, Any]) -> bool:
    """Whether an endpoint is a web interface of an INFRA node that knows no login of its own."""
    ports = {
        str(component["port"])
        for name, component in settings["components"].items()
        if component["port"] is not None and name not in _OWN_LOGIN
    }
    here = {"127.0.0.1", "[::1]", "localhost", settings["admin_ip"], *settings["addresses"]}
    given = entry.get("endpoint", [])
    for endpoint in [given] if isinstance(given, str) else given:
        host, _, port = str(endpoint).rpartition(":")
        if host in here and port in ports:
            return True
    return False


def _name_problems(path: str, entry: dict, owners: dict[str, str]) -> list[str]:
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


# -- rendering -----------------------------------------------------------------------------------


def views(portal: dict[str, Any], settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Entries as the templates see them: every attribute with its default, in the given order.

    portal
        A valid ``infra_portal``; ``home`` is added where it is missing.
    settings
        The portal's settings (see infra/nginx/settings.jinja).

    Returns a mapping of key to view; entries without a domain have ``kind`` ``known``.
    """
    portal = portal if "home" in portal else {"home": {}, **portal}
    return {k: _view(k, _expand(e, settings["admin_ip"]), settings) for k, e in portal.items()}


def _view(key: str, entry: dict[str, Any], s: dict[str, Any]) -> dict[str, Any]:
    home = key == "home"
    domain = entry.get("domain", HOME_DOMAIN if home else "").lower()
    endpoint = entry.get("endpoint", [])
    tls = s["nginx_sslmode"] != "disable"
    auth = auth_method(key, entry, s)
    path_auth = (s["portal_auth"] or "basic") if entry.get("auth_paths") else ""
    # The home stays on plain HTTP unless it asks itself: package managers fetch from it. But no
    # password, and no cookie in its place, goes over the wire in the clear.
    closed = "oidc" in (auth, path_auth) or bool(s["portal_auth"] and (auth or path_auth))
    enforced = closed or (s["nginx_sslmode"] == "enforce" and not home)
    redirect = tls and entry.get("enforce_https", enforced)
    hsts = entry.get("hsts", False)
    stem = domain.replace("*", "_")
    view = {
        "key": key,
        "kind": _kind(key, entry),
        "domain": domain,
        "names": [domain, *(d.lower() for d in entry.get("domains", []))],
        "tls": tls,
        "redirect": redirect,
        "endpoints": [_near(e, s) for e in ([endpoint] if isinstance(endpoint, str) else endpoint)],
        "scheme": entry.get("scheme", "http"),
        "websocket": entry.get("websocket", False),
        "path": entry.get("path", s["nginx_home"] if home else ""),
        "index": entry.get("index", home),
        "auth": auth,
        "path_auth": path_auth,
        # Broad where it closes: /admin is /Admin and /admin.json too. Narrow where it opens.
        "auth_paths": [f"^{re.escape(p.rstrip('/'))}" for p in entry.get("auth_paths", [])],
        "open_paths": [_below(p) for p in entry.get("open_paths", [])],
        "realm": entry.get("realm", "Pigsty Home Auth" if home else f"Auth {key}"),
        "cert": entry.get("cert", f"{_CERT_DIR}/{stem}.crt"),
        "cert_key": entry.get("key", f"{_CERT_DIR}/{stem}.key"),
        "own_cert": "cert" in entry,
        "cert_stem": stem,
        "certbot": entry.get("certbot", ""),
        "log": entry.get("log", f"{key}.log" if _kind(key, entry) == "proxy" else ""),
        "config": entry.get("config", "").strip("\n"),
        "conf": entry.get("conf", ""),
        "hsts": _HSTS_DEFAULT if hsts is True else int(hsts),
        "accel_redirect": entry.get("accel_redirect", False),
        "proxy_ssl_verify": entry.get("proxy_ssl_verify", False),
        "proxy_ssl_trusted_certificate": entry.get("proxy_ssl_trusted_certificate", s["ca_bundle"]),
        "given": entry,
    }
    view["proxy_ssl_name"] = entry.get("proxy_ssl_name", _tls_name(view))
    for attribute in (
        "client_max_body_size",
        "proxy_connect_timeout",
        "proxy_read_timeout",
        "proxy_send_timeout",
    ):
        view[attribute] = entry.get(attribute, s[f"nginx_{attribute}"])
    return view


def _near(endpoint: str, s: dict[str, Any]) -> str:
    """Where nginx asks for an endpoint: on loopback, for what this node alone reaches."""
    host, _, port = endpoint.rpartition(":")
    if host == s["own_address"] and port in map(str, s["closed_ports"]):
        return f"127.0.0.1:{port}"
    return endpoint


def _below(path: str) -> str:
    """nginx's regex for a path and what is below it; only the latter where it ends in a slash."""
    return f"^{re.escape(path)}" if path.endswith("/") else f"^{re.escape(path)}(?:/|$)"


def _kind(key: str, entry: dict[str, Any]) -> str:
    """Which template serves an entry; the first that matches, in Pigsty's order."""
    if key != "home" and "domain" not in entry:
        return "known"
    if "conf" in entry:
        return "custom"
    if key == "home":
        return "home"
    return "static" if "path" in entry else "proxy"


def _tls_name(view: dict[str, Any]) -> str:
    """The name to ask an HTTPS upstream for: its own where it has one, else the entry's."""
    first = view["endpoints"][0] if view["endpoints"] else ""
    host = first.rpartition(":")[0]
    named = re.fullmatch(r"[A-Za-z0-9._-]*[A-Za-z][A-Za-z0-9._-]*", host)
    return host if named and not first.startswith("unix:") else view["domain"]


def files(
    portal: dict[str, Any],
    settings: dict[str, Any],
    facts: dict[str, Any],
    load: Callable[[str], str],
) -> dict[str, dict[str, Any]]:
    """Render the whole configuration of a valid portal; pure.

    portal, settings
        As for :func:`views`.
    facts
        What this machine is: ``nginx_version`` (list of ints), ``ipv6`` (bool), ``lineages``
        (names below ``/etc/letsencrypt/live``), ``certificates`` (any text that changes when a
        certificate in use does).
    load
        Returns the text of a template by its file name.

    Returns path below ``/etc/nginx`` → file of an infra_files set.

    Raises SaltInvocationError for a template that is missing or broken, naming the entry.
    """
    environment = _environment(load)
    shown = views(portal, settings)
    common = {"settings": settings, "facts": facts, "http2": _http2(facts["nginx_version"])}
    common["acme_name"] = _ACME_NAME
    common["proxy_headers"], common["console_headers"] = _PROXY_HEADERS, _CONSOLE_HEADERS
    owner = {"group": settings["nginx_group"]}
    out: dict[str, dict[str, Any]] = {}
    for key, view in shown.items():
        if view["kind"] == "known":
            continue
        name = view["conf"] if view["kind"] == "custom" else f"{view['kind']}.conf.j2"
        context: dict[str, Any] = {**common, "entry": view, "entries": shown}
        where = f"infra_portal.{key}" + (".conf" if view["kind"] == "custom" else "")
        out[f"conf.d/{key}.conf"] = {"text": _fill(environment, name, context, where), **owner}
        if view["tls"] and not view["own_cert"]:
            out.update(_certificate_links(view, facts["lineages"]))
    for node, address in sorted(settings["haproxy"].items()):
        context = {**common, "node": node, "address": address, "entry": shown["home"]}
        context["login"] = node in settings["portal_haproxy_logins"]
        for part in ("upstream", "location"):
            text = _fill(environment, f"haproxy-{part}.conf.j2", context, f"haproxy.{node}")
            out[f"conf.d/haproxy/{part}-{node}.conf"] = {"text": text, **owner}
    for name, target in (
        ("proxy-headers.conf.j2", _PROXY_HEADERS),
        ("console-headers.conf.j2", _CONSOLE_HEADERS),
    ):
        out[target] = {"text": _fill(environment, name, common, name), **owner}
    generation = _generation(out, facts["certificates"])
    common["generation"] = generation
    for name, target in (
        ("infra.conf.j2", "conf.d/00-infra.conf"),
        ("nginx.conf.j2", "nginx.conf"),
    ):
        out[target] = {"text": _fill(environment, name, common, name), **owner}
    return out


def generation(rendered: dict[str, dict[str, Any]]) -> str:
    """The generation that nginx tells of itself when it runs these files."""
    found = re.search(r'return 200 "([0-9a-f]{16})"', rendered["conf.d/00-infra.conf"]["text"])
    if not found:
        raise CommandFailed("conf.d/00-infra.conf: expected it to define the generation")
    return found.group(1)


def _generation(rendered: dict[str, dict[str, Any]], certificates: str) -> str:
    whole = hashlib.sha256(certificates.encode())
    for rel in sorted(rendered):
        spec = rendered[rel]
        whole.update(f"\0{rel}\0{spec.get('text', '')}\0{spec.get('link', '')}".encode())
    return whole.hexdigest()[:16]


def _certificate_links(view: dict[str, Any], lineages: Iterable[str]) -> dict[str, dict[str, Any]]:
    if view["certbot"] and view["certbot"] in lineages:
        live = f"/etc/letsencrypt/live/{view['certbot']}"
        crt, key = f"{live}/fullchain.pem", f"{live}/privkey.pem"
    else:
        crt, key = "pigsty.crt", "pigsty.key"
    stem = f"{_CERT_DIR}/{view['cert_stem']}"
    return {f"{stem}.crt": {"link": crt}, f"{stem}.key": {"link": key}}


def _http2(version: list[int]) -> str:
    return "directive" if tuple(version) >= _HTTP2_DIRECTIVE else "listen"


def _environment(load: Callable[[str], str]) -> jinja2.Environment:
    def find(name: str) -> str | None:
        text = load(name)
        return text or None

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(find),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - nginx's syntax, not HTML; values are checked beforehand
    )


def _fill(environment: jinja2.Environment, name: str, context: dict[str, Any], where: str) -> str:
    try:
        return environment.get_template(name).render(context)
    except jinja2.TemplateNotFound as err:
        raise InvalidInput(
            f"{where}: expected a template below {_TEMPLATES}, there is no {err.name!r}"
        ) from None
    except jinja2.TemplateError as err:
        raise InvalidInput(f"{where}: template {name!r} fails: {err}") from None


def pages_context(
    portal: dict[str, Any], settings: dict[str, Any], nodes: list[dict[str, Any]], version: str
) -> dict[str, Any]:
    """What the home page shows of a valid portal (the ``sites``, ``nodes`` … of infra_pages); pure.

    portal, settings
        As for :func:`views`.
    nodes
        The inventory: ``name``, ``address``, ``cluster``, ``admin`` and ``links`` of each node.
    version
        Shown on the page.
    """
    shown = views(portal, settings)
    sites = [
        {
            "key": key,
            "names": view["names"],
            "url": site_url(next(n for n in view["names"] if "*" not in n), view, settings),
            "kind": "static" if view["kind"] == "static" else "proxy",
            "auth": bool(view["auth"]),
        }
        for key, view in shown.items()
        if key != "home" and view["kind"] != "known" and any("*" not in n for n in view["names"])
    ]
    return {
        "version": version,
        "admin_ip": settings["admin_ip"],
        "home": shown["home"]["domain"],
        "sites": sites,
        "nodes": nodes,
    }


def site_url(name: str, view: dict[str, Any], settings: dict[str, Any]) -> str:
    """Address of an entry, under one of its names, as one types it into a browser."""
    scheme, port, usual = ("http", settings["nginx_port"], 80)
    if view["tls"]:
        scheme, port, usual = ("https", settings["nginx_ssl_port"], 443)
    return f"{scheme}://{name}{'' if port == usual else f':{port}'}/"


# -- what Salt and the operator call -------------------------------------------------------------


def validate(
    minion: Minion, portal: dict[str, Any] | None = None, settings: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Check a portal without changing anything.

    portal
        The value of ``infra_portal``; without it, that of this minion's pillar.
    settings
        The parameters that the portal depends on; without them, this minion's.

    Returns ``{"valid": bool, "errors": [message, …]}``.
    """
    given = portal
    if given is None or settings is None:
        kwargs = _applied_arguments(minion)
        given = kwargs["portal"] if given is None else given
        settings = kwargs["settings"]
    errors = problems(given, settings, schema.check)
    errors = errors or file_problems(given, settings)
    return {"valid": not errors, "errors": errors}


def file_problems(portal: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """What is wrong with the files on this machine that a valid portal names (cert, key)."""
    errors = []
    for key, view in views(portal, settings).items():
        if view["own_cert"] and view["tls"] and view["kind"] != "known":
            fault = pki_certificates.pair_fault(view["cert"], view["cert_key"])
            if fault:
                errors.append(f"infra_portal.{key}.{fault}")
    return errors


def render(
    minion: Minion, portal: dict[str, Any] | None = None, settings: dict[str, Any] | None = None
) -> dict[str, str]:
    """Render a portal to text, without side effect.

    portal, settings
        As for :func:`validate`.

    Returns path below ``/etc/nginx`` → text (for a link: ``-> target``).

    Raises SaltInvocationError with every error in it.
    """
    specs = rendered(minion, *_arguments(minion, portal, settings))
    return {rel: spec.get("text", f"-> {spec.get('link')}") for rel, spec in specs.items()}


def rendered(
    minion: Minion, portal: dict[str, Any], settings: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Check a portal and render it to an infra_files set, for this machine.

    Raises SaltInvocationError with every error in it.
    """
    outcome = validate(minion, portal, settings)
    if not outcome["valid"]:
        raise InvalidInput("\n".join(outcome["errors"]))
    # Consoles of HAProxy: those of the machines that are registered here, and given ones.
    registered = registry.haproxy(registry.nodes(minion))
    settings = {
        **settings,
        "haproxy": {**registered, **settings["haproxy"]},
        "alerts_page": portal_cards.alerts_page(settings),
    }
    return files(portal, settings, facts(portal, settings), partial(template, minion))


def template(minion: Minion, name: str) -> str:
    """Text of a template below ``salt://infra/nginx/files``, empty where there is none."""
    return minion.call("cp.get_file_str", _TEMPLATES + name) or ""


def pages(
    minion: Minion,
    portal: dict[str, Any],
    settings: dict[str, Any],
    nodes: list[dict[str, Any]],
    version: str,
    services: list[dict[str, Any]] | None,
    extra_services: list[dict[str, Any]],
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Render the portal's own pages to an infra_files set below ``nginx_home``.

    portal, settings, nodes, version
        As for :func:`pages_context`.
    services, extra_services
        Cards that replace the default ones (None: keep those), and cards that are appended.

    Of these cards, a page has those whose page is served (see ``infra_cards.asked``).

    Returns the files, and what to record of the cards (see ``infra_cards.record``).

    Raises SaltInvocationError for a card or a page that is not as it should be.
    """
    data = salt.utils.yaml.safe_load(
        minion.call("cp.get_file_str", "salt://infra/nginx/pages.yaml")
    )
    context = pages_context(portal, settings, nodes, version)
    context["strings"], context["icons"] = data["strings"], data["icons"]
    cards = portal_pages.cards(
        data["cards"],
        settings["components"],
        services,
        extra_services,
        {"repo_name": settings["repo_name"]},
    )
    record = portal_cards.record(cards, settings)
    context["cards"] = [card for card in cards if record["asked"][card["url"]]["served"]]
    rendered_pages = portal_pages.render(context, partial(template, minion))
    group = settings["nginx_group"]
    files = {name: {"text": text, "group": group} for name, text in rendered_pages.items()}
    return files, record


def facts(portal: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """What rendering has to know of this machine (see :func:`files`)."""
    live = Path("/etc/letsencrypt/live")
    lineages = sorted(p.parent.name for p in live.glob("*/fullchain.pem"))
    return {
        "nginx_version": version(),
        "ipv6": settings["nginx_ipv6"] and Path("/proc/net/if_inet6").exists(),
        "lineages": lineages,
        "certificates": _certificates_digest(portal, settings, lineages),
    }


def _certificates_digest(
    portal: dict[str, Any], settings: dict[str, Any], lineages: list[str]
) -> str:
    """Changes when a certificate that nginx serves does, so that it is reloaded then too."""
    shown = views(portal, settings).values()
    public = {view["certbot"] for view in shown} & set(lineages)
    paths = {Path("/etc/nginx", _CERT_DIR, "pigsty.crt")}
    paths |= {Path(f"/etc/letsencrypt/live/{name}/fullchain.pem") for name in public}
    paths |= {Path(view["cert"]) for view in shown if view["own_cert"]}
    whole = hashlib.sha256()
    for path in sorted(paths):
        if path.exists():
            whole.update(path.read_bytes())
    return whole.hexdigest()


def version() -> list[int]:
    """Version of the nginx that is installed, as integers; where there is none, that of today."""
    if not salt.utils.path.which("nginx"):
        return list(_HTTP2_DIRECTIVE)
    out = process.run(["nginx", "-v"])["stderr"]
    found = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", out)
    if not found:
        raise CommandFailed(f"nginx -v: expected a version, got {out!r}")
    return [int(n) for n in found.groups()]


def check_staged(stage: str, portal: dict[str, Any]) -> None:
    """Have nginx test a staged copy of ``/etc/nginx``.

    stage
        Directory of the copy.
    portal
        What it was rendered from, to name the entry that is at fault.

    Raises CommandExecutionError that names the entry and quotes nginx and the line.
    """
    conf = str(Path(stage, "nginx.conf"))
    outcome = process.run(["nginx", "-t", "-q", "-c", conf])
    if outcome["retcode"]:
        raise CommandFailed(explain(outcome["stderr"], stage, portal))


def explain(stderr: str, stage: str, portal: dict[str, Any]) -> str:
    """Turn nginx's complaint about a staged file into one about the pillar."""
    lines = [line for line in stderr.splitlines() if "[emerg]" in line or "[crit]" in line]
    lines = lines or [line for line in stderr.splitlines() if "[" in line] or [stderr.strip()]
    message = re.sub(r"^nginx: \[\w+\] ", "", lines[0])
    found = re.search(rf"{re.escape(stage)}/(\S+?):(\d+)$", message)
    if not found:
        return f"nginx refuses the configuration: {message.replace(stage, '/etc/nginx')}"
    rel, number = found.group(1), int(found.group(2))
    reason = message[: found.start()].removesuffix(" in ").replace(stage, "/etc/nginx")
    text = Path(stage, rel).read_text(encoding="utf-8").splitlines()
    quoted = text[number - 1].strip() if 0 < number <= len(text) else ""
    key = rel.removeprefix("conf.d/").removesuffix(".conf")
    if key not in portal and key != "home":
        return f"nginx refuses {rel} line {number}, which is not of this portal: {reason}: {quoted}"
    raw = portal.get(key, {}).get("config", "")
    attribute = ".config" if quoted and quoted in raw else ""
    if "host not found in upstream" in reason:
        attribute = ".endpoint"
    return (
        f"infra_portal.{key}{attribute}: nginx refuses line {number} of {rel}: {reason}: {quoted}"
    )


def entries() -> dict[str, Any]:
    """Entries of the portal that is applied on this minion, with their names and where they lead."""
    return _remembered()["entries"]


def remember(portal: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """What ``entries`` and ``status`` know of an applied portal."""
    shown = {}
    for key, view in views(portal, settings).items():
        names = ("kind", "domain", "names", "endpoints", "scheme", "path", "tls", "redirect")
        shown[key] = {name: view[name] for name in names} | {"auth": bool(view["auth"])}
    ports = {"http": settings["nginx_port"], "https": settings["nginx_ssl_port"]}
    return {"entries": shown, "ports": ports}


def remembered_path() -> Path:
    """Where the applied portal is remembered."""
    return manifest.manifest_path("portal-entries")


def _remembered() -> dict[str, Any]:
    try:
        return json.loads(remembered_path().read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CommandFailed(
            "no portal has been applied on this minion yet; apply infra.nginx first"
        ) from None
    except ValueError as err:
        raise CommandFailed(
            f"{remembered_path()} is damaged ({err}); apply infra.nginx to write it anew"
        ) from None


def diff(
    minion: Minion, portal: dict[str, Any] | None = None, settings: dict[str, Any] | None = None
) -> dict[str, str]:
    """What applying a portal would change, file by file.

    portal, settings
        As for :func:`validate`.

    Returns path below ``/etc/nginx`` → unified difference; empty where nothing would change.
    """
    users = None
    if portal is None or settings is None:
        applied = _applied_arguments(minion)
        portal = applied["portal"] if portal is None else portal
        settings, users = applied["settings"], applied["users"]
    specs = rendered(minion, portal, settings)
    group = settings["nginx_group"]
    specs.update(htpasswd.files(users or {}, group, "/etc/nginx"))
    found = FileSet("portal", "/etc/nginx").plan(specs).diff
    if users is None:
        found.pop(".htpasswd", None)  # a portal that is given says nothing of the users
    return found


def _arguments(
    minion: Minion, portal: dict[str, Any] | None, settings: dict[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    if portal is not None and settings is not None:
        return portal, settings
    kwargs = _applied_arguments(minion)
    return (kwargs["portal"] if portal is None else portal), kwargs["settings"]


def _applied_arguments(minion: Minion) -> dict[str, Any]:
    """Arguments that ``infra.nginx`` would give to ``infra_portal.managed`` on this minion."""
    for chunk in minion.call("state.show_low_sls", "infra.nginx"):
        if isinstance(chunk, dict) and chunk.get("state") == "infra_portal":
            if chunk.get("fun") == "managed":
                portal, users = json.loads(chunk["portal"]), chunk.get("users") or {}
                return {"portal": portal, "settings": chunk["settings"], "users": users}
        elif not isinstance(chunk, dict):
            raise CommandFailed(str(chunk))
    raise CommandFailed("infra.nginx does not manage a portal on this minion")


# -- what answers --------------------------------------------------------------------------------


def served_generation(port: int, timeout: float = 2.0) -> str | None:
    """Generation that the running nginx tells of itself; None where none answers.

    port
        HTTP port of the portal.
    timeout
        Seconds to wait for the answer.
    """
    try:
        code, body = _ask("127.0.0.1", port, _GENERATION_NAME, "/", timeout=timeout)
    except OSError:
        return None
    return body.strip() if code == 200 else None


def wait_for_generation(port: int, wanted: str, seconds: float = 30.0, since: int = 0) -> None:
    """Wait until the running nginx serves a generation.

    port
        HTTP port of the portal.
    wanted
        The generation.
    seconds
        How long to wait.
    since
        Size in bytes that nginx's error log had before; what it says from there on ends the wait.

    Raises CommandExecutionError with nginx's own words where it does not in time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if served_generation(port) == wanted:
            return
        refused = [line for line in _error_log(since) if "[emerg]" in line]
        if refused:
            raise CommandFailed(f"nginx does not take the configuration up: {refused[-1]}")
        time.sleep(0.05)
    said = " | ".join(_error_log(since)[-3:]) or "nothing"
    raise CommandFailed(
        f"nginx does not serve the new configuration on port {port} after {seconds:.0f} s; "
        f"its error log says: {said}"
    )


def error_log_size() -> int:
    """Size of nginx's error log in bytes; 0 where there is none."""
    return _ERROR_LOG.stat().st_size if _ERROR_LOG.exists() else 0


def _error_log(since: int) -> list[str]:
    if not _ERROR_LOG.exists():
        return []
    with _ERROR_LOG.open("rb") as stream:
        stream.seek(since if since <= error_log_size() else 0)  # rotated in between: all of it
        return stream.read().decode("utf-8", "replace").splitlines()


def status(only: list[str] | None = None, timeout: float = 8.0) -> dict[str, Any]:
    """Ask every served name of the portal over HTTP and HTTPS, and its upstream for a connection.

    only
        Keys of the entries to ask for; all of them without it.
    timeout
        Seconds to wait for each; longer than nginx itself waits for an upstream that is silent
        (``nginx_proxy_connect_timeout``, 5 s), or its answer would be missed.

    Returns entry → ``domain``, ``http`` and ``https`` (status code, None where nothing answers),
    ``upstream`` (the endpoint), ``upstream_status`` (``ok``, ``refused``, ``timeout``, ``error``)
    and ``seconds`` that the asking took. ``home`` has ``cards`` besides, one row for each card of
    the home page: ``card``, ``url``, ``code`` (what the portal answers there, None for a link to
    another site, which is not asked), ``shown`` and ``reason`` (what its program answered when the
    pages were applied last).
    """
    known = _remembered()
    served = {
        key: entry
        for key, entry in known["entries"].items()
        if entry["kind"] != "known" and (only is None or key in only)
    }
    with ThreadPoolExecutor(max_workers=16) as pool:
        found = pool.map(lambda e: _entry_status(e, known["ports"], timeout), served.values())
        told = dict(zip(served, found, strict=True))
        if "home" in told:
            recorded = portal_cards.remembered()
            home, ports = served["home"], known["ports"]
            codes = pool.map(
                lambda card: _card_code(card["url"], home, ports, timeout), recorded["cards"]
            )
            told["home"]["cards"] = [
                _card_status(card, code, recorded["asked"].get(card["url"], {}))
                for card, code in zip(recorded["cards"], codes, strict=True)
            ]
        return told


def _entry_status(entry: dict[str, Any], ports: dict[str, int], timeout: float) -> dict[str, Any]:
    start = time.monotonic()
    host = entry["domain"].replace("*", "any")
    codes: dict[str, int | None] = {"http": None, "https": None}
    for scheme in ("http", "https") if entry["tls"] else ("http",):
        try:
            codes[scheme], _body = _ask(
                "127.0.0.1", ports[scheme], host, "/", scheme == "https", timeout
            )
        except OSError as err:
            log.debug("%s over %s: %s", host, scheme, err)
    upstream = entry["endpoints"][0] if entry["kind"] == "proxy" else None
    return {
        "domain": entry["domain"],
        **codes,
        "upstream": upstream,
        "upstream_status": _upstream_status(upstream, timeout) if upstream else None,
        "seconds": round(time.monotonic() - start, 3),
    }


def _card_code(url: str, home: dict[str, Any], ports: dict[str, int], timeout: float) -> int | None:
    """What the portal answers to who follows a card; None for another site's, and for nothing."""
    if not url.startswith("/"):
        return None
    scheme = "https" if home["tls"] else "http"
    path = quote(url.partition("#")[0], safe="%/:?&=+,;@!$'()*~-._")
    try:
        code, _body = _ask(
            "127.0.0.1", ports[scheme], home["domain"], path, scheme == "https", timeout
        )
    except OSError as err:
        log.debug("card %s: %s", url, err)
        return None
    return code


def _card_status(card: dict[str, str], code: int | None, asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "card": card["name"],
        "url": card["url"],
        "code": code,
        "shown": asked.get("served") is True,
        "reason": str(asked.get("reason", "")),
    }


def _upstream_status(endpoint: str, timeout: float) -> str:
    try:
        if endpoint.startswith("unix:"):
            with socket.socket(socket.AF_UNIX) as channel:
                channel.settimeout(timeout)
                channel.connect(endpoint[5:])
        else:
            host, _, port = endpoint.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), timeout).close()
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "timeout"
    except OSError:
        return "error"
    return "ok"


def _ask(
    address: str, port: int, host: str, path: str, tls: bool = False, timeout: float = 3.0
) -> tuple[int, str]:
    """One GET by name at an address; the certificate is not judged here, only what answers.

    Raises OSError (also for an answer that is no HTTP).
    """
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        if tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            raw = socket.create_connection((address, port), timeout)
            connection.sock = context.wrap_socket(raw, server_hostname=host)
        headers = {"Host": host, "Connection": "close", "User-Agent": _USER_AGENT}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(65536).decode("utf-8", "replace")
    except http.client.HTTPException as err:
        raise OSError(str(err)) from err
    finally:
        connection.close()
