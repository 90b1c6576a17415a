"""Components on this minion: whether they run and are healthy, and who reaches them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.minion import Minion
from infra_formula.status import access as status_access
from infra_formula.status import drift as status_drift
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


def check_drift(interval: str = "daily") -> dict[str, Any]:
    """Look for what the next apply would change here, and publish it as metrics.

    interval
        ``hourly``, ``daily`` or ``weekly``: how often this is called, for the alert of a check that
        is missing.

    Runs ``state.apply infra`` with ``test=True``, and changes nothing. Waits for an apply that
    runs; one that begins meanwhile is not kept waiting, and the check looks again after it.

    Returns what :func:`drift` returns.

    Raises CommandExecutionError if applies ran all the time, or the states could not be rendered;
    the last result stays.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_status.check_drift
    """
    return status_drift.check(_minion(), interval)


def drift() -> dict[str, Any]:
    """Report what the last check found that the next apply would change.

    Returns ``checked`` (time in UTC), ``age`` (seconds), ``seconds`` (how long it took), ``count``
    (states) and ``components``: component → states, each ``id``, ``result`` (None: it would change,
    False: it would fail), ``comment``, ``changes`` (names of what would change) and ``since`` (time
    of the first check that found it). The call ends with a code other than 0 if something differs.

    Raises CommandExecutionError if no check has run.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_status.drift
    """
    return status_drift.report(_minion())


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
