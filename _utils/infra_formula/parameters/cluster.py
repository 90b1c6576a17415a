"""The members of a cluster of VictoriaMetrics, as ``vmcluster_hosts`` names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from infra_formula import addresses
from infra_formula.parameters import merging
from infra_formula.registration.hosts import address_or_none

ROLES = ("vmstorage", "vminsert", "vmselect")
"""Programs of a cluster, in the order in which data passes them, from where it is stored."""

_DEFAULT_ROLES = ["vmstorage"]


class Member(TypedDict):
    """A minion of ``vmcluster_hosts``: its key, its address (empty if unknown) and its roles."""

    key: str
    ip: str
    roles: list[str]


def members(hosts: Mapping[str, Any]) -> list[Member]:
    """The members of the cluster, in the order of the pillar.

    hosts
        The value of ``vmcluster_hosts``.
    """
    return [
        Member(
            key=str(key),
            ip=str(host.get("ip") or address_or_none(key) or ""),
            roles=list(host.get("roles") or _DEFAULT_ROLES),
        )
        for key, entry in hosts.items()
        for host in [merging.mapping(entry)]
    ]


def switches(parameters: Mapping[str, Any], grains: Mapping[str, Any]) -> dict[str, bool]:
    """The switches of the cluster's programs on a minion, where the pillar does not set them.

    parameters, grains
        All parameters of the minion, and its facts.

    Returns ``vmstorage_enabled``, ``vminsert_enabled`` and ``vmselect_enabled``, each unless it has
    a value already. An INFRA node runs vminsert and vmselect itself, so that no other machine has
    to be up for it to write and to query.
    """
    unset = [role for role in ROLES if parameters.get(f"{role}_enabled", False) is None]
    if not unset:
        return {}
    hosts = parameters.get("vmcluster_hosts") or {}
    known = merging.names_of_minion(grains)
    roles = {
        role
        for member in members(hosts)
        if {addresses.canonical(member["key"]), addresses.canonical(member["ip"])} & known
        for role in member["roles"]
    }
    if hosts and merging.is_infra_node(grains, parameters):
        roles |= {"vminsert", "vmselect"}
    return {f"{role}_enabled": role in roles for role in unset}
