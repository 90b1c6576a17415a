"""The parameters of one minion: defaults < os family < pillar < its ``nodes``.

``infra/map/parameters.jinja`` merges in the same way for the SLS: Jinja cannot call the library,
which a bare minion does not have while it renders.
"""

from __future__ import annotations

import functools
from typing import Any

import salt.utils.dictupdate
import salt.utils.yaml

from infra_formula import templates
from infra_formula.minion import Minion
from infra_formula.parameters import schema


def read_yaml(minion: Minion, name: str) -> Any:
    """Data of a YAML file of the formula.

    name
        Its path below ``salt://infra/``.

    Raises CommandFailed if it is not served.
    """
    return _parsed(templates.read(minion, f"salt://infra/{name}"))


@functools.lru_cache(maxsize=16)
def _parsed(text: str) -> Any:
    return salt.utils.yaml.safe_load(text)


def rules(minion: Minion) -> dict[str, Any]:
    """The rule of each parameter; that of ``nodes`` has those that a node may have."""
    found = schema.parameters(read_yaml(minion, "schema.yaml"))
    each = {name: rule for name, rule in found.items() if name not in ("infra_hosts", "nodes")}
    nodes = {"type": "map", "items": {"type": "map", "keys": each}, "default": {}}
    return {**found, "nodes": nodes}


def is_infra_node(minion: Minion, parameters: Any) -> bool:
    """Whether ``infra_hosts`` names this minion, by its id or an address."""
    hosts = mapping(mapping(parameters).get("infra_hosts"))
    return bool(set(hosts) & {minion.grains["id"], *minion.grains.get("ipv4", [])})


def node_overrides(minion: Minion, parameters: Any) -> dict[str, Any]:
    """Values of ``nodes`` for this minion."""
    nodes = mapping(mapping(parameters).get("nodes"))
    grains = minion.grains
    merged: dict[str, Any] = {}
    for key in [*grains.get("ipv4", []), *grains.get("ipv6", []), grains["id"]]:
        merged.update(mapping(nodes.get(key)))
    return merged


def with_secrets(parameters: Any, secrets: Any) -> Any:
    """``infra`` with ``infra_secrets`` merged over it, as an INFRA node has it."""
    if not isinstance(parameters, dict) or not mapping(secrets):
        return parameters
    return salt.utils.dictupdate.merge(parameters, secrets, strategy="recurse")


def defaults(minion: Minion) -> dict[str, Any]:
    """Value of each parameter that neither pillar nor ``nodes`` set, on this minion's platform."""
    found = {name: rule["default"] for name, rule in rules(minion).items() if "default" in rule}
    platform = "RedHat" if minion.grains.get("os_family") == "RedHat" else "Debian"
    return {**found, **read_yaml(minion, f"osfamily/{platform}.yaml")}


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is a dictionary, else an empty one."""
    return value if isinstance(value, dict) else {}
