"""Releases of Pigsty: which one an inventory is of, and what that has by default."""

from __future__ import annotations

import re
from typing import Any, TypedDict

from infra_formula.data import load
from infra_formula.errors import InvalidInput
from infra_formula.pigsty.inventory import Inventory

Version = tuple[int, int]
"""Series and release: ``(3, 7)``."""

_LATEST: Version = (4, 5)
_BEFORE_VICTORIA: Version = (4, 0)
_OLD_PORT = re.compile(r":(9090|9093)\b")
_NEW_PORT = re.compile(r":(9058|9059)\b")


class Release(TypedDict):
    """A release of Pigsty, and why an inventory is taken to be of it."""

    version: Version
    reason: str


def recognize(inventory: Inventory, version: Any) -> Release:
    """The release that an inventory is of.

    version
        The value of the variable ``version``; None if there is none.

    Raises InvalidInput for an inventory of Pigsty 1.
    """
    names = {variable["name"] for variable in inventory["variables"]}
    match = re.match(r"v?([0-9]{1,3})(?:\.([0-9]{1,3}))?", str(version or ""))
    if match:
        recognized: Version = (int(match[1]), int(match[2] or 0))
        release: Release = {"version": recognized, "reason": f"version is {version}"}
    else:
        release = _by_names(inventory, names)
    if release["version"] < (2, 0):
        raise InvalidInput(
            f"this is an inventory of Pigsty 1 ({release['reason']}); those of 2.0 and later can "
            "be converted: they have a group infra, whose hosts have an infra_seq each"
        )
    return release


def _by_names(inventory: Inventory, names: set[str]) -> Release:
    table: dict[str, list[str]] = load("pigsty")["evidence"]
    evidence = {series: sorted(names & set(of)) for series, of in table.items()}
    if "infra" not in inventory["groups"] and evidence["1"]:
        return {"version": (1, 5), "reason": f"it has {_some(evidence['1'])}, and no group infra"}
    if evidence["4"] or not (evidence["2"] or evidence["3"]):
        portal = " ".join(str(v["value"]) for v in inventory["variables"] if _is_portal(v["name"]))
        if not evidence["4"] and _OLD_PORT.search(portal):
            return {"version": (3, 6), "reason": "its portal leads to the ports 9090 and 9093"}
        if not evidence["4"] and _NEW_PORT.search(portal) and "9058" in portal:
            return {"version": (3, 7), "reason": "its portal leads to the port 9058"}
        reason = f"it has {_some(evidence['4'])}" if evidence["4"] else "nothing tells another"
        return {"version": _LATEST, "reason": f"it has no version, and {reason}"}
    if evidence["2"]:
        return {"version": (2, 0), "reason": f"it has {_some(evidence['2'])}"}
    portal = " ".join(str(v["value"]) for v in inventory["variables"] if _is_portal(v["name"]))
    reason = f"it has {_some(evidence['3'])}"
    if "prometheus_port" in names or _NEW_PORT.search(portal):
        return {"version": (3, 7), "reason": reason}
    return {"version": (3, 6), "reason": reason}


def _is_portal(name: str) -> bool:
    return name == "infra_portal"


def _some(names: list[str]) -> str:
    return ", ".join(names[:3])


def text(release: Release) -> str:
    """A release for people: ``3.7``."""
    return ".".join(map(str, release["version"]))


def has_victoria(release: Release) -> bool:
    """Whether a release has VictoriaMetrics and VictoriaLogs, and not their predecessors."""
    return release["version"] >= _BEFORE_VICTORIA


def defaults(release: Release) -> dict[str, Any]:
    """Parameters by which an inventory of a release is completed: what differs from ours."""
    values: dict[str, Any] = _row(release)["parameters"]
    return values


def ports(release: Release) -> dict[str, int]:
    """Ports of a release's programs that have a successor here, by their names."""
    numbers: dict[str, int] = _row(release)["ports"]
    return numbers


def modules(release: Release) -> dict[str, Any]:
    """Variables of other modules with another default in a release."""
    names: dict[str, Any] = _row(release).get("modules", {})
    return names


def _row(release: Release) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = load("pigsty")["releases"]
    first = max(
        (tuple(map(int, since.split("."))), since)
        for since in rows
        if tuple(map(int, since.split("."))) <= release["version"]
    )
    return rows[first[1]]
