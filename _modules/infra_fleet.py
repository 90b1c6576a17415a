"""Machines that join and leave: what the reactor notes, and the one run that acts on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    """Do what start and key events asked for since the last run.

    The reactor calls it; call it by hand to go on after the master was stopped in the middle. A
    minion that has started and is unknown to the mine is applied with ``state.apply infra``. If
    what the mine holds has changed, the INFRA nodes register it. Returns at once where another run
    is under way, which sees to it.

    Returns ``applied`` (ids), ``failed`` (id → reason), ``registrations`` (how many were run).

    Raises CommandExecutionError where a registration failed each time. It stays noted, and the
    next event tries it again.

    CLI Example:

    .. code-block:: bash

        salt-run state.orchestrate infra.orch.process_events
    """
    return events.process_events(_minion())
