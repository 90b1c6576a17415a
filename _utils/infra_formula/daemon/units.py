"""Units of this machine: what systemd reports of them, and whether one keeps restarting.

A unit that answers its health check and dies a moment later is not healthy. Each health check of
an apply records the invocation of the unit that answered (:func:`record_healthy`); the last state
of the apply compares (``infra_units.stable``).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from infra_formula import process, systemd
from infra_formula.daemon import health
from infra_formula.errors import CommandFailed
from infra_formula.minion import Minion

_PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "NRestarts",
    "InvocationID",
    "ActiveEnterTimestampMonotonic",
)
_HEALTHY = "infra_units.healthy"
_PAUSE = 0.25  # seconds between two reports
_STOPPING = 10.0  # seconds in which a stopping unit may still log its error
# SD_MESSAGE_UNIT_RESTART_SCHEDULED of systemd's sd-messages.h: a unit is restarted by itself.
_RESTART_SCHEDULED = "5eb03494b6584870a536b337290809b3"


def observe(units: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Report the state of units, by one call of systemctl.

    units
        Their names, with or without ``.service``.

    Returns name → ``loaded`` (bool), ``state`` (``ActiveState/SubState``), ``result`` (``success``,
    or what the unit failed of: ``exit-code``, ``signal``, ``timeout`` …), ``restarts`` (int: by
    systemd itself since somebody started it), ``invocation`` (id that changes with each start),
    ``age`` (seconds since it became active; 0 if it is not).

    Raises CommandExecutionError where systemd does not answer.
    """
    properties = systemd.show(units, _PROPERTIES)
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    return {unit: facts(values, now) for unit, values in properties.items()}


def facts(values: Mapping[str, str], now: float) -> dict[str, Any]:
    """Interpret the properties of one unit.

    values
        As :func:`systemd.show` returns them.
    now
        Seconds of the monotonic clock.
    """
    active = values.get("ActiveState", "unknown")
    entered = int(values.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
    return {
        "loaded": values.get("LoadState") == "loaded",
        "state": f"{active}/{values.get('SubState', 'unknown')}",
        "result": values.get("Result", "") or "success",
        "restarts": int(values.get("NRestarts") or 0),
        "invocation": values.get("InvocationID", ""),
        "age": max(0.0, now - entered) if active == "active" else 0.0,
    }


def record_healthy(minion: Minion, unit: str) -> None:
    """Record, for the rest of this run, that a unit answered its health check.

    unit
        Its name, without ``.service``.
    """
    properties = systemd.SNAPSHOT.show(unit)
    invocation = properties["InvocationID"] if properties else observe([unit])[unit]["invocation"]
    minion.context.setdefault(_HEALTHY, {})[unit] = invocation


def healthy(minion: Minion) -> dict[str, str]:
    """Units that answered their health check in this run, each with the invocation that did."""
    return dict(minion.context.get(_HEALTHY, {}))


def instability(state: Mapping[str, Any], invocation: str) -> str:
    """Why a unit that was healthy is unhealthy now; empty if it is still healthy.

    state
        What :func:`observe` reports of it now.
    invocation
        The invocation that answered its health check.

    A restart that systemd did not do by itself is no fault: it sets ``restarts`` to 0.
    """
    active, _, sub = state["state"].partition("/")
    if sub == "auto-restart" or active not in ("active", "reloading"):
        # The journal may not hold the reason: a busy journald can lose what process 1 logs.
        result = "" if state["result"] == "success" else f" ({state['result']})"
        return f"it is {state['state']}{result}, although it answered its health check"
    if state["invocation"] != invocation and state["restarts"]:
        times = "once" if state["restarts"] == 1 else f"{state['restarts']} times"
        return f"systemd restarted it ({times}) after it had answered its health check"
    return ""


def watch(minion: Minion, settle: float) -> str:
    """Watch the units that were healthy in this run until each has run for some time.

    settle
        Seconds.

    Returns a summary.

    Raises CommandFailed with a line for each unit that became unhealthy.
    """
    expected = healthy(minion)
    patience = _STOPPING
    while True:
        states = observe(expected)
        faults = {
            unit: fault
            for unit, invocation in expected.items()
            if (fault := instability(states[unit], invocation))
        }
        youngest = min((state["age"] for state in states.values()), default=settle)
        if patience > 0 and any(states[u]["state"].startswith("deactivating") for u in faults):
            patience -= _PAUSE
            time.sleep(_PAUSE)
        elif faults or youngest >= settle:
            break
        else:
            time.sleep(min(_PAUSE, settle - youngest))
    if faults:
        lines = [
            f"{unit}: {fault}{health.journal_quote(unit, '-10min', last=True)}"
            for unit, fault in sorted(faults.items())
        ]
        raise CommandFailed("\n".join(lines))
    return f"{len(expected)} units run without a restart."


def restarts_last_hour() -> dict[str, int]:
    """Count the restarts that systemd did by itself in the last hour.

    Returns name of the unit (with ``.service``) → restarts; a unit without any is not in it.
    """
    # Any process can log these fields, but only process 1 is process 1.
    command = ["journalctl", "--quiet", "--no-pager", "--since=-1h", "--output=json"]
    command += ["--output-fields=UNIT", f"MESSAGE_ID={_RESTART_SCHEDULED}", "_PID=1"]
    outcome = process.run(command)
    return count_by_unit(outcome["stdout"])


def count_by_unit(lines: str) -> dict[str, int]:
    """Count journal entries by their unit.

    lines
        One JSON object per line, as ``journalctl --output=json`` prints them.
    """
    counts: dict[str, int] = {}
    for line in lines.splitlines():
        try:
            unit = json.loads(line)["UNIT"]
        except (ValueError, KeyError, TypeError):
            continue
        if isinstance(unit, str):
            counts[unit] = counts.get(unit, 0) + 1
    return counts
