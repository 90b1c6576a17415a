"""The components of this minion: whether they run, and whether they are healthy.

The state tree leaves the list of components in ``/var/lib/infra/status.json`` (infra/status), so
that nothing here needs pillar.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import salt.utils.path
from salt.exceptions import CommandExecutionError

from infra_formula import paths, process, systemd
from infra_formula.daemon import units
from infra_formula.errors import CommandFailed
from infra_formula.minion import Minion
from infra_formula.status import access, health, sockets, tables

_PROPERTIES = (
    "Id",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "ActiveEnterTimestamp",
    "ControlGroup",
)
_COLUMNS = (
    "component",
    "unit",
    "enabled",
    "running",
    "since",
    "restarts",
    "listening",
    "healthy",
    "version",
)


def services(minion: Minion) -> dict[str, dict[str, Any]]:
    """Report the state of each component; see :func:`infra_status.services`.

    Sets the return code of the call if a component is unhealthy.

    Raises CommandFailed if the formula was never applied here.
    """
    rows = components()
    properties = systemd.show([r["unit"] for r in rows if r["unit"]], _PROPERTIES, must=False)
    listening = sockets.by_control_group()
    restarts = units.restarts_last_hour()
    with ThreadPoolExecutor(max_workers=8) as pool:
        result = list(pool.map(lambda row: _row(row, properties, listening, restarts), rows))
    if any(row["enabled"] and not row["healthy"] for row in result):
        minion.context["retcode"] = 1
    return {component["name"]: row for component, row in zip(rows, result, strict=True)}


def components() -> list[dict[str, Any]]:
    """Components of this minion, as the state tree recorded them.

    Raises CommandFailed if there is no such record, or it is corrupt.
    """
    path = paths.STATE_DIR / "status.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CommandFailed(f"{path} is missing; it is written by `state.apply infra`") from None
    except ValueError as err:
        raise CommandFailed(f"{path}: {err}; apply infra anew") from err
    if not isinstance(result, list):
        raise CommandFailed(f"{path}: expected a list; apply infra anew")
    return result


def _row(
    component: Mapping[str, Any],
    shown: Mapping[str, Mapping[str, str]],
    listening: Mapping[str, list[str]],
    restarts: Mapping[str, int],
) -> dict[str, Any]:
    unit = shown.get(component["unit"], {})
    running = unit.get("ActiveState") == "active"
    row = {
        "unit": component["unit"],
        "enabled": component["enabled"],
        "running": running,
        "since": unit.get("ActiveEnterTimestamp", "") if running else "",
        "restarts": restarts.get(unit.get("Id", ""), 0),
        "listening": listening.get(unit.get("ControlGroup", "-"), []) if running else [],
        "healthy": None,
        "said": "switched off",
        "version": "",
    }
    if component["enabled"]:
        row["healthy"], row["said"] = _health(component, running, unit)
        row["version"] = _version(component.get("version") or [])
    return row


def _health(
    component: Mapping[str, Any], running: bool, unit: Mapping[str, str]
) -> tuple[bool, str]:
    if component["unit"] and not running:
        state = f"{unit.get('ActiveState', 'unknown')} ({unit.get('SubState', 'unknown')})"
        return False, f"{component['unit']} is {state}"
    try:
        return True, health.check(component["check"])
    except (CommandExecutionError, KeyError, TypeError) as err:
        return False, str(err)


def _version(command: Sequence[str]) -> str:
    """Version that a program prints; empty if it prints none."""
    if not command or salt.utils.path.which(command[0]) is None:
        return ""
    outcome = process.run(command, timeout=5)
    return version_in(f"{outcome['stdout']}\n{outcome['stderr']}")


def version_in(output: str) -> str:
    """The first version number in a text; empty if there is none."""
    match = re.search(r"(?<![\d.])v?(\d+\.\d+(?:\.\d+)*(?:[-+~][\w.]+)?)", output)
    return match[1] if match else ""


def table(minion: Minion) -> str:
    """Lay out :func:`services`, and :func:`access.access` below it."""
    above = services_table(services(minion))
    try:
        below = access.table(access.access(minion))
    except CommandExecutionError as err:
        below = f"who reaches the ports is unknown: {err}"
    return f"{above}\n\n{below}"


def services_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay out what :func:`services` returned."""
    lines = [list(_COLUMNS)]
    for name, row in found.items():
        healthy = {True: "yes", False: f"NO: {row['said']}", None: "-"}[row["healthy"]]
        running = "yes" if row["running"] else "no"
        lines.append(
            [
                name,
                row["unit"] or "-",
                "yes" if row["enabled"] else "no",
                running if row["unit"] else "-",
                row["since"] or "-",
                str(row["restarts"]) if row["unit"] else "-",
                " ".join(row["listening"]) or "-",
                healthy,
                row["version"] or "-",
            ]
        )
    return tables.aligned(lines)
