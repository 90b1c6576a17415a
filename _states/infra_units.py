"""Units that answered their health check still run at the end of an apply."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from infra_formula.daemon import health, units
from infra_formula.minion import Minion
from salt.exceptions import CommandExecutionError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


_PAUSE = 0.25  # seconds between two looks
_STOPPING = 10.0  # seconds in which a unit that is about to end may still log what it dies of


def stable(name: str, settle: float = 8.0) -> dict[str, Any]:
    """No unit has restarted since it answered its health check in this run, nor waits to restart.

    name
        Of the state only.
    settle
        Seconds: a unit that was started more recently is watched until it has run for so long.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    if __opts__["test"]:
        return {**ret, "comment": "Restarts are counted in a real run only."}
    healthy = units.healthy(_minion())
    patience = _STOPPING
    try:
        while True:
            seen = units.observe(healthy)
            faults = {
                unit: fault
                for unit, invocation in healthy.items()
                if (fault := units.instability(seen[unit], invocation))
            }
            youngest = min((unit["age"] for unit in seen.values()), default=settle)
            if patience > 0 and any(seen[u]["state"].startswith("deactivating") for u in faults):
                patience -= _PAUSE
                time.sleep(_PAUSE)
                continue
            if faults or youngest >= settle:
                break
            time.sleep(min(_PAUSE, settle - youngest))
    except CommandExecutionError as err:
        return {**ret, "result": False, "comment": str(err)}
    if not faults:
        return {**ret, "comment": f"{len(healthy)} units run without a restart."}
    lines = [
        f"{unit}: {fault}{health.log_quote(unit, '-10min', last=True)}"
        for unit, fault in sorted(faults.items())
    ]
    return {**ret, "result": False, "comment": "\n".join(lines)}
