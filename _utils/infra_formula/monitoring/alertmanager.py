"""Alertmanager: its configuration from pillar, and the alerts that it has now.

A receiver is a mapping from an integration to its options, as Alertmanager names them, or to a
list of such mappings: ``{mail: {to: ops@example.com}, slack: [{channel: '#a'}, {channel: '#b'}]}``.
Integrations are those of ``INTEGRATIONS``, and every ``*_configs`` of Alertmanager.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from infra_formula import process, redaction, templates
from infra_formula.daemon import checks, configuration, local_ports
from infra_formula.daemon.model import Daemon
from infra_formula.errors import CommandFailed, InvalidInput, Refused
from infra_formula.fileset.contents import MANAGED_BY, File
from infra_formula.minion import Minion
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
# The severities of other people's rules, beside those of the formula's.
_SAME_TIMING = {"critical": "CRIT", "page": "CRIT", "warning": "WARN", "info": "INFO"}
DISCARDS = ("null", "none", "blackhole", "devnull")
"""Names of receivers that may have no integration: what goes there is sent to nobody."""

_TEMPLATES = "alertmanager/templates"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SECRET = re.compile(r"password|secret|token|key|credential|url|authorization", re.IGNORECASE)


def receivers_by_name(given: Any) -> dict[str, Any]:
    """Receivers as a dictionary, also if they are a list as in Alertmanager's own configuration.

    An element without a name, or with one that is there already, has its index as its name, which
    no receiver can have: :func:`problems` reports it.
    """
    if not isinstance(given, list):
        return dict(given or {})
    receivers: dict[str, Any] = {}
    for index, receiver in enumerate(given):
        name = receiver.get("name")
        key = name if isinstance(name, str) and name and name not in receivers else f"[{index}]"
        receivers[key] = {k: v for k, v in receiver.items() if k != "name" or key != name}
    return receivers


def config(settings: dict[str, Any]) -> dict[str, Any]:
    """Make Alertmanager's configuration.

    settings
        The parameters ``receivers``, ``severities``, ``routes``, ``route``, ``inhibit_rules``,
        ``global``, ``time_intervals``, ``templates`` and ``tracing``, each the value of
        ``alertmanager_<name>``; the last three may be missing.

    The tree has one level of routes, which Alertmanager tries in this order: ``routes``, those in
    ``route``, then one per severity and receiver. What matches none goes to ``route``'s receiver,
    or the first one. Without a receiver, no notification is sent.
    """
    first = next(iter(settings["receivers"]), "default")
    receivers = [_receiver(name, used) for name, used in settings["receivers"].items()]
    root = {"receiver": first, **_ROUTE, **settings["route"]}
    routes = [dict(route) for route in (*settings["routes"], *(root.pop("routes", None) or []))]
    routes += _severity_routes(settings)
    out: dict[str, Any] = {"global": {"resolve_timeout": "5m", **settings["global"]}}
    out["route"] = {**root, "routes": routes} if routes else root
    out["receivers"] = receivers or [{"name": "default"}]
    if settings["inhibit_rules"]:
        out["inhibit_rules"] = settings["inhibit_rules"]
    if settings.get("time_intervals"):
        out["time_intervals"] = settings["time_intervals"]
    if settings.get("templates"):
        # Relative to the configuration's own directory: a copy is checked with copies of them.
        out["templates"] = [f"{_TEMPLATES}/*.tmpl"]
    if settings.get("tracing"):
        out["tracing"] = settings["tracing"]
    return out


def _severity_routes(settings: dict[str, Any]) -> list[dict[str, Any]]:
    routes = []
    for severity, names in settings["severities"].items():
        names = [names] if isinstance(names, str) else names
        timing = _TIMING.get(_SAME_TIMING.get(severity, severity), {})
        for index, name in enumerate(names):
            route: dict[str, Any] = {
                "receiver": name,
                "matchers": [f'severity="{severity}"'],
                **{k: v for k, v in timing.items() if k not in settings["route"]},
            }
            if index < len(names) - 1:
                route["continue"] = True
            routes.append(route)
    return routes


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
    receivers = receivers_by_name(parameters.get("alertmanager_receivers"))
    names = ", ".join(INTEGRATIONS)
    in_list = isinstance(parameters.get("alertmanager_receivers"), list)
    for index, (receiver, integrations) in enumerate(receivers.items()):
        # All of an element of a list is a value of a parameter that may be a secret.
        path = (
            f"alertmanager_receivers[{index}]" if in_list else f"alertmanager_receivers.{receiver}"
        )
        if receiver.startswith("["):
            errors.append(f"{path}.name: expected a name that no other receiver has")
            continue
        if not integrations and receiver not in DISCARDS:
            discards = ", ".join(DISCARDS)
            errors.append(
                f"{path}: expected an integration: {names}; a receiver that sends nothing is named "
                f"one of {discards}"
            )
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
    errors += _list_problems("alertmanager_routes", parameters.get("alertmanager_routes"), known)
    root = parameters.get("alertmanager_route") or {}
    default = root.get("receiver")
    if default is not None:
        errors += _unknown("alertmanager_route.receiver", default, known)
    errors += _list_problems("alertmanager_route.routes", root.get("routes"), known)
    for name, text in (parameters.get("alertmanager_templates") or {}).items():
        if not _NAME.fullmatch(str(name)):
            errors.append(
                f"alertmanager_templates.{name}: expected a name of letters, digits, - and _"
            )
        if not text.strip():
            errors.append(
                f"alertmanager_templates.{name}: expected a template, or its salt:// path"
            )
    return errors


def _list_problems(path: str, routes: Any, known: list[str]) -> list[str]:
    if routes is not None and not isinstance(routes, list):
        return [f"{path}: expected a list of routes"]
    return [
        error
        for index, route in enumerate(routes or [])
        for error in _route_problems(f"{path}[{index}]", route, known, True)
    ]


def _route_problems(path: str, route: Any, known: list[str], top: bool) -> list[str]:
    if not isinstance(route, dict):
        return [f"{path}: expected a dictionary, got {route!r}"]
    errors = []
    if "receiver" in route:
        errors += _unknown(f"{path}.receiver", route["receiver"], known)
    matches = any(route.get(key) for key in ("matchers", "match", "match_re"))
    if top and not matches and route.get("continue") is not True:
        what = "expected a matcher" if "matchers" in route else "missing"
        errors.append(
            f"{path}.matchers: {what}; without one this route would take all alerts. If it is "
            "meant to see all of them, add continue: true"
        )
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


def plan(minion: Minion, daemon: Daemon, settings: dict[str, Any]) -> Plan:
    """Plan Alertmanager's configuration and templates, checked by amtool.

    settings
        See :func:`config`.

    Raises CommandFailed if a template's ``salt://`` path is not served.
    """
    redaction.add(settings["receivers"], settings["global"])
    settings = {**settings, "templates": _texts(minion, settings.get("templates") or {})}
    rendered = files(config(settings), settings["templates"])
    difference = configuration.compare(
        "alertmanager", "/etc", rendered, replace=["alertmanager.yml"]
    )
    if difference.has_changes:
        check(settings)
    receivers = len(settings["receivers"])
    comment = f"Alertmanager's configuration is up to date: {receivers} receivers."
    if not receivers:
        comment = "Alertmanager sends no notifications: alertmanager_receivers is empty."
    would = "Alert receivers and routes would change."
    return configuration.plan(difference, [daemon], comment=comment, would=would)


def _texts(minion: Minion, given: dict[str, str]) -> dict[str, str]:
    """Name of a template → its text, which ``salt://`` serves or the parameter holds."""
    texts = {}
    for name, text in given.items():
        if text.startswith("salt://"):
            try:
                text = templates.read(minion, text.strip())
            except CommandFailed as err:
                raise CommandFailed(f"alertmanager_templates.{name}: {err}") from err
        texts[name] = text
    return texts


def files(content: dict[str, Any], texts: dict[str, str] | None = None) -> dict[str, File]:
    """Render the configuration as a file set below ``/etc``, readable by its user only.

    content
        What :func:`config` returned.
    texts
        Name of a template of messages → its text.
    """
    owner = {"mode": "0600", "user": "prometheus", "group": "prometheus", "secret": True}
    text = templates.HEADER + templates.to_yaml(content)
    return {
        "alertmanager.yml": {"text": text, **owner},
        **{rel: {"text": body, **owner} for rel, body in _template_files(texts or {}).items()},
    }


def _template_files(texts: dict[str, str]) -> dict[str, str]:
    """Path below the configuration's directory → text of a template."""
    header = f"{{{{/* {MANAGED_BY}. Changes here are overwritten. */}}}}\n"
    return {f"{_TEMPLATES}/{name}.tmpl": header + text for name, text in texts.items()}


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
    texts = settings.get("templates") or {}
    fault = _refusal(config(settings), amtool, texts)
    if fault is None:
        return
    if texts and _refusal(config({**settings, "templates": {}}), amtool) is None:
        for name in texts:
            alone = {name: texts[name]}
            if _refusal(config({**settings, "templates": alone}), amtool, alone) is not None:
                raise Refused(f"alertmanager_templates.{name}: {fault}")
        raise Refused(f"alertmanager_templates: {fault}")
    settings = {**settings, "templates": {}}
    # The parameter at fault is the one without which the configuration is accepted.
    empty: dict[str, Any] = {
        "routes": [],
        "inhibit_rules": [],
        "route": {},
        "severities": {},
        "global": {},
        "time_intervals": [],
        "tracing": {},
    }
    for name, nothing in empty.items():
        if settings.get(name) and _refusal(config({**settings, name: nothing}), amtool) is None:
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


def _refusal(
    content: dict[str, Any], amtool: str, texts: dict[str, str] | None = None
) -> str | None:
    argv = [amtool, "check-config", "{path}"]
    yaml = templates.to_yaml(content)
    beside = _template_files(texts or {})
    succeeded, output = checks.run_check(argv, "alertmanager.yml", yaml, beside)
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


def route(labels: Mapping[str, Any], path: str, amtool: str = "amtool") -> list[str]:
    """Receivers of an alert with these labels, as amtool answers; see ``infra_alert.route``.

    labels
        Label → value.
    path
        Alertmanager's configuration.

    Raises InvalidInput for a label's name, CommandFailed if amtool fails.
    """
    words = []
    for name, value in labels.items():
        if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name):
            raise InvalidInput(f"expected LABEL=VALUE, got the label {name!r}")
        escaped = str(value).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        words.append(f'{name}="{escaped}"')
    command = [amtool, "config", "routes", "test", f"--config.file={path}", *words]
    outcome = process.run(command, timeout=30)
    if outcome["retcode"]:
        output = f"{outcome['stderr']}\n{outcome['stdout']}"
        raise CommandFailed(f"amtool: {checks.extract_error_lines(output)}")
    lines = [line for line in outcome["stdout"].splitlines() if line.strip()]
    return lines[-1].split(",") if lines else []


def cluster(port: int = 9059) -> dict[str, Any]:
    """The cluster that this node's Alertmanager is in; see ``infra_alert.cluster``."""
    state = _get(port, "/api/v2/status")["cluster"]
    return {
        "status": state["status"],
        "peers": sorted(peer["address"] for peer in state.get("peers") or []),
    }


def _get(port: int, path: str) -> Any:
    return local_ports.get_json(port, path, "Alertmanager")
