"""Values of Pigsty's variables in the types and forms of our parameters."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

from infra_formula.parameters import schema
from infra_formula.portal.attributes import ENTRY

Adapted = tuple[dict[str, Any], list[str]]
"""Parameters that a variable becomes, and notes for the report."""

_TRUE, _FALSE = ("true", "yes", "on", "1", "y", "t"), ("false", "no", "off", "0", "n", "f")
# Ports of what became another program in Pigsty 4.0 → those of its successor.
_SUCCESSORS = {"9058": "8428", "3100": "9428"}
_RETENTION = {
    "vmetrics_options": {"-retentionPeriod": "vmetrics_retention"},
    "vlogs_options": {
        "-retentionPeriod": "vlogs_retention",
        "-retention.maxDiskSpaceUsageBytes": "vlogs_max_disk",
    },
    "vtraces_options": {
        "-retentionPeriod": "vtraces_retention",
        "-retention.maxDiskSpaceUsageBytes": "vtraces_max_disk",
    },
}
_MODULE_RULES = {
    "enabled": {"type": "bool"},
    "seq": {"type": "int"},
    "node": {"type": "int"},
    "pg": {"type": "bool"},
}
"""Rules by the last word of a module's variable."""


def coerce(value: Any, rule: dict[str, Any]) -> Any:
    """Convert a value to the type that a rule expects, as Ansible would: `"80"`, `yes`, 15."""
    for choice in rule.get("either", []):
        converted = coerce(value, choice)
        if not schema.check("", converted, choice):
            return converted
    kind = rule.get("type")
    if isinstance(value, list) and kind == "list":
        return [coerce(item, rule.get("items", {})) for item in value]
    if isinstance(value, dict) and kind == "map":
        keys = rule.get("keys")
        return {
            key: coerce(item, (keys or {}).get(key, {}) if keys else rule.get("items", {}))
            for key, item in value.items()
        }
    plain = str(value).strip().lower()
    if kind == "bool" and not isinstance(value, bool) and plain in _TRUE + _FALSE:
        return plain in _TRUE
    if kind in ("int", "port") and isinstance(value, str) and re.fullmatch("[0-9]{1,9}", plain):
        return int(plain)
    if (
        kind in ("line", "name", "string", "quoted", "domain")
        and isinstance(value, (int, float))
        and not isinstance(value, bool)
    ):
        return str(value)
    return value


def coerce_module_variable(name: str, value: Any) -> Any:
    """Convert the value of a variable of another module of Pigsty, by the last word of its name."""
    return coerce(value, _MODULE_RULES.get(name.rpartition("_")[2], {}))


def adapt(kind: str, name: str, value: Any) -> Adapted:
    """Convert the value of a variable to parameters.

    kind
        How it is converted: ``is`` of ``infra/pigsty.yaml``, or the name of the parameter.
    name
        Name of the parameter.
    """
    adapter = _ADAPTERS.get(kind)
    return adapter(value, name) if adapter else ({name: value}, [])


def _words(value: Any, name: str) -> Adapted:
    """A list of which each element may hold several names, separated by commas or spaces."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        return {name: value}, []
    return {name: [w for item in items for w in re.split(r"[,\s]+", item) if w]}, []


def _options(value: Any, name: str) -> Adapted:
    """Flags of VictoriaMetrics, -Logs or -Traces; some are parameters here."""
    if not isinstance(value, str):
        return {name: value}, []
    try:
        flags = shlex.split(value)
    except ValueError:
        return {name: value}, []
    out: dict[str, Any] = {}
    rest = []
    for flag in flags:
        key, equals, text = flag.replace("--", "-", 1).partition("=")
        to = _RETENTION[name].get(key) if equals else None
        if to and (to.endswith("_max_disk") or re.fullmatch(r"[0-9]+[hdwy]", text)):
            out[to] = text
        elif key == "-retentionPeriod" and re.fullmatch("[0-9]+", text):
            out[_RETENTION[name][key]] = f"{int(text) * 31}d"  # without a unit these are months
        elif key != "-promscrape.fileSDCheckInterval":
            rest.append(flag)
    notes = [f"some flags became {', '.join(out)}"] if out else []
    disk = _RETENTION[name].get("-retention.maxDiskSpaceUsageBytes")
    if disk and disk not in out:
        # In Pigsty the variable replaces the default flags, which have the limit.
        out[disk] = ""
        notes.append(f"{disk} has no limit, as in Pigsty")
    return {name: " ".join(shlex.quote(flag) for flag in rest), **out}, notes


def _prometheus_options(value: Any, name: str) -> Adapted:
    match = re.search(r"--storage\.tsdb\.retention\.time=([0-9]+[hdwy])(?![\w.])", str(value))
    return ({name: match[1]}, []) if match else ({}, ["it sets no retention"])


def _version(value: Any, name: str) -> Adapted:
    """The version of Pigsty's packages; before 4.0 they have another form."""
    if re.match(r"v[0-3]\.", str(value)):
        return {}, ["packages of version 4 are served"]
    return {name: value}, []


def _firewall(value: Any, name: str) -> Adapted:
    disabled = coerce(value, {"type": "bool"})
    if isinstance(disabled, bool):
        return {name: "off" if disabled else "none"}, []
    return {name: value}, []


def _upstream(value: Any, name: str) -> Adapted:
    """Upstreams: Pigsty trusts them without a signature; here `trusted` has to be set."""
    if not isinstance(value, list):
        return {name: value}, []
    out, unsigned = [], []
    for entry in value:
        if isinstance(entry, dict) and not set(entry) & {"gpgkey", "signed_by", "trusted"}:
            entry = {**entry, "trusted": True}
            unsigned.append(str(entry.get("name")))
        out.append(entry)
    note = f"trusted without a signature, as in Pigsty; set the gpgkey of {', '.join(unsigned)}"
    return {name: out}, [note] if unsigned else []


_PORTAL_BOOLS = ("websocket", "index", "auth", "enforce_https", "proxy_ssl_verify")


def _portal(value: Any, name: str) -> Adapted:
    """Entries of the portal: unknown attributes are omitted, ports of Pigsty 3 are replaced."""
    if not isinstance(value, dict):
        return {name: value}, []
    out: dict[str, Any] = {}
    notes = []
    for key, entry in value.items():
        if not isinstance(entry, dict):
            out[key] = entry
            continue
        attributes: dict[str, Any] = {}
        for attribute, item in entry.items():
            if attribute not in ENTRY:
                notes.append(f"{key}.{attribute} is omitted: it has no effect in Pigsty 4.5")
                continue
            if attribute in _PORTAL_BOOLS:
                item = coerce(item, {"type": "bool"})
            if attribute == "endpoint" and isinstance(item, str):
                host, _, port = item.rpartition(":")
                if host in ("${admin_ip}", "127.0.0.1", "localhost") and port in _SUCCESSORS:
                    item = f"{host}:{_SUCCESSORS[port]}"
                    notes.append(f"{key} has the endpoint {item}, the successor of port {port}")
            attributes[attribute] = item
        out[key] = attributes
    return {name: out}, notes


_ADAPTERS: dict[str, Callable[[Any, str], Adapted]] = {
    "vmetrics_options": _options,
    "vlogs_options": _options,
    "vtraces_options": _options,
    "prometheus_options": _prometheus_options,
    "node_disable_firewall": _firewall,
    "version": _version,
    "node_packages": _words,
    "node_default_packages": _words,
    "repo_upstream": _upstream,
    "infra_portal": _portal,
}
"""Conversions of values that are not copied as they are."""
