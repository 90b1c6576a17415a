"""Minions that join and leave: the run that processes their events, on a master."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.minion import Minion
from infra_formula.registration import events

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


def __virtual__() -> bool | tuple[bool, str]:
    if __opts__.get("__role") == "master":
        return True
    return (False, "infra_fleet works on a salt-master")


def process_events() -> dict[str, Any]:
    """Process the start and key events since the last run.

    The reactor calls it. Call it by hand to continue after an interruption of the master. A minion
    that has started and has no facts in the mine is applied with ``state.apply infra``. If the
    facts in the mine have changed, the INFRA nodes register them. Returns at once if another run
    works, which processes the events too.

    Returns ``applied`` (ids), ``failed`` (id → reason), ``registrations`` (number).

    Raises CommandExecutionError if a registration failed each time. The next event tries it again.

    CLI Example:

    .. code-block:: bash

        salt-run state.orchestrate infra.orch.process_events
    """
    return events.process_events(_minion())


redaction.guard(globals())
