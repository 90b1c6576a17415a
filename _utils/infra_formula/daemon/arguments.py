"""What the states of the daemons are given: each daemon's row, filled in for this minion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra_formula import addresses
from infra_formula.daemon import flags
from infra_formula.daemon.model import Daemon, Flag
from infra_formula.monitoring import cluster, remote_write, storage_nodes
from infra_formula.parameters import cluster as cluster_members
from infra_formula.parameters import elsewhere, site
from infra_formula.parameters.site import Site

_LOOPBACK = "127.0.0.1"
_LOG_LINK = "vlogs/select/vmui/#/?query={{.Expr|queryEscape}}"


def listen(here: Site) -> dict[str, str]:
    """Daemon → address that it binds; empty for all of the machine's."""
    every = here["infra_listen"] == "0.0.0.0"  # noqa: S104 - the parameter's value
    auto = here["infra_listen"] == "auto"
    by_key = {}
    for name, row, component in site.daemon_rows():
        who = reached_by(here, row, component)
        beyond = who == "site" or bool(here.other_addresses)
        is_open = who == "infra" or every or (auto and beyond)
        by_key[name] = "" if is_open else _LOOPBACK
    return by_key


def reached_by(here: Site, row: dict[str, Any], component: dict[str, Any]) -> str:
    """Who reaches a daemon's port, past the portal: a value of ``reached_by`` of its row.

    An INFRA node uses its own member of a cluster on loopback, and the other INFRA nodes scrape it.
    """
    if "members" in component and here.is_infra_node:
        return "peers"
    return str(row.get("reached_by", "peers"))


def closed_ports(here: Site) -> list[int]:
    """Ports of the INFRA node's daemons that only the node itself can connect to."""
    bound = listen(here)
    return [here[row["port"]] for name, row, _ in site.daemon_rows() if bound[name]]


def is_active(here: Site, name: str) -> bool:
    """Whether a daemon runs, by the parameters, on the machines of its role."""
    row, component = next((row, part) for n, row, part in site.daemon_rows() if n == name)
    needed = row.get("needs", component["switch"])
    available = here[needed] or (
        needed == "vlogs_enabled" and elsewhere.is_available(here, "vlogs")
    )
    return bool(here[component["switch"]] and available)


def tls_daemons(here: Site) -> list[str]:
    """Daemons whose options give them a certificate, so that they are asked over HTTPS."""
    return [
        name
        for name, row, _component in site.daemon_rows()
        if "options" in row and flags.has_tls(here[row["options"]])
    ]


def tls_targets(here: Site) -> list[str]:
    """Scrape targets of this INFRA node that are asked over HTTPS."""
    encrypted = tls_daemons(here)
    rows = site.daemon_rows()
    return [row.get("instance", name) for name, row, _component in rows if name in encrypted]


def metrics_url(here: Site) -> str:
    """URL of the store of metrics: the site's own elsewhere, or VictoriaMetrics on this machine."""
    here_url = f"http://{_LOOPBACK}:{here['vmetrics_port']}"
    return elsewhere.url(here, "vmetrics") or here_url


def metrics_ports(here: Site) -> dict[str, int]:
    """Scrape target of this INFRA node → port of its metrics."""
    return {
        row.get("instance", name): here[row["port"]]
        for name, row, component in site.daemon_rows()
        if component["role"] == "infra" and is_active(here, name)
    }


def daemons(here: Site) -> dict[str, Daemon]:
    """Each daemon, enabled or not."""
    bound = listen(here)
    values = _values(here, bound)
    return {
        name: _daemon(
            here,
            name,
            row,
            component,
            {**values, **_own_values(here, name), "infra_listen": bound[name]},
        )
        for name, row, component in site.daemon_rows()
    }


def installations(here: Site) -> dict[str, dict[str, Any]]:
    """Daemon → what the state that installs its packages is given."""
    distribution = here["infra_packaging"] == "distro"
    return {
        name: {
            "packages": here.of_packaging(row["packages"]),
            "program": here.of_packaging(row["program"]),
            "switch": component["switch"],
            "component": component["name"],
            "others": row.get("package_units", []) if distribution else [],
        }
        for name, row, component in site.daemon_rows()
    }


def packages(here: Site) -> list[str]:
    """Packages of the daemons that run on this minion."""
    rows = [
        row
        for name, row, component in site.daemon_rows()
        if is_active(here, name) and (here.is_infra_node or component["role"] == "every")
    ]
    return sorted({package for row in rows for package in here.of_packaging(row["packages"])})


def disabled(here: Site) -> list[dict[str, str]]:
    """Daemons that are switched off: ``name`` and ``unit``."""
    return [
        {"name": name, "unit": row["unit"]}
        for name, row, _component in site.daemon_rows()
        if not is_active(here, name)
    ]


def disabled_services(here: Site) -> list[dict[str, str]]:
    """Other services that are switched off: ``name``, ``unit`` and a file set (with ``root``)."""
    services = []
    for row in site.components():
        if "unit" in row and row["name"] not in here.enabled:
            file_set, root = next(iter(row["file_sets"].items()))
            services.append(
                {"name": row["name"], "unit": row["unit"], "file_set": file_set, "root": root}
            )
    return services


def users(here: Site) -> list[str]:
    """Accounts that the daemons of this minion run as."""
    return sorted(
        {
            row["user"]
            for _name, row, component in site.daemon_rows()
            if here[component["switch"]] and (here.is_infra_node or component["role"] == "every")
        }
    )


def _own_values(here: Site, name: str) -> dict[str, Any]:
    """What a flag's name stands for in one daemon alone."""
    url = elsewhere.url(here, "vlogs")
    if name == "vmalert_logs" and url:
        return {"portal_url": url, "log_link": _LOG_LINK.removeprefix("vlogs/")}
    return {}


def _alertmanagers(here: Site, peers: list[str]) -> list[str]:
    """URLs of the Alertmanagers that alerts are sent to."""
    if here["alertmanager_enabled"]:
        return [f"http://{host}:{here['alertmanager_port']}" for host in (_LOOPBACK, *peers)]
    return elsewhere.urls(here, "alertmanager")


def has_ipv6(here: Site) -> bool:
    """Whether the site has IPv6 addresses: those of INFRA nodes, or of the targets in pillar.

    The programs of VictoriaMetrics listen on IPv4 and connect over it only, unless they are told.
    """
    parameters = ("vmcluster_hosts", "vlcluster_hosts", "vtcluster_hosts")
    members = [row["ip"] for name in parameters for row in cluster_members.members(here[name])]
    if any(map(addresses.is_ipv6, [*here.addresses, *members])):
        return True
    entries = [entry for entries in here["vmetrics_targets"].values() for entry in entries]
    return any("[" in str(target) for entry in entries for target in entry.get("targets", []))


def _values(here: Site, bound: Mapping[str, str]) -> dict[str, Any]:
    """What the flags of a row may name, with the address that each daemon binds."""
    peers = [addresses.in_url(peer) for peer in here.other_addresses]
    alertmanagers = _alertmanagers(here, peers)
    # Debian's vmalert has no -notifier.blackhole: nothing listens there.
    if not alertmanagers and here["infra_packaging"] == "distro":
        alertmanagers = [f"http://{_LOOPBACK}:{here['alertmanager_port']}"]
    vmagent_url = f"http://{_LOOPBACK}:{here['vmagent_port']}"
    return {
        **here.parameters,
        **remote_write.flag_values(here),
        **cluster.flag_values(here),
        **storage_nodes.flag_values(here, bound),
        "vmetrics_scrapes": not here["vmagent_enabled"],
        # Where several write the same series, each store keeps one of the samples.
        "dedup_interval": here["vmetrics_dedup_interval"]
        or (here["vmetrics_scrape_interval"] if remote_write.is_shared(here) else ""),
        "address": addresses.in_url(here.address),
        "ipv6": has_ipv6(here),
        "peers": peers,
        "external_labels": [f"{k}={v}" for k, v in here["vmetrics_external_labels"].items()],
        "alone": not peers,
        "clustered": bool(peers),
        "portal_url": here.portal_url,
        "log_link": _LOG_LINK,
        "alertmanagers": alertmanagers,
        "blackhole": not alertmanagers,
        "vmetrics_url": metrics_url(here),
        # What the rules find goes where the metrics go.
        "write_url": vmagent_url if here["vmagent_enabled"] else metrics_url(here),
        "vlogs_url": elsewhere.url(here, "vlogs") or f"http://{_LOOPBACK}:{here['vlogs_port']}",
    }


def _daemon(
    here: Site, name: str, row: dict[str, Any], component: dict[str, Any], values: dict[str, Any]
) -> Daemon:
    directories = _directories(here, row)
    writable = row.get("writable_paths", [])
    other = name if writable else f"{name}_data"
    parameter = "infra_data" if "directory" in row else other
    daemon: Daemon = {
        "name": name,
        "title": row["title"],
        "unit": row["unit"],
        "user": row["user"],
        "switch": component["switch"],
        "program": here.of_packaging(row["program"]),
        "flags": [flag for item in row["flags"] for flag in _flags(item, values)],
        "options": here[row["options"]] if "options" in row else "",
        "options_parameter": row.get("options", ""),
        "version": row["version"],
        "port": here[row["port"]],
        "port_parameter": row["port"],
        "health": row["health"].format(**values),
        "reload": row.get("reload", {}),
        "after": row.get("after", []),
        "made": directories,
        "writes": directories + writable,
        "writes_parameter": parameter,
        "use_package_unit": row.get("use_package_unit", False),
        "seconds": row.get("seconds", 30),
        "service": row.get("service", {}),
    }
    if "expects" in row:
        daemon["expects"] = row["expects"]
    return daemon


def _directories(here: Site, row: dict[str, Any]) -> list[str]:
    """The data directory of a daemon."""
    if "directory" in row:
        return [f"{here['infra_data']}/{row['directory']}"]
    return [row["home"].format(**here.parameters)] if "home" in row else []


def _flags(item: Any, values: dict[str, Any]) -> list[Flag]:
    entry = item if isinstance(item, dict) else {"flag": item}
    if "when" in entry and not values[entry["when"]]:
        return []
    result: list[Flag] = []
    for each in values[entry["each"]] if "each" in entry else [None]:
        flag: Flag = {
            "text": entry["flag"].format(**{**values, "each": each}),
            "template": entry["flag"],
        }
        if "help" in entry:
            flag["help"] = entry["help"]
        if "repeatable" in entry:
            flag["repeatable"] = entry["repeatable"]
        if "unless" in entry:
            flag["unless"] = entry["unless"]
        if "at_next_start" in entry:
            flag["at_next_start"] = entry["at_next_start"]
        result.append(flag)
    return result
