"""What answers a URL of the portal: the entry, its attribute, the file, the way to the answer.

The files of ``/etc/nginx`` are read, so that what an operator put beside the portal counts, too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.portal import (
    cards,
    nginx_config,
    rendering,
    routing,
    server,
    stream_routes,
)
from infra_formula.portal.entries import Settings
from infra_formula.portal.nginx_config import Directive
from infra_formula.portal.views import View, views

SCHEMES = ("", "http", "https", "tcp", "udp")
"""How a visitor comes; empty for HTTPS if the portal has it, otherwise HTTP."""

_SET_HEADER = {"proxy_pass": "proxy_set_header", "grpc_pass": "grpc_set_header"}
_PARAMETER = {
    "grafana": "grafana_port",
    "vmetrics": "vmetrics_port",
    "vmselect": "vmselect_port",
    "vlogs": "vlogs_port",
    "vtraces": "vtraces_port",
    "vmalert": "vmalert_port",
    "alertmanager": "alertmanager_port",
    "blackbox": "blackbox_port",
}


def explain(
    name: str,
    path: str,
    scheme: str,
    portal: dict[str, Any],
    settings: Settings,
    root: str = rendering.ROOT,
    running: bool = True,
    config: Directive | None = None,
) -> dict[str, Any]:
    """Explain what answers a URL, or a port of a stream (see ``infra_portal.explain``).

    portal, settings
        The portal that was applied.
    root
        The folder of nginx.conf.
    running
        Ask nginx whether it runs with the files on disk.
    config
        The configuration below ``root``, if it was read before.

    Raises InvalidInput for a name or a path that no request can have.
    """
    if scheme not in SCHEMES:
        raise InvalidInput(f"scheme: expected one of {', '.join(SCHEMES[1:])}, got {scheme!r}")
    config = config or nginx_config.read(Path(root, "nginx.conf"))
    stream = stream_routes.chosen(name, scheme, settings)
    if stream:
        return stream_routes.explain(stream, config, settings) | _activity(settings, running)
    if scheme in ("tcp", "udp"):
        raise InvalidInput(f"name: expected a stream of infra_streams, or its port, got {name!r}")
    request = _request(name, path, scheme, portal, settings)
    route = routing.route(config, request)
    if route is None:
        raise InvalidInput(
            f"port {request.port}: nothing of nginx listens there; nginx_sslmode is "
            f"{settings['nginx_sslmode']}"
        )
    line = route.decision or route.location
    key = _key(line.file, root)
    all_views = views(portal, settings)
    view = all_views.get(key)
    result = {
        "url": _url(request),
        "entry": key if view else "",
        "attribute": _attribute(key, view, route, root, settings),
        "matched_by": _matched_by(request, route, view),
        "file": f"{line.file}:{line.line}",
        "location": _heading(route.location),
        **_answer(route, config),
        **_admission(route, settings),
        **({"certificate": _certificate(route, root)} if request.tls else {}),
        **_headers(route),
    }
    if route.unknown:
        result["undecided"] = list(dict.fromkeys(route.unknown))
    return result | _activity(settings, running)


def _activity(settings: Settings, running: bool) -> dict[str, bool]:
    return {"active": _is_active(settings)} if running else {}


def _certificate(route: routing.Route, root: str) -> str:
    """The file of the certificate that is shown: where the portal's links lead."""
    lines = route.server.inherited("ssl_certificate")
    return str(Path(root, lines[0].arguments[0]).resolve()) if lines else ""


def _request(
    name: str, path: str, scheme: str, portal: dict[str, Any], settings: Settings
) -> routing.Request:
    """The request of a name, a URL, or the key of an entry."""
    tls = scheme == "https" if scheme else settings["nginx_sslmode"] != "disable"
    if "://" in name:
        parts = urlsplit(name)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInput(f"name: expected a name, or an http(s) URL, got {name!r}")
        tls = parts.scheme == "https"
        if parts.path or parts.query:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        name = parts.hostname
    all_views = views(portal, settings)
    names = {n for view in all_views.values() for n in view["names"]}
    if name not in names and all_views.get(name, {}).get("domain"):
        name = all_views[name]["domain"].replace("*", "any")
    if re.fullmatch(r"[0-9A-Fa-f]*:[0-9A-Fa-f:.]+", name):
        name = f"[{name}]"
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\]", name):
        raise InvalidInput(f"name: expected a name, an address or a URL, got {name!r}")
    if not path.startswith("/") or re.search(r"[\x00-\x20\x7f]", path):
        raise InvalidInput(f"path: expected a path that starts with /, as it is sent, got {path!r}")
    return routing.Request(
        name=name,
        path=path.partition("#")[0],
        port=settings["nginx_ssl_port" if tls else "nginx_port"],
        tls=tls,
        address=settings.get("own_address") or settings["admin_ip"],
    )


def _url(request: routing.Request) -> str:
    scheme, default = ("https", 443) if request.tls else ("http", 80)
    port = "" if request.port == default else f":{request.port}"
    return f"{scheme}://{request.name}{port}{request.path}"


def _key(file: Path, root: str) -> str:
    """The entry whose file this is; for another file its path below ``conf.d``."""
    try:
        rel = file.relative_to(Path(root, "conf.d")).as_posix()
    except ValueError:
        return ""
    return rel.removesuffix(".conf")


def _matched_by(request: routing.Request, route: routing.Route, view: View | None) -> str:
    names = [n for line in route.server.all("server_name") for n in line.arguments]
    if route.matched == "default":
        owner = "the home page" if view and view["key"] == "home" else "the default server"
        return f"no entry has the name {request.name}; {owner} answers"
    if route.matched == "exact":
        return f"the name {request.name}"
    return f"the name {request.name} fits one of {', '.join(names)}"


# -- the attribute ---------------------------------------------------------------------------------


def _attribute(
    key: str, view: View | None, route: routing.Route, root: str, settings: Settings
) -> str:
    """Key path of the pillar that has this answered; empty for a file that is not the portal's."""
    line = route.decision or route.location
    if key.startswith("haproxy/location-"):
        return f"registered minion {key.removeprefix('haproxy/location-')}"
    if view is None:
        return ""
    path = f"infra_portal.{key}"
    if view["conf"]:
        return f"{path}.conf"
    if _is_raw(line, key) or _is_raw(route.location, key):
        return f"{path}.config"
    if route.target.startswith("https://") and route.decision and route.decision.name == "return":
        return _redirect_parameter(path, view, settings)
    place = _place(route.location)
    listed = _listed(view, place)
    if listed:
        return f"{path}.{listed}"
    if view["kind"] == "home":
        return _home_attribute(path, place, settings)
    if line.name in routing.PASSES:
        return f"{path}.endpoint"
    return f"{path}.path" if view["kind"] == "static" else path


def _redirect_parameter(path: str, view: View, settings: Settings) -> str:
    if "enforce_https" in view["given"]:
        return f"{path}.enforce_https"
    return "nginx_sslmode" if settings["nginx_sslmode"] == "enforce" else "portal_auth"


def _place(location: Directive) -> str:
    return location.arguments[-1] if location.name == "location" and location.arguments else ""


def _listed(view: View, place: str) -> str:
    """The item of a list or mapping of the entry that makes a location."""
    for attribute in ("auth_paths", "open_paths"):
        for index, pattern in enumerate(view[attribute]):
            if place == pattern:
                return f"{attribute}[{index}]"
    locations = view["given"].get("locations")
    if isinstance(locations, dict):
        for name in locations:
            own = str(name).split(maxsplit=1)[-1]
            if place in (own, f"{own}/"):
                return f"locations.{name}"
    return ""


def _home_attribute(path: str, place: str, settings: Settings) -> str:
    kind, where = cards.target(place if place.startswith("/") else "", settings)
    if kind == "program":
        return _PARAMETER.get(where[0], str(where[0]))
    if place.startswith(f"/{settings['repo_name']}/"):
        return "repo_home"
    if place in ("/code/", "/jupyter/"):
        return place.strip("/")
    return path if place in ("/", "/zh", "") else f"{path} ({place})"


def _is_raw(line: Directive, key: str) -> bool:
    """Whether a line of an entry's file is in its ``config``."""
    comment = f"# infra_portal.{key}.config"
    try:
        text = line.file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    starts = [i for i, row in enumerate(text, 1) if row.strip() == comment]
    if not starts or line.line <= starts[0]:
        return False
    # The server's end comes at its own indentation; the next server is not the raw one.
    end = next((i for i in range(starts[0], len(text)) if text[i].startswith("}")), len(text))
    return line.line <= end


# -- the answer ----------------------------------------------------------------------------------


def _heading(block: Directive) -> str:
    return " ".join([block.name, *block.arguments])


def _answer(route: routing.Route, config: Directive) -> dict[str, Any]:
    """What a visitor gets who may come in."""
    line = route.decision
    if route.code is not None:
        answer: dict[str, Any] = {"answer": f"{route.code} {route.target}".strip()}
        answer["status"] = route.code
        if route.target:
            answer["redirect"] = route.target
        return answer | {"upstream": []}
    if line is not None and line.name in routing.PASSES:
        return _passed(route, config, line)
    if line is not None and line.name == "stub_status":
        return {"answer": "nginx's own counters", "upstream": []}
    if route.file:
        return {"answer": f"the file {route.file}", "path": str(route.file), "upstream": []}
    return {"answer": "a file", "upstream": []}


def _passed(route: routing.Route, config: Directive, line: Directive) -> dict[str, Any]:
    target = _with_sets(route, line.arguments[0])
    scheme, separator, rest = target.rpartition("://")
    unix = rest.startswith("unix:")
    # $at_run_time is empty: it has nginx resolve a name while it runs.
    host, uri = (rest, "") if unix else _split_uri(rest.replace("$at_run_time", ""))
    servers = _members(host, config)
    place = route.location.arguments if route.location.name == "location" else []
    plain = len(place) == 1 or (len(place) == 2 and place[0] == "^~")
    path = uri + route.uri[len(place[-1]) :] if uri and plain else uri or route.uri_as_sent()
    return {
        "answer": f"what the upstream answers to {path}",
        "upstream": servers or [host],
        "upstream_path": path,
        "scheme": scheme if separator else line.name.removesuffix("_pass"),
    }


def _members(host: str, config: Directive) -> list[str]:
    """The addresses of an upstream; of one behind a relay on loopback, the name behind it."""
    members = [
        line.arguments[0]
        for http in config.all("http")
        for upstream in http.all("upstream")
        if upstream.arguments == [host]
        for line in upstream.all("server")
        if line.arguments
    ]
    relays = {
        listen.arguments[0]: line.arguments[0]
        for http in config.all("http")
        for relay in http.all("server")
        for listen in relay.all("listen")
        if listen.arguments and listen.arguments[0].startswith("unix:")
        for location in relay.all("location")
        for line in location.all("proxy_pass")
        if line.arguments
    }
    return [
        relays[m].rpartition("://")[2].replace("$at_run_time", "") if m in relays else m
        for m in members
    ]


def _split_uri(rest: str) -> tuple[str, str]:
    host, slash, uri = rest.partition("/")
    return host, slash + uri


def _with_sets(route: routing.Route, text: str) -> str:
    """A target with the variables that ``set`` gives constants in the blocks around."""
    for block in route.location.around():
        for line in block.all("set"):
            if len(line.arguments) == 2 and "$" not in line.arguments[1]:
                name = line.arguments[0].removeprefix("$")
                text = re.sub(rf"\$(?:\{{{name}\}}|{name}\b)", lambda _: line.arguments[1], text)  # noqa: B023
    return text


def _admission(route: routing.Route, settings: Settings) -> dict[str, Any]:
    """How a visitor has to log in, and the rules about addresses.

    ``login`` is ``basic``, ``oidc``, or what else asks; empty if nobody does. nginx decides about
    ``return`` and ``rewrite`` before it asks.
    """
    admission: dict[str, Any] = {"login": "", "addresses": []}
    if route.decision is not None and route.decision.name in ("return", "rewrite", "internal"):
        return admission
    logins = []
    basic = route.location.inherited("auth_basic")
    if basic and basic[-1].arguments != ["off"]:
        logins.append("basic")
    asks = route.location.inherited("auth_request")
    if asks and asks[-1].arguments != ["off"]:
        own = f"{settings['oauth2_proxy_prefix']}/auth"
        logins.append("oidc" if asks[-1].arguments == [own] else f"by {asks[-1].arguments[0]}")
    admission["login"] = " and ".join(logins)
    admission["addresses"] = [_heading(d) for d in route.location.inherited("allow", "deny")]
    if any(d.arguments == ["any"] for d in route.location.inherited("satisfy")):
        admission["satisfy"] = "any"
    client = route.server.inherited("ssl_verify_client")
    if client and client[-1].arguments != ["off"]:
        admission["client_certificate"] = client[-1].arguments[0]
    return admission


def _headers(route: routing.Route) -> dict[str, Any]:
    """Headers to the upstream, and those that the portal adds to the answer, as nginx has them."""
    sent: dict[str, str] = {}
    if route.decision is not None and route.code is None:
        family = _SET_HEADER.get(route.decision.name)
        lines = route.location.inherited(family) if family else []
        for line in lines:
            if len(line.arguments) == 2 and line.arguments[1]:
                sent[line.arguments[0]] = line.arguments[1]
    added = {
        line.arguments[0]: line.arguments[1]
        for line in route.location.inherited("add_header")
        if len(line.arguments) > 1
    }
    return {"request_headers": sent, "answer_headers": added}


def _is_active(settings: Settings) -> bool:
    """Whether the running nginx has the configuration that is on disk."""
    try:
        return server.served_hash(settings["nginx_port"]) == server.hash_on_disk()
    except CommandFailed:
        return False
