"""How this machine finds names: ``/etc/resolv.conf``, or whoever owns it, and ``/etc/hosts``.

``nameservers``, ``plan``, ``resolv_conf``, ``resolved_conf``, ``networkmanager_conf`` and
``hosts_text`` are pure.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from infra_formula.dns import dnsmasq

HEAD = "# Managed by Salt (infra formula). Changes here are overwritten.\n"
HOSTS_MARK = "# pigsty dns"
RESOLV_CONF = Path("/etc/resolv.conf")
REMEMBERED = Path("/var/lib/infra/resolver.json")
_UPLINKS = ("/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf")
_MOST = 3  # glibc asks the first three nameservers and passes over the others
_OPTION = re.compile(r"(options|search|domain|sortlist)([ \t]+[!-~]+)+")


def option_problems(lines: Any, where: str = "node_dns_options") -> list[str]:
    """What is wrong with further lines of resolv.conf; pure.

    Returns one message per error, each beginning with the key path.
    """
    return [
        f"{where}[{i}]: expected options, search, domain or sortlist and its values, got {line!r}"
        for i, line in enumerate(lines if isinstance(lines, list) else [])
        if not isinstance(line, str) or not _OPTION.fullmatch(line.strip(" \t"))
    ]


def host_problems(parameters: dict[str, Any]) -> list[str]:
    """What is wrong with the entries for /etc/hosts and with the nameservers in pillar.

    parameters
        The dictionary below ``infra:``, as given.
    """
    admin_ip = str(parameters.get("admin_ip", "10.10.10.10"))
    errors = []
    for key in ("node_default_etc_hosts", "node_etc_hosts"):
        if key in parameters:
            errors += dnsmasq.problems(parameters[key], admin_ip, key)
    for index, server in enumerate(parameters.get("node_dns_servers") or []):
        if not _address(server.replace("${admin_ip}", admin_ip)):
            errors.append(f"node_dns_servers[{index}]: expected an address, got {server!r}")
    return errors


def nameservers(text: str) -> list[str]:
    """Nameservers that a resolv.conf names, in their order; pure."""
    found = re.findall(r"^[ \t]*nameserver[ \t]+(\S+)", text, re.MULTILINE)
    return list(dict.fromkeys(a for a in found if _address(a)))


def _address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.split("%", 1)[0])
    except ValueError:
        return False
    return True


def plan(method: str, ours: Iterable[str], foreign: Iterable[str]) -> list[str]:
    """Nameservers that this machine is to ask, three at most; pure.

    method
        ``add`` (ours first, then those that it has anyhow) or ``overwrite`` (ours only).
    ours, foreign
        Addresses.
    """
    wanted = [*ours, *(foreign if method == "add" else ())]
    return list(dict.fromkeys(wanted))[:_MOST]


def resolv_conf(servers: Iterable[str], options: Iterable[str], current: str) -> str:
    """Render resolv.conf; pure.

    servers
        What :func:`plan` returned.
    options
        ``node_dns_options``: lines put on top.
    current
        What is there: its ``search``, ``domain`` and ``sortlist`` lines are kept, unless one of the
        options is of their kind; an ``options`` line of somebody else's, too.
    """
    top = [line.strip() for line in options]
    kinds = {line.split()[0] for line in top}
    kept = []
    for line in current.splitlines():
        word = (line.split() or [""])[0]
        if word in ("search", "domain", "sortlist", "options") and word not in kinds:
            kept.append(line.strip())
    lines = [*top, *kept, *(f"nameserver {s}" for s in servers)]
    return HEAD + "".join(f"{line}\n" for line in dict.fromkeys(lines))


def resolved_conf(method: str, servers: Iterable[str]) -> str:
    """Render a drop-in of systemd-resolved; pure. Options are resolved's own affair there."""
    text = f"{HEAD}[Resolve]\nDNS={' '.join(servers)}\n"
    # Names of every domain go to ours, whatever the links' own servers are.
    return text + ("Domains=~.\n" if method == "overwrite" else "")


def networkmanager_conf(servers: Iterable[str], options: Iterable[str]) -> str:
    """Render a drop-in of NetworkManager; pure."""
    words: dict[str, list[str]] = {"options": [], "search": []}
    for line in options:
        kind, *values = line.split()
        words.get("search" if kind == "domain" else kind, []).extend(values)
    text = f"{HEAD}[global-dns]\n"
    if words["options"]:
        text += f"options={','.join(words['options'])}\n"
    if words["search"]:
        text += f"searches={','.join(words['search'])}\n"
    return f"{text}\n[global-dns-domain-*]\nservers={','.join(servers)}\n"


def hosts_text(current: str, lines: Iterable[str]) -> str:
    """What /etc/hosts should hold; pure.

    current
        What it holds: lines of others stay where they are.
    lines
        Ours, marked at their end so that they are known again.
    """
    kept = [x for x in current.splitlines() if not x.rstrip().endswith(HOSTS_MARK)]
    while kept and not kept[-1].strip():
        kept.pop()
    ours = [f"{line.split('#', 1)[0].strip()} {HOSTS_MARK}" for line in lines]
    return "".join(f"{line}\n" for line in [*kept, *dict.fromkeys(ours)])


def owner() -> str:
    """Owner of ``/etc/resolv.conf``: ``systemd-resolved``, ``NetworkManager``, or ``file``: none."""
    target = os.path.realpath(RESOLV_CONF) if RESOLV_CONF.is_symlink() else ""
    if target.startswith(("/run/systemd/resolve/", "/usr/lib/systemd/resolv.conf")):
        return "systemd-resolved"
    if target.startswith("/run/NetworkManager/"):
        return "NetworkManager"
    return "NetworkManager" if "# Generated by NetworkManager" in _read(RESOLV_CONF) else "file"


def foreign(own: Iterable[str]) -> list[str]:
    """Nameservers that this machine has from elsewhere: DHCP, its administrator, its image.

    own
        Addresses that are ours: those of this machine and of the INFRA nodes.
    """
    texts = [_read(Path(path)) for path in _UPLINKS]
    current = _read(RESOLV_CONF)
    found = [a for text in texts for a in nameservers(text)]
    # What we wrote ourselves holds no more than three of them; what it was made from is remembered.
    found += remembered() if _is_ours(current) or any(map(_is_ours, _dropins())) else []
    found += nameservers(current)
    mine = {str(ipaddress.ip_address(a)) for a in own}
    wanted = [a for a in dict.fromkeys(found) if "%" not in a]
    return [a for a in wanted if a not in mine and not ipaddress.ip_address(a).is_loopback]


def remembered() -> list[str]:
    """Foreign nameservers as they were before we first wrote ours."""
    return _remembered() or []


def damaged() -> bool:
    """Whether what is remembered of foreign nameservers cannot be read."""
    return _remembered() is None


def _remembered() -> list[str] | None:
    if not REMEMBERED.exists():
        return []
    try:
        found = json.loads(_read(REMEMBERED))
    except ValueError:
        return None
    if not isinstance(found, list):
        return None
    return [a for a in found if isinstance(a, str) and _address(a)]


def _is_ours(text: str) -> bool:
    return text.startswith(HEAD)


def _dropins() -> list[str]:
    return [_read(Path(path)) for path in DROPINS.values()]


DROPINS = {
    "systemd-resolved": "/etc/systemd/resolved.conf.d/infra.conf",
    "NetworkManager": "/etc/NetworkManager/conf.d/infra-dns.conf",
}
"""Where the owner of resolv.conf takes our nameservers from."""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
