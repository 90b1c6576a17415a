"""What each minion runs, and what the INFRA nodes make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra_formula.minion import Minion
from infra_formula.registration import registry

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


def facts() -> dict[str, Any]:
    """What this minion publishes; the function that the mine is fed with.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_register.facts
    """
    return registry.facts()


def nodes() -> dict[str, Any]:
    """Minions that are registered here: those just accepted in this run, else those of the last.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_register.nodes
    """
    return registry.nodes(_minion())


def send() -> None:
    """Send this minion's facts to the mine.

    Raises CommandExecutionError where the master does not take them.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_register.send
    """
    registry.send(_minion())
