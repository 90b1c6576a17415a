"""Registration on the command line: facts of a minion, inventory of an INFRA node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.minion import Minion
from infra_formula.registration import facts as own_facts
from infra_formula.registration import inventory

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


@redaction.verbatim
def facts() -> dict[str, Any]:
    """Facts that this minion publishes; the function behind the mine.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_register.facts
    """
    return own_facts.current()


def nodes() -> dict[str, Any]:
    """The inventory of this INFRA node: minion id → accepted facts.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_register.nodes
    """
    return inventory.recorded(_minion())


def send() -> None:
    """Send this minion's facts to the mine.

    Raises CommandExecutionError if the master refuses them.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_register.send
    """
    own_facts.send(_minion())


redaction.guard(globals())
