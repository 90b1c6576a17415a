"""The parameters of one minion: defaults < os family < pillar < its ``nodes``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import salt.utils.dictupdate

from infra_formula import addresses
from infra_formula.data import load
from infra_formula.parameters import schema

FAMILIES = ("Debian", "RedHat")


def rules() -> dict[str, Any]:
    """The rule of each parameter; that of ``nodes`` has those that a node may have."""
    parameters = schema.parameters(load("schema"))
    each = {name: rule for name, rule in parameters.items() if name not in ("infra_hosts", "nodes")}
    nodes = {"type": "map", "items": {"type": "map", "keys": each}, "default": {}}
    return {**parameters, "nodes": nodes}


def os_family(grains: Mapping[str, Any]) -> str:
    """``Debian`` or ``RedHat``; pillar validation refuses any other."""
    family = str(grains.get("os_family"))
    return family if family in FAMILIES else FAMILIES[0]


def names_of_minion(grains: Mapping[str, Any]) -> set[str]:
    """Keys by which ``infra_hosts`` names a minion: its id and its addresses, in canonical form."""
    names = [grains["id"], *grains.get("ipv4", []), *grains.get("ipv6", [])]
    return {addresses.canonical(name) for name in names}


def is_infra_node(grains: Mapping[str, Any], parameters: Any) -> bool:
    """Whether ``infra_hosts`` names this minion."""
    hosts = mapping(mapping(parameters).get("infra_hosts"))
    return bool({addresses.canonical(key) for key in hosts} & names_of_minion(grains))


def node_overrides(grains: Mapping[str, Any], parameters: Any) -> dict[str, Any]:
    """Values of ``nodes`` for this minion."""
    nodes = mapping(mapping(parameters).get("nodes"))
    merged: dict[str, Any] = {}
    for key in [*grains.get("ipv4", []), *grains.get("ipv6", []), grains["id"]]:
        merged.update(mapping(nodes.get(key)))
    return merged


def with_secrets(parameters: Any, secrets: Any) -> Any:
    """``infra`` with ``infra_secrets`` merged over it, as an INFRA node has it."""
    if not isinstance(parameters, dict) or not mapping(secrets):
        return parameters
    return salt.utils.dictupdate.merge(parameters, secrets, strategy="recurse")


def defaults(grains: Mapping[str, Any]) -> dict[str, Any]:
    """Value of each parameter that neither pillar nor ``nodes`` set, on this minion's platform."""
    values = {
        name: rule["default"]
        for section in load("schema").values()
        for name, rule in section.items()
        if "default" in rule
    }
    return {**values, **load("platforms")[os_family(grains)]}


def merged(grains: Mapping[str, Any], parameters: Any, secrets: Any) -> dict[str, Any]:
    """All parameters of this minion.

    parameters, secrets
        The pillars ``infra`` and ``infra_secrets``, of which the types were checked. Only an INFRA
        node takes secrets.
    """
    if is_infra_node(grains, parameters):
        parameters = with_secrets(parameters, secrets)
    values = mapping(parameters)
    return {**defaults(grains), **values, **node_overrides(grains, values)}


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is a dictionary, else an empty one."""
    return value if isinstance(value, dict) else {}
