"""Ports that this machine's firewall lets in."""

from __future__ import annotations

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.firewall import ports


def active() -> str | None:
    """Report the active firewall of this machine: ``firewalld``, ``ufw`` or None.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_firewall.active
    """
    return ports.active()


def open_ports(firewall: str) -> list[str]:
    """List the rules by which a firewall lets in ports.

    firewall
        What :func:`active` returned.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_firewall.open_ports firewalld
    """
    return ports.open_ports(firewall)


redaction.guard(globals())
