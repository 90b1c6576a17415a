"""Ports through this machine's firewall, whichever of firewalld and ufw runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import salt.utils.path
from salt.exceptions import CommandExecutionError

if TYPE_CHECKING:
    __salt__: dict[str, Any]


def active() -> str | None:
    """The firewall that runs on this machine: ``firewalld``, ``ufw`` or None.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_firewall.active
    """
    if salt.utils.path.which("firewall-cmd"):
        state = __salt__["cmd.run_all"](
            ["firewall-cmd", "--state"], python_shell=False, ignore_retcode=True
        )
        if state["stdout"].strip() == "running":
            return "firewalld"
    if salt.utils.path.which("ufw") and _run("ufw", "status").startswith("Status: active"):
        return "ufw"
    return None


def open_ports(firewall: str) -> list[str]:
    """Ports that a firewall lets in from everywhere, like ``80/tcp``; services count too.

    firewall
        What :func:`active` returned.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_firewall.open_ports firewalld
    """
    if firewall == "ufw":
        return ufw_ports(_run("ufw", "status"))
    # Both what runs and what a restart brings back have to have it.
    now = set(_run("firewall-cmd", "--list-ports").split())
    return sorted(now & set(_run("firewall-cmd", "--permanent", "--list-ports").split()))


def ufw_ports(status: str) -> list[str]:
    """Ports that the output of ``ufw status`` shows as allowed from anywhere."""
    pattern = re.compile(r"^(\d+/(?:tcp|udp))\s+ALLOW(?: IN)?\s+Anywhere\s*$", re.MULTILINE)
    return sorted(set(pattern.findall(status)))


def open_port(firewall: str, port: str) -> None:
    """Let a port in from everywhere, now and after a restart.

    firewall
        ``firewalld`` or ``ufw``.
    port
        Like ``80/tcp``.

    Raises CommandExecutionError with the firewall's own words where it refuses.
    """
    if firewall == "ufw":
        _run("ufw", "allow", port)
        return
    _run("firewall-cmd", "--permanent", f"--add-port={port}")
    _run("firewall-cmd", f"--add-port={port}")


def close_port(firewall: str, port: str) -> None:
    """No longer let a port in that :func:`open_port` opened.

    firewall, port
        As for :func:`open_port`.

    Raises CommandExecutionError with the firewall's own words where it refuses.
    """
    if firewall == "ufw":
        _run("ufw", "delete", "allow", port)
        return
    _run("firewall-cmd", "--permanent", f"--remove-port={port}")
    _run("firewall-cmd", f"--remove-port={port}")


def _run(*command: str) -> str:
    outcome = __salt__["cmd.run_all"](list(command), python_shell=False, env={"LC_ALL": "C"})
    if outcome["retcode"]:
        said = outcome["stderr"] or outcome["stdout"]
        raise CommandExecutionError(f"{' '.join(command)}: {said}")
    return outcome["stdout"]
