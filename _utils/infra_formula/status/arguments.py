"""What the states of the status are given."""

from __future__ import annotations

from typing import Any

from infra_formula.daemon import arguments as daemon_arguments
from infra_formula.parameters import elsewhere, schema, site
from infra_formula.parameters.site import Site


def components(here: Site) -> list[dict[str, Any]]:
    """What ``infra_status.services`` checks: the components of this minion, and how."""
    daemons = daemon_arguments.daemons(here)
    rows = []
    for component in site.components():
        name = component["name"]
        if not here.is_infra_node and component["role"] != "every":
            continue
        if "members" in component and name not in here.enabled:
            continue
        row = {"name": name, "enabled": name in here.enabled}
        urls = [c["url"] for c in elsewhere.checks(here) if c["name"] == name]
        if urls and here.is_infra_node:
            # One that runs elsewhere has no unit here.
            answer = {"kind": "urls", "urls": urls}
            rows.append({**row, "enabled": True, "unit": "", "check": answer})
            continue
        if "status" in component:
            rows.append({**row, **_check(here, component["status"])})
            if name == "nginx":
                rows[-1]["check"]["certificates"] = _own_certificates(here)
        elif name in daemons:
            daemon = daemons[name]
            row["enabled"] = daemon_arguments.is_active(here, name)
            check = {"kind": "http", "port": daemon["port"], "path": daemon["health"]}
            version = [daemon["program"], daemon["version"]]
            rows.append({**row, "unit": daemon["unit"], "version": version, "check": check})
    return rows


def units(here: Site) -> list[str]:
    """Units whose restarts are counted."""
    names = {
        row["unit"]
        for _name, row, component in site.daemon_rows()
        if here.is_infra_node or component["role"] == "every"
        if "members" not in component or component["name"] in here.enabled
    }
    names |= {"nginx", "dnsmasq"} if here.is_infra_node else set()
    return sorted({*names, here["ntp_unit"]})


def _own_certificates(here: Site) -> dict[str, list[str]]:
    """Key paths of entries and streams with an own certificate in files → its files."""
    groups = ["infra_portal", "infra_streams"] if here.tls else ["infra_streams"]
    return {
        schema.join(group, key): [entry["cert"], entry["key"]]
        for group in groups
        for key, entry in here[group].items()
        if isinstance(entry, dict) and str(entry.get("cert", "")).startswith("/") and "key" in entry
    }


def _check(here: Site, status: dict[str, Any]) -> dict[str, Any]:
    """A row's ``status``, with the values of this site."""
    check = dict(status["check"])
    if "paths" in check:
        check["paths"] = [path.format(**here.parameters) for path in check["paths"]]
    if "port" in check:
        check["port"] = here[check["port"]]
    if check["kind"] == "ntp":
        sourced = bool(here.other_addresses or here["node_ntp_servers"])
        check.update(serves=here.is_infra_node, sourced=sourced)
    row = {"unit": status.get("unit", "").format(**here.parameters), "check": check}
    return {**row, "version": status["version"]} if "version" in status else row
