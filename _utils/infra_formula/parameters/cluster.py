"""The minions that store for a whole site, as ``vmcluster_hosts`` and its like name them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from infra_formula import addresses
from infra_formula.parameters import merging
from infra_formula.registration.hosts import address_or_none

ROLES = ("vmstorage", "vminsert", "vmselect")
"""Programs of a cluster, in the order in which data passes them, from where it is stored."""

_DEFAULT_ROLES = ["vmstorage"]

STORAGE_NODES = {
    "vlstorage": ("vlcluster_hosts", "logs"),
    "vtstorage": ("vtcluster_hosts", "traces"),
}
"""Storage node of VictoriaLogs and of VictoriaTraces → the parameter that names the minions, and
the directory below ``infra_data`` in which an INFRA node has stored alone."""

_DERIVED = (
    *(f"{program}_enabled" for program in (*ROLES, *STORAGE_NODES)),
    *(f"{program}_data" for program in STORAGE_NODES),
)


class Member(TypedDict):
    """A minion that stores: its key, its address (empty if unknown) and its roles.

    Roles concern ``vmcluster_hosts`` only.
    """

    key: str
    ip: str
    roles: list[str]


def members(hosts: Mapping[str, Any]) -> list[Member]:
    """The members of the cluster, in the order of the pillar.

    hosts
        The value of ``vmcluster_hosts``, ``vlcluster_hosts`` or ``vtcluster_hosts``.
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


def is_this_minion(member: Member, grains: Mapping[str, Any]) -> bool:
    """Whether a member is the minion with these facts."""
    names = {addresses.canonical(member["key"]), addresses.canonical(member["ip"])}
    return bool(names & merging.names_of_minion(grains))


def address_problems(parameter: str, rows: Iterable[Member]) -> list[str]:
    """Members without an address, and those that have the address of another one.

    parameter
        The parameter that names them, which begins the key path of each message.
    """
    errors: list[str] = []
    seen: dict[str, str] = {}
    for member in rows:
        path = f"{parameter}.{member['key']}"
        if not member["ip"]:
            errors.append(f"{path}.ip: missing; the other members reach it by its address")
            continue
        first = seen.setdefault(addresses.canonical(member["ip"]), path)
        if first != path:
            errors.append(f"{path}: expected another address than that of {first}")
    return errors


def derived(parameters: Mapping[str, Any], grains: Mapping[str, Any]) -> dict[str, Any]:
    """Switches and directories of a minion's storage programs, where the pillar does not set them.

    parameters, grains
        All parameters of the minion, and its facts.

    Returns those that are None: ``vmstorage_enabled`` and its like, ``vlstorage_data`` and
    ``vtstorage_data``.
    """
    unset = [name for name in _DERIVED if name in parameters and parameters[name] is None]
    if not unset:
        return {}
    values = {**_cluster_switches(parameters, grains), **_storage_nodes(parameters, grains)}
    return {name: values[name] for name in unset}


def _cluster_switches(parameters: Mapping[str, Any], grains: Mapping[str, Any]) -> dict[str, bool]:
    """An INFRA node runs vminsert and vmselect itself: it depends on no other machine for them."""
    hosts = parameters.get("vmcluster_hosts") or {}
    roles = {
        role
        for member in members(hosts)
        if is_this_minion(member, grains)
        for role in member["roles"]
    }
    if hosts and merging.is_infra_node(grains, parameters):
        roles |= {"vminsert", "vmselect"}
    return {f"{role}_enabled": role in roles for role in ROLES}


def _storage_nodes(parameters: Mapping[str, Any], grains: Mapping[str, Any]) -> dict[str, Any]:
    """An INFRA node that is a storage node goes on with the data that it has stored alone."""
    values: dict[str, Any] = {}
    for program, (parameter, directory) in STORAGE_NODES.items():
        hosts = parameters.get(parameter) or {}
        is_one = any(is_this_minion(member, grains) for member in members(hosts))
        took_over = is_one and merging.is_infra_node(grains, parameters)
        values[f"{program}_enabled"] = is_one
        values[f"{program}_data"] = (
            f"{parameters['infra_data']}/{directory}" if took_over else f"/data/{program}"
        )
    return values
