"""Components on this minion: whether they run and are healthy, and who reaches them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.minion import Minion
from infra_formula.status import access as status_access
from infra_formula.status import report

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


def access() -> dict[str, dict[str, Any]]:
    """Report who reaches each port of this minion directly, by its sockets and the active rules.

    Each active rule of nftables, firewalld or ufw is followed for a connection from each INFRA
    node, from an address of each network that the rules mention, and from one that is in none.

    Returns port (like ``8428/tcp``) → ``service``, ``listens`` (addresses), ``entitled`` (``all``,
    ``site``, ``peers``, ``infra``, ``machine``), ``reached_by`` (of the senders that were tried;
    ``this machine`` if no other gets in), ``beyond`` (those of them that are not entitled),
    ``unknown`` (those for which the rules leave it open) and ``by`` (the firewall that decides). A
    port on which nothing listens is left out. The call ends with a code other than 0 if somebody
    gets in who is not entitled.

    Raises CommandExecutionError if the formula was never applied here, or the rules cannot be read.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_status.access
    """
    return status_access.access(_minion())


def services() -> dict[str, dict[str, Any]]:
    """Report whether each component of this minion is enabled, runs, and is healthy.

    Returns component → ``unit``, ``enabled`` (by its parameter), ``running``, ``since`` (as systemd
    writes it), ``restarts`` (by systemd itself, in the last hour), ``listening`` (list of
    ``address:port/protocol``), ``healthy`` (bool; None if it is switched off), ``said`` (the answer
    of its health check) and ``version`` (if the program prints it). The call ends with a code other
    than 0 if a component is unhealthy.

    Raises CommandExecutionError if the formula was never applied here.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_status.services
        salt '*' infra_status.services --out=table
    """
    return report.services(_minion())


def table() -> str:
    """:func:`services`, and :func:`access` below it, as tables for people.

    CLI Example:

    .. code-block:: bash

        salt-call --local infra_status.table
    """
    return report.table(_minion())


redaction.guard(globals())
