"""Who is told of what: Alertmanager's configuration from pillar, and what it knows now.

``config``, ``problems`` and ``secrets`` are pure. The state module infra_alert puts the file in
place.

A receiver is a mapping from a way of telling to its options, in Alertmanager's own words, or to a
list of such mappings: ``{mail: {to: ops@example.com}, slack: [{channel: '#a'}, {channel: '#b'}]}``.
Ways are those of ``WAYS``, and every ``*_configs`` that Alertmanager knows.
"""

from __future__ import annotations

import difflib
import json
import re
from typing import Any

import salt.utils.path
import salt.utils.yaml

from infra_formula.daemon import checks, local_ports
from infra_formula.errors import CommandFailed, InvalidInput

WAYS = {
    "mail": "email_configs",
    "webhook": "webhook_configs",
    "slack": "slack_configs",
    "telegram": "telegram_configs",
    "wecom": "wechat_configs",
    "dingtalk": "webhook_configs",
    "feishu": "webhook_configs",
    "pagerduty": "pagerduty_configs",
}
"""Ways of telling → Alertmanager's name. DingTalk and Feishu go through a bridge's webhook."""

LEVELS = {"CRIT": "0", "WARN": "1", "INFO": "2"}
_PACE = {
    "CRIT": {"group_wait": "10s", "repeat_interval": "1h"},
    "WARN": {"repeat_interval": "4h"},
    "INFO": {"group_wait": "5m", "repeat_interval": "24h"},
}
_ROUTE = {
    "group_by": ["alertname", "severity"],
    "group_wait": "30s",
    "group_interval": "5m",
    "repeat_interval": "4h",
}
_HEAD = "# Managed by Salt (infra formula). Changes here are overwritten.\n"
_SECRET = re.compile(r"password|secret|token|key|credential|url|authorization", re.IGNORECASE)


def config(settings: dict[str, Any]) -> dict[str, Any]:
    """Make Alertmanager's configuration; pure.

    settings
        The parameters ``receivers``, ``severities``, ``routes``, ``route``, ``inhibit_rules`` and
        ``global``, each the value of ``alertmanager_<name>``.

    Returns the configuration as it is to be written. Alerts go through the site's own routes first,
    then through one per severity; what is left goes to the first receiver. Without any receiver
    nobody is told.
    """
    given = settings["receivers"]
    first = next(iter(given), "default")
    receivers = [_receiver(name, ways) for name, ways in given.items()] or [{"name": "default"}]
    routes = [dict(route) for route in settings["routes"]]
    for severity, names in settings["severities"].items():
        names = [names] if isinstance(names, str) else names
        for index, name in enumerate(names):
            route: dict[str, Any] = {
                "receiver": name,
                "matchers": [f'severity="{severity}"'],
                **{k: v for k, v in _PACE[severity].items() if k not in settings["route"]},
            }
            if index < len(names) - 1:
                route["continue"] = True
            routes.append(route)
    root = {"receiver": first, **_ROUTE, **settings["route"]}
    out: dict[str, Any] = {"global": {"resolve_timeout": "5m", **settings["global"]}}
    out["route"] = {**root, "routes": routes} if routes else root
    out["receivers"] = receivers
    if settings["inhibit_rules"]:
        out["inhibit_rules"] = settings["inhibit_rules"]
    return out


def _receiver(name: str, ways: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {"name": name}
    for way, options in ways.items():
        entries = options if isinstance(options, list) else [options]
        filled = [{"send_resolved": True, **entry} for entry in entries]
        key = WAYS.get(way, way)
        out[key] = [*out.get(key, []), *filled]
    return out


def problems(parameters: dict[str, Any]) -> list[str]:
    """What is wrong with the parameters that say who is told; pure.

    parameters
        The dictionary below ``infra:`` in pillar; types were checked before.

    Returns one message per error, each beginning with the key path. What Alertmanager alone can
    judge is left to its own check.
    """
    errors = []
    receivers = parameters.get("alertmanager_receivers") or {}
    for name, ways in receivers.items():
        path = f"alertmanager_receivers.{name}"
        if not ways:
            errors.append(f"{path}: expected a way of telling: {', '.join(WAYS)}")
        for way, options in ways.items():
            if way not in WAYS and not str(way).endswith("_configs"):
                near = difflib.get_close_matches(str(way), WAYS, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                errors.append(f"{path}.{way}: expected one of {', '.join(WAYS)}{hint}")
            entries = options if isinstance(options, list) else [options]
            if not entries or not all(isinstance(entry, dict) for entry in entries):
                errors.append(f"{path}.{way}: expected a dictionary of options, or a list of them")
    known = list(receivers) or ["default"]
    for severity, names in (parameters.get("alertmanager_severities") or {}).items():
        for name in [names] if isinstance(names, str) else names:
            errors += _unknown(f"alertmanager_severities.{severity}", name, known)
    for index, route in enumerate(parameters.get("alertmanager_routes") or []):
        errors += _route_problems(f"alertmanager_routes[{index}]", route, known, True)
    given = (parameters.get("alertmanager_route") or {}).get("receiver")
    if given is not None:
        errors += _unknown("alertmanager_route.receiver", given, known)
    return errors


def _route_problems(path: str, route: Any, known: list[str], top: bool) -> list[str]:
    if not isinstance(route, dict):
        return [f"{path}: expected a dictionary, got {route!r}"]
    errors = []
    if "receiver" in route:
        errors += _unknown(f"{path}.receiver", route["receiver"], known)
    if top and not any(key in route for key in ("matchers", "match", "match_re")):
        errors.append(f"{path}.matchers: missing; without it all alerts would end here")
    for index, child in enumerate(route.get("routes") or []):
        errors += _route_problems(f"{path}.routes[{index}]", child, known, False)
    return errors


def _unknown(path: str, name: Any, known: list[str]) -> list[str]:
    if name in known:
        return []
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return [f"{path}: expected a name of alertmanager_receivers, got {name!r}{hint}"]


def files(configuration: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Render the configuration to an infra_files set below /etc; pure. It is its user's alone."""
    own = {"mode": "0600", "user": "prometheus", "group": "prometheus", "secret": True}
    return {"alertmanager.yml": {"text": _HEAD + _yaml(configuration), **own}}


def _yaml(data: Any) -> str:
    return salt.utils.yaml.safe_dump(
        data, default_flow_style=False, sort_keys=False, allow_unicode=True, width=4096
    )


def secrets(value: Any, key: str = "") -> set[str]:
    """Texts in a configuration that nobody else may read: passwords, tokens, keys, URLs; pure."""
    if isinstance(value, dict):
        return {s for k, v in value.items() for s in secrets(v, str(k))}
    if isinstance(value, list):
        return {s for v in value for s in secrets(v, key)}
    if isinstance(value, str) and len(value) >= 4 and _SECRET.search(key):
        return {value}
    return set()


def check(settings: dict[str, Any], amtool: str = "amtool") -> None:
    """Have Alertmanager's own tool check a configuration.

    settings
        As for :func:`config`.
    amtool
        The tool. Where it is not installed yet nothing is checked.

    Raises CommandExecutionError that names the parameter and quotes the tool, without secrets.
    """
    if not salt.utils.path.which(amtool):
        return
    fault = _refused(config(settings), amtool)
    if fault is None:
        return
    # Which parameter it is: the one without which it is accepted.
    empty: dict[str, Any] = {
        "routes": [],
        "inhibit_rules": [],
        "route": {},
        "severities": {},
        "global": {},
    }
    for name, nothing in empty.items():
        if settings[name] and _refused(config({**settings, name: nothing}), amtool) is None:
            raise CommandFailed(f"alertmanager_{name}{_index(settings, name, amtool)}: {fault}")
    for name, ways in settings["receivers"].items():
        alone = {**settings, **empty, "global": settings["global"], "receivers": {name: ways}}
        if _refused(config(alone), amtool) is not None:
            raise CommandFailed(f"alertmanager_receivers.{name}: {fault}")
    raise CommandFailed(f"alertmanager: {fault}")


def _index(settings: dict[str, Any], name: str, amtool: str) -> str:
    """Which element of a list is at fault, as ``[2]``; empty where it is not one alone."""
    if not isinstance(settings[name], list):
        return ""
    for index, element in enumerate(settings[name]):
        if _refused(config({**settings, name: [element]}), amtool) is not None:
            return f"[{index}]"
    return ""


def _refused(configuration: dict[str, Any], amtool: str) -> str | None:
    good, told = checks.run_check(
        [amtool, "check-config", "{path}"], "alertmanager.yml", _yaml(configuration)
    )
    if good:
        return None
    said = checks.extract_error_lines(told)
    for secret in sorted(secrets(configuration), key=len, reverse=True):
        said = said.replace(secret, "<secret>")
    return f"amtool refuses it: {said}"


# -- what it knows -------------------------------------------------------------------------------


def alerts(port: int = 9059) -> list[dict[str, Any]]:
    """Alerts that this node's Alertmanager knows.

    port
        The value of ``alertmanager_port``.

    Returns one mapping per alert: ``labels``, ``state`` (``active``, ``suppressed``), ``since`` and
    ``receivers``.

    Raises CommandExecutionError where it does not answer.
    """
    return [
        {
            "labels": alert["labels"],
            "state": alert["status"]["state"],
            "since": alert["startsAt"],
            "receivers": [receiver["name"] for receiver in alert["receivers"]],
        }
        for alert in _get(port, "/api/v2/alerts")
    ]


def silences(port: int = 9059) -> list[dict[str, Any]]:
    """Silences that are in force or to come, on this node's Alertmanager and so on all of them.

    port
        The value of ``alertmanager_port``.
    """
    return [s for s in _get(port, "/api/v2/silences") if s["status"]["state"] != "expired"]


def cluster(port: int = 9059) -> dict[str, Any]:
    """The mesh that this node's Alertmanager sees: ``status`` and ``peers`` (addresses).

    port
        The value of ``alertmanager_port``.
    """
    seen = _get(port, "/api/v2/status")["cluster"]
    return {
        "status": seen["status"],
        "peers": sorted(peer["address"] for peer in seen.get("peers") or []),
    }


def _get(port: int, path: str) -> Any:
    code, body = local_ports.request(port, path)
    if code != 200:
        raise CommandFailed(f"Alertmanager on port {port}: {body or code}")
    try:
        return json.loads(body)
    except ValueError as err:
        raise InvalidInput(f"port {port} is not Alertmanager's: {err}") from err
