"""Who has direct access to which ports of this machine, past the portal: the rows that others use.

A row is ``service``, ``ports`` (like ``8428/tcp``), ``reached_by`` (``all``, ``site``, ``peers``,
``infra``, ``cluster``, or ``machine`` for what listens on loopback alone), ``sources`` (addresses
and networks that are let in; None for everybody), ``opened`` (the same, for a firewall that has to
let them in: ``infra_listen: 0.0.0.0`` has everything reached from the site's networks, but opens no
firewall) and ``ours`` (False: what listens there is not of this formula, and is not confined).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from infra_formula.daemon import arguments as daemon_arguments
from infra_formula.parameters import cluster, site
from infra_formula.parameters.site import Site


def access(here: Site) -> list[dict[str, Any]]:
    """The rows of this machine."""
    networks = [*here["node_firewall_intranet"], *here.addresses]
    sources: dict[str, list[str]] = {
        "machine": [],
        "site": networks,
        "peers": here.other_addresses,
        "infra": here.addresses,
        "cluster": [*here.addresses, *(m["ip"] for m in cluster.members(here["vmcluster_hosts"]))],
    }
    rows = []
    for row in _rows(here):
        more = here["infra_firewall_allow"].get(row["service"], [])
        reached_by = row["reached_by"]
        if reached_by == "peers" and here["infra_listen"] == "0.0.0.0":  # noqa: S104 - a parameter
            reached_by = "site"
        port = row["port"] if isinstance(row["port"], int) else here[row["port"]]
        is_public = reached_by == "all"
        rows.append(
            {
                "service": row["service"],
                "ports": [f"{port}/{protocol}" for protocol in row.get("protocols", ["tcp"])],
                "reached_by": reached_by,
                "ours": row.get("managed", True),
                "sources": None if is_public else _unique(sources[reached_by] + more),
                "opened": None if is_public else _unique(sources[row["reached_by"]] + more),
            }
        )
    return rows


def services() -> set[str]:
    """Services that ``infra_firewall_allow`` may name."""
    return {name for name, _row, _component in site.daemon_rows()} | {
        row["service"] for row in declared() if row["reached_by"] != "all"
    }


def declared() -> Iterator[dict[str, Any]]:
    """Each entry of ``access`` in ``infra/components.yaml``, with what its component says."""
    for component in site.components():
        for entry in component.get("access", []):
            yield {
                "service": component["name"],
                "role": component["role"],
                **({"members": component["members"]} if "members" in component else {}),
                **({"switch": component["switch"]} if "switch" in component else {}),
                **entry,
            }


def _rows(here: Site) -> Iterator[dict[str, Any]]:
    """What runs on this machine, by the parameters."""
    addresses = daemon_arguments.listen(here)
    for name, row, component in site.daemon_rows():
        if daemon_arguments.is_active(here, name) and _is_here(here, component):
            is_open = not addresses[name]
            yield {
                "service": name,
                "port": row["port"],
                "reached_by": (
                    daemon_arguments.reached_by(here, row, component) if is_open else "machine"
                ),
                "managed": is_open,
            }
    if "nginx" in here.enabled:
        for stream in here["infra_streams"].values():
            yield {
                "service": "nginx",
                "port": stream["listen"],
                "protocols": [stream.get("protocol", "tcp")],
                "reached_by": "all",
            }
    for entry in declared():
        conditions = {
            "tls": here.tls,
            "clustered": bool(here.other_addresses),
            "set": isinstance(entry["port"], int) or here[entry["port"]] is not None,
        }
        wanted = "when" not in entry or conditions[entry["when"]]
        if here[entry["switch"]] and wanted and _is_here(here, entry):
            yield entry


def _is_here(here: Site, row: dict[str, Any]) -> bool:
    return here.is_infra_node or row["role"] == "every"


def _unique(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))
