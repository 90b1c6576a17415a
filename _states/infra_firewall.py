"""Ports that this machine's firewall has to let in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salt.exceptions import CommandExecutionError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __low__: dict[str, Any]


def open(name: str, ports: list[str], sources: list[str] | None = None) -> dict[str, Any]:
    """Ports are open, where firewalld or ufw runs; other ports are left as they are.

    name
        Any name for the state.
    ports
        Like ``80/tcp``.
    sources
        Addresses and networks that are let in; without it, everybody.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        firewall = __salt__["infra_firewall.active"]()
        if firewall is None:
            return {**ret, "comment": "neither firewalld nor ufw runs"}
        have = __salt__["infra_firewall.open_ports"](firewall)
        wanted = ports
        if sources is not None:
            wanted = [f"{p} from {source}" for p in ports if p not in have for source in sources]
        missing = [rule for rule in wanted if rule not in have]
        if not missing:
            return {**ret, "comment": f"{firewall} lets in {', '.join(ports)}"}
        ret["changes"] = {firewall: missing}
        if __opts__["test"]:
            return {**ret, "result": None, "comment": f"{firewall} would let in {missing}"}
        component = __salt__["infra_before.component_of"](__low__.get("__sls__", ""))
        if component:  # what was open before is not closed on the way back
            ports_of_ours = {"ports": dict.fromkeys(missing, firewall)}
            __salt__["infra_before.note"]({component: ports_of_ours})
        for port in missing:
            __salt__["infra_firewall.open_port"](firewall, port)
    except CommandExecutionError as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    return {**ret, "comment": f"{firewall} lets in {', '.join(ports)}"}
