"""Vector's configuration, as a state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.daemon.model import Daemon
from infra_formula.logs import vector
from infra_formula.minion import Minion
from infra_formula.state import Plan, converge

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]

__env__ = ""  # the state's saltenv, which Salt sets during a call


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__, __env__)


def managed(
    name: str,
    daemon: Daemon,
    settings: dict[str, Any],
    sources: list[str],
    towards: list[str],
    endpoints: list[str],
    nodes: list[str],
    admin_ip: str,
    buffer: str,
) -> dict[str, Any]:
    """Vector's configuration follows the parameters; checked by Vector, and reloaded.

    name
        ``/etc/vector``. Unmanaged files in it stay, and are loaded and checked too.
    daemon
        Vector, see the state module infra_daemon.
    settings
        ``data``, ``port``, ``read_from``, ``ip``, ``ins``, ``cls`` and ``seq``. If ``ip`` is null
        it is the address from which this machine reaches the INFRA nodes.
    sources
        Names of the files of sources: ``node``, ``nginx``, ``grafana``.
    towards
        Addresses of the INFRA nodes.
    endpoints, admin_ip
        The values of ``vector_log_endpoint`` and ``admin_ip``.
    nodes
        Addresses of VictoriaLogs on the INFRA nodes.
    buffer
        Size of the buffer on disk of each receiver, like ``1GiB``.
    """

    def compare() -> Plan:
        urls = vector.receivers(endpoints, nodes, admin_ip)
        return vector.plan(_minion(), name, daemon, settings, sources, towards, urls, buffer)

    return converge(name, __opts__["test"], compare)


redaction.guard(globals())
