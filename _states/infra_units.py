"""Units that answered their health check still run at the end of an apply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.daemon import units
from infra_formula.errors import CommandFailed
from infra_formula.fileset import conflicts
from infra_formula.minion import Minion
from infra_formula.state import Plan, converge

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]

__env__ = ""  # the state's saltenv, which Salt sets during a call


def stable(name: str, settle: float = 8.0) -> dict[str, Any]:
    """What the run brought about still holds: units run, and nothing else wrote its files.

    No unit has restarted since it answered its health check in this run, nor waits to restart.

    name
        Any name for the state.
    settle
        Seconds: a unit that was started more recently is watched until it has run for so long.
    """

    def compare() -> Plan:
        overwritten = conflicts.end()
        if __opts__["test"]:
            return Plan(comment="Restarts are counted in a real run only.")
        if overwritten:
            raise CommandFailed(
                "\n".join(
                    f"{path}: something else wrote it in this run, though it is the formula's; "
                    "leave it out of the other state, or switch off its component here"
                    for path in overwritten
                )
            )
        minion = Minion(__salt__, __opts__, __grains__, __context__, __env__)
        return Plan(comment=units.watch(minion, settle))

    return converge(name, __opts__["test"], compare)


redaction.guard(globals())
