"""What the states of removal are given."""

from __future__ import annotations

from typing import Any

from infra_formula.data import load
from infra_formula.parameters import site
from infra_formula.parameters.site import Site
from infra_formula.uninstall import pigsty_takeover

_SOURCES = {"Debian": "/etc/apt/sources.list.d", "RedHat": "/etc/yum.repos.d"}


def removals(here: Site) -> dict[str, dict[str, Any]]:
    """Component → ``sets`` (file sets: name → directory), ``caches`` and ``data``."""
    values = {**here.parameters, "sources": _SOURCES[here.os_family]}
    return {row["name"]: _removal(row, values) for row in site.components()}


def data(here: Site) -> list[str]:
    """Data of all components."""
    return [path for removal in removals(here).values() for path in removal["data"]]


def takeover(here: Site) -> dict[str, Any]:
    """What Pigsty leaves on a machine, and the parameters in it."""
    return {"legacy": load("legacy"), "parameters": {"infra_data": here["infra_data"]}}


def carried(here: Site) -> dict[str, list[dict[str, Any]]]:
    """Component → what it can read of its predecessor's, with the parameters in it."""
    parameters = {"infra_data": here["infra_data"]}
    rows: dict[str, list[dict[str, Any]]] = pigsty_takeover.substitute(
        load("legacy")["carried"], parameters
    )
    return rows


def _removal(row: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    sets = {f"daemon-{name}": "/etc" for name in row.get("daemons", {})}
    paths = list(row.get("data", []))
    for daemon in row.get("daemons", {}).values():
        if "directory" in daemon:
            paths.append(f"{{infra_data}}/{daemon['directory']}")
        elif "home" in daemon:
            paths.append(daemon["home"])
    return {
        "sets": {
            name.format(**values): root.format(**values)
            for name, root in {**sets, **row.get("file_sets", {})}.items()
        },
        "caches": row.get("caches", []),
        "data": [path.format(**values) for path in paths],
    }
