"""Ports through this machine's firewall, whichever of firewalld and ufw runs.

A rule reads ``80/tcp``, for everybody, or ``9428/tcp from 10.0.0.0/8``.
"""

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
    """Rules by which a firewall lets in ports.

    firewall
        What :func:`active` returned.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_firewall.open_ports firewalld
    """
    if firewall == "ufw":
        return ufw_ports(_run("ufw", "status"))
    # Both what runs and what a restart brings back have to have it.
    both = [
        {
            *_run("firewall-cmd", *kept, "--list-ports").split(),
            *rich_ports(_run("firewall-cmd", *kept, "--list-rich-rules")),
        }
        for kept in ([], ["--permanent"])
    ]
    return sorted(both[0] & both[1])


def ufw_ports(status: str) -> list[str]:
    """Rules that the output of ``ufw status`` shows; pure."""
    pattern = re.compile(r"^(\d+/(?:tcp|udp))\s+ALLOW(?: IN)?\s+(\S+)\s*$", re.MULTILINE)
    found = pattern.findall(status)
    return sorted({port if who == "Anywhere" else f"{port} from {who}" for port, who in found})


def rich_ports(rules: str) -> list[str]:
    """Rules that firewalld's rich rules, as we write them, stand for; pure."""
    pattern = re.compile(
        r'^rule family="ipv[46]" source address="(\S+)" port port="(\d+)" '
        r'protocol="(tcp|udp)" accept$',
        re.MULTILINE,
    )
    return sorted({f"{port}/{kind} from {who}" for who, port, kind in pattern.findall(rules)})


def open_port(firewall: str, port: str) -> None:
    """Let a port in, now and after a restart.

    firewall
        ``firewalld`` or ``ufw``.
    port
        A rule, see the module's own description.

    Raises CommandExecutionError with the firewall's own words where it refuses.
    """
    number, _, source = port.partition(" from ")
    if firewall == "ufw":
        _run("ufw", *ufw_words(number, source))
        return
    rule = f"--add-port={number}"
    if source:
        bare, _, kind = number.partition("/")
        family = "ipv6" if ":" in source else "ipv4"
        rule = (
            f'--add-rich-rule=rule family="{family}" source address="{source}" '
            f'port port="{bare}" protocol="{kind}" accept'
        )
    _run("firewall-cmd", "--permanent", rule)
    _run("firewall-cmd", rule)


def ufw_words(port: str, source: str) -> list[str]:
    """How ufw is told to let in a port, from a source or (empty) from everywhere; pure."""
    if not source:
        return ["allow", port]
    number, _, kind = port.partition("/")
    return ["allow", "proto", kind, "from", source, "to", "any", "port", number]


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
