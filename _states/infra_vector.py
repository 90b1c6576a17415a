"""What Vector ships, and where to, as a state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra_formula.daemon import configuration
from infra_formula.logs import vector
from infra_formula.minion import Minion
from infra_formula.registration import facts as own_facts
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


def managed(
    name: str,
    daemon: dict[str, Any],
    settings: dict[str, Any],
    sources: list[str],
    towards: list[str],
    endpoints: list[str],
    nodes: list[str],
    admin_ip: str,
    buffer: str,
) -> dict[str, Any]:
    """Vector's configuration is as the parameters say; checked by it, and reloaded.

    name
        ``/etc/vector``. Files of others in it stay, and take part.
    daemon
        Vector, see the execution module infra_daemon.
    settings, sources
        See ``infra_vector.files`` among the execution modules. Where ``ip`` is none it is the
        address from which this machine talks to the INFRA nodes.
    towards
        Their addresses.
    endpoints, nodes, admin_ip
        See ``infra_vector.receivers``.
    buffer
        Size of the buffer on disk of each receiver, like ``1GiB``.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        told = vector.receivers(endpoints, nodes, admin_ip)
        whole = {
            **settings,
            "ip": settings["ip"] or own_facts.address_towards(towards),
            "receivers": told,
            "buffer_bytes": vector.size(buffer),
        }
        comment = f"logs go to {', '.join(told)}" if told else "logs go nowhere, by the parameters"
        files = vector.rendered(_minion(), whole, sources)
        check = vector.check_staged
        changes = configuration.apply(
            "vector",
            name,
            files,
            [daemon],
            __opts__["test"],
            replace=("vector.yaml",),
            check_staged=lambda stage: check(stage, daemon["program"]),
        )
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "result": False, "comment": str(err)}
    if changes and __opts__["test"]:
        told = "what is shipped would change"
        return {**ret, "result": None, "changes": changes, "comment": told}
    return {**ret, "changes": changes, "comment": comment}
