"""Ports through this machine's firewall, whichever runs; and who gets through it.

A rule reads ``80/tcp``, for everybody, or ``9428/tcp from 10.0.0.0/8``.

A *row* is one that ``firewall/arguments.py`` makes: ``service``, ``ports`` (like ``8428/tcp``),
``reached_by`` (``all``, ``site``, ``peers``, ``infra``), ``sources`` (addresses and networks that
are entitled; None for everybody), ``opened`` (those that firewalld or ufw should let in) and
``ours`` (False: what listens there is not of this formula, and is not confined).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import salt.utils.path

from infra_formula import process
from infra_formula.daemon import local_ports
from infra_formula.errors import CommandFailed

_SSH = 22


def active() -> str | None:
    """The firewall that runs on this machine: ``firewalld``, ``ufw`` or None."""
    if salt.utils.path.which("firewall-cmd"):
        state = process.run(["firewall-cmd", "--state"])
        if state["stdout"].strip() == "running":
            return "firewalld"
    if salt.utils.path.which("ufw") and run_firewall("ufw", "status").startswith("Status: active"):
        return "ufw"
    return None


def open_ports(firewall: str) -> list[str]:
    """Rules by which a firewall lets in ports; see ``infra_firewall.open_ports``."""
    if firewall == "ufw":
        return ufw_ports(run_firewall("ufw", "status"))
    # Both what runs and what a restart brings back have to have it.
    both = [
        {
            *run_firewall("firewall-cmd", *options, "--list-ports").split(),
            *rich_ports(run_firewall("firewall-cmd", *options, "--list-rich-rules")),
        }
        for options in ([], ["--permanent"])
    ]
    return sorted(both[0] & both[1])


def ufw_ports(status: str) -> list[str]:
    """Rules that the output of ``ufw status`` shows; pure."""
    pattern = re.compile(r"^(\d+/(?:tcp|udp))\s+ALLOW(?: IN)?\s+(\S+)\s*$", re.MULTILINE)
    numbers = pattern.findall(status)
    return sorted({port if who == "Anywhere" else f"{port} from {who}" for port, who in numbers})


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
        run_firewall("ufw", *_ufw_arguments(number, source))
        return
    rule = f"--add-rich-rule={_rich_rule(number, source)}" if source else f"--add-port={number}"
    run_firewall("firewall-cmd", "--permanent", rule)
    run_firewall("firewall-cmd", rule)


def _rich_rule(port: str, source: str) -> str:
    number, _, kind = port.partition("/")
    family = "ipv6" if ":" in source else "ipv4"
    return (
        f'rule family="{family}" source address="{source}" '
        f'port port="{number}" protocol="{kind}" accept'
    )


def _ufw_arguments(port: str, source: str) -> list[str]:
    """Arguments of ufw that let in a port, from a source or (empty) from everywhere; pure."""
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
    number, _, source = port.partition(" from ")
    if firewall == "ufw":
        run_firewall("ufw", "delete", *_ufw_arguments(number, source))
        return
    rule = (
        f"--remove-rich-rule={_rich_rule(number, source)}" if source else f"--remove-port={number}"
    )
    run_firewall("firewall-cmd", "--permanent", rule)
    run_firewall("firewall-cmd", rule)


def ssh_ports(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Of rows to be confined, the ports that SSH has on this machine, which never are.

    rows
        See the module's own description.
    """
    confined = [(row, port, int(port.partition("/")[0])) for row in rows for port in row["ports"]]
    listeners = local_ports.listeners_by_port({number for _, _, number in confined})
    ports = []
    for row, port, number in confined:
        names = {_process_name(pid) for pid in listeners[number]}
        # systemd itself listens for sshd where it starts it for each connection.
        if number == _SSH or names & {"sshd", "dropbear", "systemd"}:
            ports.append(f"{port} ({row['service']})")
    return ports


def _process_name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def run_firewall(*command: str) -> str:
    outcome = process.run(command)
    if outcome["retcode"]:
        message = outcome["stderr"] or outcome["stdout"]
        raise CommandFailed(f"{' '.join(command)}: {message}")
    return outcome["stdout"]
