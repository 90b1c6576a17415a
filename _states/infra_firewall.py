"""Ports that this machine's firewall lets in, and who gets through it to the services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.firewall import confinement
from infra_formula.minion import Minion
from infra_formula.state import converge
from infra_formula.uninstall import install_record

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __low__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]

__env__ = ""  # the state's saltenv, which Salt sets during a call


def _component() -> str | None:
    return install_record.component_of(__low__.get("__sls__", ""))


def open(name: str, ports: list[str], sources: list[str] | None = None) -> dict[str, Any]:
    """Ports are open, if firewalld or ufw is active; other ports are left as they are.

    name
        Any name for the state.
    ports
        Like ``80/tcp``.
    sources
        Addresses and networks that are let in; without it, everybody.
    """
    return converge(
        name, __opts__["test"], lambda: confinement.plan_open(ports, sources, _component())
    )


def confined(
    name: str,
    rows: list[dict[str, Any]],
    nodes: list[str],
    site: list[str],
    mode: str = "auto",
    opens: bool = True,
) -> dict[str, Any]:
    """The services' ports are reached by those who are entitled, and by nobody else.

    name
        Any name for the state.
    rows
        Ports and who may reach them: ``service``, ``ports`` (like ``8428/tcp``), ``reached_by``,
        ``sources`` (None for everybody), ``opened`` and ``ours``.
    nodes
        Addresses of the INFRA nodes.
    site
        ``node_firewall_intranet``.
    mode
        ``infra_firewall``: ``auto``, ``required`` or ``off``.
    opens
        Whether rules of firewalld and ufw are managed.

    If firewalld or ufw is active, those who are entitled are allowed there; rules that this formula
    added for others are removed. If no firewall drops by default, a table of nftables of this
    formula does; it never lets in what others drop.
    """
    minion = Minion(__salt__, __opts__, __grains__, __context__, __env__)
    return converge(
        name,
        __opts__["test"],
        lambda: confinement.plan_confined(minion, rows, nodes, site, mode, opens, _component()),
    )


redaction.guard(globals())
