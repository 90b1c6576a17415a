"""What answers a URL of the portal: the entry, its attribute, the file, the way to the answer.

The files of ``/etc/nginx`` are read, so that what an operator put beside the portal counts, too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.portal import cards, nginx_config, rendering, routing, server
from infra_formula.portal.entries import Settings
from infra_formula.portal.nginx_config import Directive
from infra_formula.portal.views import View, views

_SET_HEADER = {"proxy_pass": "proxy_set_header", "grpc_pass": "grpc_set_header"}
_PARAMETER = {
    "grafana": "grafana_port",
    "vmetrics": "vmetrics_port",
    "vlogs": "vlogs_port",
    "vtraces": "vtraces_port",
    "vmalert": "vmalert_port",
    "alertmanager": "alertmanager_port",
    "blackbox": "blackbox_port",
}


def explain(
    name: str,
    path: str,
    portal: dict[str, Any],
    settings: Settings,
    root: str = rendering.ROOT,
    running: bool = True,
) -> dict[str, Any]:
    """Explain what answers a URL (see ``infra_portal.explain``).

    portal, settings
        The portal that was applied.
    root
        The folder of nginx.conf.
    running
        Ask nginx whether it runs with the files on disk.

    Raises InvalidInput for a name or a path that no request can have.
    """
    request = _request(name, path, portal, settings)
    config = nginx_config.read(Path(root, "nginx.conf"))
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
        "login": _login(route, portal, settings),
        **_headers(route),
    }
    if route.unknown:
        result["undecided"] = route.unknown
    if running:
        result["active"] = _is_active(settings)
    return result


def _request(name: str, path: str, portal: dict[str, Any], settings: Settings) -> routing.Request:
    """The request of a name, a URL, or the key of an entry."""
    tls = settings["nginx_sslmode"] != "disable"
    if "://" in name:
        parts = urlsplit(name)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInput(f"name: expected a name, or an http(s) URL, got {name!r}")
        tls = parts.scheme == "https"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        name = parts.hostname
    all_views = views(portal, settings)
    names = {n for view in all_views.values() for n in view["names"]}
    if name not in names and all_views.get(name, {}).get("domain"):
        name = all_views[name]["domain"].replace("*", "any")
    if not re.fullmatch(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:]+", name):
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
            if str(name).split()[-1] == place:
                return f"locations.{name}"
    return ""


def _home_attribute(path: str, place: str, settings: Settings) -> str:
    kind, where = cards.target(place if place.startswith("/") else "", settings)
    if kind == "program":
        return _PARAMETER.get(where[0], where[0])
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
    """What a visitor gets: ``answer``, and what it is made of."""
    if route.code is not None:
        return {"answer": f"{route.code} {route.target}".strip(), "upstream": []}
    line = route.decision
    if line is not None and line.name in routing.PASSES:
        return _passed(route, config, line)
    if line is not None and line.name == "stub_status":
        return {"answer": "nginx's own counters", "upstream": []}
    base = line.arguments[0] if line is not None and line.arguments else ""
    if line is not None and line.name == "alias":
        shown = base + route.uri[len(_place(route.location)) :]
    else:
        roots = route.location.inherited("root")
        shown = (roots[0].arguments[0] if roots else "") + route.uri
    return {"answer": f"the file {shown}", "upstream": []}


def _passed(route: routing.Route, config: Directive, line: Directive) -> dict[str, Any]:
    target = _with_sets(route, line.arguments[0])
    scheme, separator, rest = target.rpartition("://")
    unix = rest.startswith("unix:")
    host, uri = (rest, "") if unix else _split_uri(rest)
    upstreams = [
        d
        for http in config.all("http")
        for d in http.all("upstream")
        if d.arguments and d.arguments[0] == host
    ]
    servers = [s.arguments[0] for d in upstreams for s in d.all("server") if s.arguments]
    place = route.location.arguments if route.location.name == "location" else []
    plain = len(place) == 1 or (len(place) == 2 and place[0] == "^~")
    path = uri + route.uri[len(place[-1]) :] if uri and plain else uri or route.uri
    return {
        "answer": f"the upstream's, which is sent {path}",
        "upstream": servers or [host],
        "scheme": scheme if separator else line.name.removesuffix("_pass"),
    }


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


def _login(route: routing.Route, portal: dict[str, Any], settings: Settings) -> str:
    """How a visitor has to log in: ``basic``, ``oidc``, ``none``, or what else asks."""
    if route.decision is not None and route.decision.name in ("return", "rewrite", "internal"):
        return "none"
    logins = []
    basic = route.location.inherited("auth_basic")
    if basic and basic[-1].arguments != ["off"]:
        logins.append("basic")
    asks = route.location.inherited("auth_request")
    if asks and asks[-1].arguments != ["off"]:
        own = f"{settings['oauth2_proxy_prefix']}/auth"
        logins.append("oidc" if asks[-1].arguments == [own] else f"by {asks[-1].arguments[0]}")
    text = " and ".join(logins) or "none"
    rules = [_heading(d) for d in route.location.inherited("allow", "deny")]
    if rules:
        any_of = any(d.arguments == ["any"] for d in route.location.inherited("satisfy"))
        text += f"{' or' if any_of else '; addresses'}: {', '.join(rules)}"
    return text


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
