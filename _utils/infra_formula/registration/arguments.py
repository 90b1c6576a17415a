"""What the states of registration are given."""

from __future__ import annotations

from typing import Any

from infra_formula.daemon import flags
from infra_formula.parameters import merging
from infra_formula.parameters.site import Site, components

_ASSIGNED = ("nodename", "node_cluster", "node_ip", "register")


def registration(here: Site) -> dict[str, Any]:
    """Which facts of the mine are accepted (see :mod:`infra_formula.registration.inventory`)."""
    reserved: dict[str, str] = {}
    portal_names: list[str] = []
    for key, entry in here["infra_portal"].items():
        if isinstance(entry, dict):
            names = [entry.get("domain"), *entry.get("domains", [])]
            reserved.update({name: f"infra_portal.{key}" for name in names if name})
            portal_names += [name for name in names if name]
    for name in here["dns_wildcards"]:
        for reserved_name in (name, "*." + name.removeprefix("*.")):
            reserved[reserved_name] = "dns_wildcards"
    reserved.update({name: "dns_cnames" for name in here["dns_cnames"]})
    jobs = [job["targets"] for job in here["vmetrics_scrape_jobs"] or [] if "targets" in job]
    return {
        "nodes": here.infra_nodes,
        "reserved": reserved,
        "jobs": jobs,
        "others": here["register_others"],
        "dns_records": here["dns_records"],
        "admin_ip": here["admin_ip"],
        "portal_names": portal_names,
        "domains": here["register_domains"],
        "networks": here["node_firewall_intranet"]
        if here["register_networks"] is None
        else here["register_networks"],
        "assigned": {
            key: {name: values[name] for name in _ASSIGNED if name in values}
            for key, values in here["nodes"].items()
            if any(name in values for name in _ASSIGNED)
        },
        "cluster": _common_cluster(here),
        "components": [row["name"] for row in components()],
        "own_id": here.grains["id"],
        "own_addresses": [*here.grains.get("ipv4", []), *here.grains.get("ipv6", [])],
    }


def _common_cluster(here: Site) -> str | None:
    """The cluster of minions to which ``nodes`` gives none; None if it cannot be known here."""
    names = {*merging.names_of_minion(here.grains), *here.grains.get("ipv6", [])}
    own = (here["nodes"].get(name, {}) for name in names)
    return None if any("node_cluster" in values for values in own) else here["node_cluster"]


def facts(here: Site) -> dict[str, Any]:
    """Facts that this minion publishes."""
    node = here.this_node
    haproxy = here["haproxy_exporter_port"] if here["haproxy_enabled"] else None
    exporters = {
        here["node_exporter_port"]: here["node_exporter_enabled"],
        here["haproxy_exporter_port"]: here["haproxy_enabled"],
        here["vector_port"]: here["vector_enabled"],
    }
    targets: list[dict[str, Any]] = [{"job": "ping"}]
    targets += [{"job": "node", "port": port} for port, enabled in exporters.items() if enabled]
    if flags.has_tls(here["node_exporter_options"]):
        for target in targets:
            if target.get("port") == here["node_exporter_port"]:
                target["scheme"] = "https"
    return {
        "ip": here["node_ip"] or (node["ip"] if node else None),
        "ins": name_of_minion(here),
        "cls": here["node_cluster"],
        "infra_seq": node["seq"] if node else None,
        "haproxy": haproxy,
        "targets": targets,
    }


def name_of_minion(here: Site) -> str:
    """The name (``ins``) under which this minion is registered."""
    return str(here["nodename"] or here.grains["id"])
