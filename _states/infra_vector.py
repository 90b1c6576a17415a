"""What Vector ships, and where to, as a state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]


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
        told = __salt__["infra_vector.receivers"](endpoints, nodes, admin_ip)
        whole = {
            **settings,
            "ip": settings["ip"] or __salt__["infra_register.own_address"](towards),
            "receivers": told,
            "buffer_bytes": __salt__["infra_vector.size"](buffer),
        }
        comment = f"logs go to {', '.join(told)}" if told else "logs go nowhere, by the parameters"
        files = __salt__["infra_vector.rendered"](whole, sources)
        found = __salt__["infra_files.compare"]("vector", name, files, replace=("vector.yaml",))
        if found["foreign"]:
            there = ", ".join(f"{name}/{rel}" for rel in found["foreign"])
            raise CommandExecutionError(
                f"{there}: a file of somebody else's is there; move it away"
            )
        if not __salt__["infra_files.differs"](found):
            return {**ret, "comment": comment}
        ret["changes"] = dict(found["diff"])
        if __opts__["test"]:
            return {**ret, "result": None, "comment": "what is shipped would change"}
        __salt__["infra_files.publish"](
            "vector",
            name,
            files,
            found,
            check=lambda stage: __salt__["infra_vector.check_staged"](stage, daemon["program"]),
            confirm=lambda: __salt__["infra_daemon.reload"](daemon),
            switch="files",
        )
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    return {**ret, "comment": comment}
