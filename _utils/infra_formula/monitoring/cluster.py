"""A cluster of VictoriaMetrics: the flags of its programs, their targets, and their URLs.

Each INFRA node has a vminsert and a vmselect of its own, which it uses on loopback; the other
members store. vminsert sends each sample to as many of them as ``vmcluster_replicas`` says.
"""

from __future__ import annotations

from typing import Any

from infra_formula import addresses
from infra_formula.parameters import cluster
from infra_formula.parameters.site import Site

# Tenant 0 of https://docs.victoriametrics.com/victoriametrics/cluster-victoriametrics/#url-format
_WRITE = "/insert/0/prometheus/api/v1/write"
_QUERY = "/select/0/prometheus"

_REPLICAS_INTERVAL = "1ms"
"""What the vendor's page on replication has vmselect merge copies of a sample by."""


def is_there(here: Site) -> bool:
    """Whether the site has a cluster."""
    return bool(here["vmcluster_hosts"])


def write_url(here: Site) -> str:
    """URL at which this INFRA node writes to the cluster."""
    return f"http://127.0.0.1:{here['vminsert_port']}{_WRITE}"


def query_url(here: Site) -> str:
    """URL at which this INFRA node queries the cluster."""
    return f"http://127.0.0.1:{here['vmselect_port']}{_QUERY}"


def storage(here: Site) -> list[cluster.Member]:
    """The members that store."""
    return [m for m in cluster.members(here["vmcluster_hosts"]) if "vmstorage" in m["roles"]]


def storage_listen(here: Site) -> str:
    """Address at which this machine's vmstorage serves the cluster; empty for all of the machine's.

    On the only INFRA node it is loopback, unless the cluster has another member.
    """
    rows = cluster.members(here["vmcluster_hosts"])
    others = [row for row in rows if not cluster.is_this_minion(row, here.grains)]
    if here["infra_listen"] == "0.0.0.0":  # noqa: S104 - the parameter's value
        return ""
    is_alone = here.is_infra_node and not here.other_addresses and not others
    return "127.0.0.1" if is_alone else ""


def flag_values(here: Site) -> dict[str, Any]:
    """What the flags of the cluster's programs in ``infra/components.yaml`` may name."""
    listen = storage_listen(here)
    hosts = [
        listen
        if listen and cluster.is_this_minion(member, here.grains)
        else addresses.in_url(member["ip"])
        for member in storage(here)
    ]
    # Several INFRA nodes write the same series, each with its own time stamps.
    several = len(here.infra_nodes) > 1
    interval = here["vmetrics_scrape_interval"] if several else _REPLICAS_INTERVAL
    return {
        "cluster_listen": listen,
        "cluster_insert_addresses": [f"{h}:{here['vmstorage_insert_port']}" for h in hosts],
        "cluster_select_addresses": [f"{h}:{here['vmstorage_select_port']}" for h in hosts],
        "cluster_dedup_interval": here["vmetrics_dedup_interval"] or interval,
        "proxies_vmalert": here.is_infra_node and here["vmalert_enabled"],
    }


def targets(here: Site) -> list[dict[str, Any]]:
    """Scrape targets of all programs of the cluster: ``ip``, ``cls``, ``ins`` and ``port``.

    Members are numbered in the order of the pillar, INFRA nodes by ``infra_seq``.
    """
    if not is_there(here):
        return []
    places: dict[str, dict[str, str]] = {role: {} for role in cluster.ROLES}
    for node in sorted(here.infra_nodes, key=lambda node: node["seq"]):
        for role in ("vminsert", "vmselect"):
            places[role][addresses.canonical(node["ip"])] = node["ip"]
    for member in cluster.members(here["vmcluster_hosts"]):
        for role in member["roles"]:
            places[role].setdefault(addresses.canonical(member["ip"]), member["ip"])
    return [
        {"ip": ip, "cls": role, "ins": f"{role}-{number}", "port": here[f"{role}_port"]}
        for role in cluster.ROLES
        for number, ip in enumerate(places[role].values(), 1)
    ]


def problems(here: Site) -> list[str]:
    """Problems of the parameters, one message each, which begins with the key path."""
    if not is_there(here):
        return []
    rows = cluster.members(here["vmcluster_hosts"])
    errors = cluster.address_problems("vmcluster_hosts", rows)
    count = len(storage(here))
    if not count:
        errors.append("vmcluster_hosts: expected a minion with the role vmstorage")
    elif here["vmcluster_replicas"] > count:
        errors.append(
            f"vmcluster_replicas: expected at most {count}, because that many minions of "
            "vmcluster_hosts have the role vmstorage"
        )
    if not here["vmagent_enabled"]:
        errors.append("vmagent_enabled: expected true, because vmagent writes to vmcluster_hosts")
    if here["vmetrics_url"]:
        errors.append(
            "vmetrics_url: expected none, because vmcluster_hosts stores the metrics; write to a "
            "further store with vmetrics_remote_write"
        )
    return errors
