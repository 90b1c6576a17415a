"""Alertmanager: its configuration from pillar, and the alerts that it has now.

A receiver is a mapping from an integration to its options, as Alertmanager names them, or to a
list of such mappings: ``{mail: {to: ops@example.com}, slack: [{channel: '#a'}, {channel: '#b'}]}``.
Integrations are those of ``INTEGRATIONS``, and every ``*_configs`` of Alertmanager.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

from infra_formula import redaction, templates
from infra_formula.daemon import checks, configuration, local_ports
from infra_formula.daemon.model import Daemon
from infra_formula.errors import Refused
from infra_formula.fileset.contents import File
from infra_formula.state import Plan

INTEGRATIONS = {
    "mail": "email_configs",
    "webhook": "webhook_configs",
    "slack": "slack_configs",
    "telegram": "telegram_configs",
    "wecom": "wechat_configs",
    "dingtalk": "webhook_configs",
    "feishu": "webhook_configs",
    "pagerduty": "pagerduty_configs",
}
"""Integration → Alertmanager's name. DingTalk and Feishu go through a bridge's webhook."""

_TIMING = {
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
_SECRET = re.compile(r"password|secret|token|key|credential|url|authorization", re.IGNORECASE)


def config(settings: dict[str, Any]) -> dict[str, Any]:
    """Make Alertmanager's configuration.

    settings
        The parameters ``receivers``, ``severities``, ``routes``, ``route``, ``inhibit_rules`` and
        ``global``, each the value of ``alertmanager_<name>``.

    Alerts go through the site's own routes first, then through one per severity, then to the first
    receiver. Without a receiver, no notification is sent.
    """
    first = next(iter(settings["receivers"]), "default")
    receivers = [_receiver(name, used) for name, used in settings["receivers"].items()]
    routes = [dict(route) for route in settings["routes"]]
    for severity, names in settings["severities"].items():
        names = [names] if isinstance(names, str) else names
        for index, name in enumerate(names):
            route: dict[str, Any] = {
                "receiver": name,
                "matchers": [f'severity="{severity}"'],
                **{k: v for k, v in _TIMING[severity].items() if k not in settings["route"]},
            }
            if index < len(names) - 1:
                route["continue"] = True
            routes.append(route)
    root = {"receiver": first, **_ROUTE, **settings["route"]}
    out: dict[str, Any] = {"global": {"resolve_timeout": "5m", **settings["global"]}}
    out["route"] = {**root, "routes": routes} if routes else root
    out["receivers"] = receivers or [{"name": "default"}]
    if settings["inhibit_rules"]:
        out["inhibit_rules"] = settings["inhibit_rules"]
    return out


def _receiver(name: str, integrations: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {"name": name}
    for integration, options in integrations.items():
        entries = options if isinstance(options, list) else [options]
        filled = [{"send_resolved": True, **entry} for entry in entries]
        key = INTEGRATIONS.get(integration, integration)
        out[key] = [*out.get(key, []), *filled]
    return out


def problems(parameters: dict[str, Any]) -> list[str]:
    """Problems of the parameters of Alertmanager, as far as it need not be run for them.

    parameters
        The dictionary below ``infra:`` in pillar; types were checked before.

    Returns one message per problem, each beginning with the key path.
    """
    errors = []
    receivers = parameters.get("alertmanager_receivers") or {}
    names = ", ".join(INTEGRATIONS)
    for receiver, integrations in receivers.items():
        path = f"alertmanager_receivers.{receiver}"
        if not integrations:
            errors.append(f"{path}: expected an integration: {names}")
        for name, options in integrations.items():
            if name not in INTEGRATIONS and not str(name).endswith("_configs"):
                hint = _did_you_mean(name, INTEGRATIONS)
                errors.append(f"{path}.{name}: expected one of {names}{hint}")
            entries = options if isinstance(options, list) else [options]
            if not entries or not all(isinstance(entry, dict) for entry in entries):
                errors.append(f"{path}.{name}: expected a dictionary of options, or a list of them")
    known = list(receivers) or ["default"]
    for severity, used in (parameters.get("alertmanager_severities") or {}).items():
        for name in [used] if isinstance(used, str) else used:
            errors += _unknown(f"alertmanager_severities.{severity}", name, known)
    for index, route in enumerate(parameters.get("alertmanager_routes") or []):
        errors += _route_problems(f"alertmanager_routes[{index}]", route, known, True)
    default = (parameters.get("alertmanager_route") or {}).get("receiver")
    if default is not None:
        errors += _unknown("alertmanager_route.receiver", default, known)
    return errors


def _route_problems(path: str, route: Any, known: list[str], top: bool) -> list[str]:
    if not isinstance(route, dict):
        return [f"{path}: expected a dictionary, got {route!r}"]
    errors = []
    if "receiver" in route:
        errors += _unknown(f"{path}.receiver", route["receiver"], known)
    if top and not any(key in route for key in ("matchers", "match", "match_re")):
        errors.append(f"{path}.matchers: missing; without it this route would take all alerts")
    for index, child in enumerate(route.get("routes") or []):
        errors += _route_problems(f"{path}.routes[{index}]", child, known, False)
    return errors


def _unknown(path: str, name: Any, known: list[str]) -> list[str]:
    if name in known:
        return []
    hint = _did_you_mean(name, known)
    return [f"{path}: expected a name of alertmanager_receivers, got {name!r}{hint}"]


def _did_you_mean(name: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def plan(daemon: Daemon, settings: dict[str, Any]) -> Plan:
    """Plan Alertmanager's configuration, checked by amtool.

    settings
        See :func:`config`.
    """
    redaction.add(settings["receivers"], settings["global"])
    rendered = files(config(settings))
    difference = configuration.compare("alertmanager", "/etc", rendered, replace=rendered)
    if difference.has_changes:
        check(settings)
    receivers = len(settings["receivers"])
    comment = f"Alertmanager's configuration is up to date: {receivers} receivers."
    if not receivers:
        comment = "Alertmanager sends no notifications: alertmanager_receivers is empty."
    would = "Alert receivers and routes would change."
    return configuration.plan(difference, [daemon], comment=comment, would=would)


def files(content: dict[str, Any]) -> dict[str, File]:
    """Render the configuration as a file set below ``/etc``, readable by its user only."""
    owner = {"mode": "0600", "user": "prometheus", "group": "prometheus", "secret": True}
    text = templates.HEADER + templates.to_yaml(content)
    return {"alertmanager.yml": {"text": text, **owner}}


def secrets(value: Any, key: str = "") -> set[str]:
    """Secrets in a configuration: passwords, tokens, keys, URLs."""
    if isinstance(value, dict):
        return {s for k, v in value.items() for s in secrets(v, str(k))}
    if isinstance(value, list):
        return {s for v in value for s in secrets(v, key)}
    if isinstance(value, str) and len(value) >= 4 and _SECRET.search(key):
        return {value}
    return set()


def check(settings: dict[str, Any], amtool: str = "amtool") -> None:
    """Have amtool check a configuration. Nothing is checked if it is not installed yet.

    settings
        See :func:`config`.

    Raises Refused that names the parameter and quotes the tool, without secrets.
    """
    fault = _refusal(config(settings), amtool)
    if fault is None:
        return
    # The parameter at fault is the one without which the configuration is accepted.
    empty: dict[str, Any] = {
        "routes": [],
        "inhibit_rules": [],
        "route": {},
        "severities": {},
        "global": {},
    }
    for name, nothing in empty.items():
        if settings[name] and _refusal(config({**settings, name: nothing}), amtool) is None:
            raise Refused(f"alertmanager_{name}{_index(settings, name, amtool)}: {fault}")
    for name, used in settings["receivers"].items():
        alone = {**settings, **empty, "global": settings["global"], "receivers": {name: used}}
        if _refusal(config(alone), amtool) is not None:
            raise Refused(f"alertmanager_receivers.{name}: {fault}")
    raise Refused(f"alertmanager: {fault}")


def _index(settings: dict[str, Any], name: str, amtool: str) -> str:
    """The element of a list that is refused by itself, as ``[2]``; empty for none."""
    if not isinstance(settings[name], list):
        return ""
    for index, element in enumerate(settings[name]):
        if _refusal(config({**settings, name: [element]}), amtool) is not None:
            return f"[{index}]"
    return ""


def _refusal(content: dict[str, Any], amtool: str) -> str | None:
    argv = [amtool, "check-config", "{path}"]
    succeeded, output = checks.run_check(argv, "alertmanager.yml", templates.to_yaml(content))
    if succeeded:
        return None
    output = redaction.Scrubber(secrets(content)).text(output)
    return f"amtool refuses it: {checks.extract_error_lines(output)}"


# -- queries -------------------------------------------------------------------------------------


def alerts(port: int = 9059) -> list[dict[str, Any]]:
    """Alerts of this node's Alertmanager; see ``infra_alert.alerts``."""
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
    """Silences that are active or pending; see ``infra_alert.silences``."""
    return [s for s in _get(port, "/api/v2/silences") if s["status"]["state"] != "expired"]


def cluster(port: int = 9059) -> dict[str, Any]:
    """The cluster that this node's Alertmanager is in; see ``infra_alert.cluster``."""
    found = _get(port, "/api/v2/status")["cluster"]
    return {
        "status": found["status"],
        "peers": sorted(peer["address"] for peer in found.get("peers") or []),
    }


def _get(port: int, path: str) -> Any:
    return local_ports.get_json(port, path, "Alertmanager")
