"""What of this formula runs on this minion, and whether it is well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra_formula.minion import Minion
from infra_formula.status import report

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


def access() -> dict[str, dict[str, Any]]:
    """Who reaches each port of this minion past the portal, by its sockets and the rules in force.

    Each rule of nftables, firewalld or ufw that runs now is followed for a connection from each
    INFRA node, from an address of each network that has a say, and from one that is in none.

    Returns port (like ``8428/tcp``) → ``service``, ``listens`` (addresses), ``entitled`` (``all``,
    ``site``, ``peers``, ``infra``, ``machine``), ``reached_by`` (of whom was asked for; ``this
    machine`` where nobody else gets in), ``beyond`` (those of them who are not entitled),
    ``unknown`` (those of whom the rules leave it open) and ``by`` (the firewall that decides). A
    port on which nothing listens is left out. The call ends with a code other than 0 where somebody
    gets in who is not entitled.

    Raises CommandExecutionError where the formula was never applied here, or the rules cannot be
    read.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_status.access
    """
    return report.access(_minion())


def services() -> dict[str, dict[str, Any]]:
    """Each component of this minion: whether it is asked for, runs, and is well by its own check.

    Returns component → ``unit``, ``enabled`` (asked for by its parameter), ``running``, ``since``
    (as systemd writes it), ``restarts`` (by systemd itself, in the last hour), ``listening`` (list
    of ``address:port/protocol``), ``healthy`` (bool; None where it is switched off), ``said``
    (what its own check said) and ``version`` (where the program tells it). The call ends with a
    code other than 0 where a component is not healthy.

    Raises CommandExecutionError where the formula was never applied here.

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
