"""Storage nodes of VictoriaLogs and VictoriaTraces: flags, scrape targets and problems.

An INFRA node's VictoriaLogs divides what it takes among the storage nodes of ``vlcluster_hosts``,
and queries all of them; it stores nothing itself. A storage node is the same program again.
VictoriaTraces does the same with ``vtcluster_hosts``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra_formula import addresses
from infra_formula.daemon import flags
from infra_formula.parameters import cluster
from infra_formula.parameters.site import Site

PROGRAMS = {"vlogs": "vlstorage", "vtraces": "vtstorage"}
"""Component that takes the data and answers queries → its storage node."""

_LOOPBACK = "127.0.0.1"


def members(here: Site, program: str) -> list[cluster.Member]:
    """The storage nodes of ``vlstorage`` or ``vtstorage``, in the order of the pillar."""
    parameter, _directory = cluster.STORAGE_NODES[program]
    return cluster.members(here[parameter])


def is_there(here: Site, component: str) -> bool:
    """Whether ``vlogs`` or ``vtraces`` stores on storage nodes."""
    return bool(members(here, PROGRAMS[component]))


def log_receivers(here: Site) -> list[str]:
    """Addresses of the INFRA nodes to whose VictoriaLogs this minion sends its logs.

    INFRA nodes that write to the same storage nodes would store each line once for each of them.
    """
    if not is_there(here, "vlogs") or not here.other_addresses:
        return here.addresses
    return [here.address if here.is_infra_node else here["admin_ip"]]


def flag_values(here: Site, bound: Mapping[str, str]) -> dict[str, Any]:
    """What the flags of these programs in ``infra/components.yaml`` may name.

    bound
        Daemon → address that it binds; empty for all of the machine's.
    """
    values: dict[str, Any] = {}
    for component, program in PROGRAMS.items():
        stores = not is_there(here, component)
        port = here[f"{program}_port"]
        values |= {
            f"{component}_stores": stores,
            f"{component}_limits_disk": stores and here[f"{component}_max_disk"],
            f"{program}_addresses": [
                f"{_host(here, member, bound.get(program, ''))}:{port}"
                for member in members(here, program)
            ],
            f"{program}_tls": not stores and flags.has_tls(here[f"{program}_options"]),
        }
    return values


def _host(here: Site, member: cluster.Member, bound: str) -> str:
    if bound == _LOOPBACK and cluster.is_this_minion(member, here.grains):
        return _LOOPBACK
    return addresses.in_url(member["ip"])


def targets(here: Site) -> dict[str, list[dict[str, Any]]]:
    """Scrape targets of the storage nodes: each ``ip``, ``cls``, ``ins`` and ``port``, by file.

    The file is one below ``infra/``, without its suffix.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for program, (parameter, _directory) in cluster.STORAGE_NODES.items():
        found[parameter.removesuffix("_hosts")] = [
            {
                "ip": member["ip"],
                "cls": program,
                "ins": f"{program}-{number}",
                "port": here[f"{program}_port"],
            }
            for number, member in enumerate(members(here, program), 1)
        ]
    return {name: rows for name, rows in found.items() if rows}


def problems(here: Site) -> list[str]:
    """Problems of the parameters, one message each, which begins with the key path."""
    errors = []
    for component, program in PROGRAMS.items():
        if not is_there(here, component):
            continue
        parameter, directory = cluster.STORAGE_NODES[program]
        errors += cluster.address_problems(parameter, members(here, program))
        if not here[f"{component}_enabled"]:
            errors.append(
                f"{component}_enabled: expected true, because {component} on the INFRA nodes "
                f"writes to {parameter} and queries it"
            )
        own = f"{here['infra_data']}/{directory}"
        is_used = here[f"{program}_enabled"] and here[f"{program}_data"] == own
        if here[f"{component}_clean"] and is_used:
            errors.append(
                f"{component}_clean: expected false, because {program} stores in {own} on this "
                f"minion; take it out of {parameter} first"
            )
    return errors
